import { ServalError } from "../errors/serval-error.ts";
import type { Graph } from "./graph.ts";
import { OPS } from "./ops/index.ts";
import type { OpAttributes, OpName } from "./ops/op-attributes.ts";
import type { AnyOpSpec, GraphNode, Value } from "./ops/op-spec.ts";

/**
 * Reverse-mode differentiation: appends to the graph the gradients of a scalar `loss` and returns them for `targets`.
 * Throws E_GRAPH where the loss does not depend on a target, or where an op between the two has no gradient.
 */
export function differentiate(graph: Graph, loss: Value, targets: readonly Value[]): Value[] {
  if (loss.shape.length > 0)
    throw new ServalError("E_GRAPH", `Only a scalar can be differentiated; the loss has shape [${loss.shape.join()}].`);
  const dependent = dependentOn(graph, targets);
  // Gradients append nodes while we walk back over the nodes that were there before; those that no target reaches are passed over.
  const nodes = graph.nodes.filter((node) => node.outputs.some((output) => dependent.has(output.id)));
  const gradients = new Map<number, Value>([[loss.id, graph.scalar(1)]]);
  for (const node of nodes.reverse()) {
    const outputGradients = node.outputs.map((output) => gradients.get(output.id));
    if (outputGradients.every((gradient) => gradient === undefined)) continue;
    if (outputGradients.slice(1).some((gradient) => gradient !== undefined))
      throw noGradient(node, "only its first output has a gradient, and the loss depends on another one");
    const { gradient } = OPS[node.op] as AnyOpSpec<OpAttributes[OpName]>;
    if (typeof gradient !== "function") throw noGradient(node, "none" in gradient ? gradient.none : gradient.zero);
    const inputGradients = gradient(graph, node, outputGradients[0] as Value);
    for (const [index, input] of node.inputs.entries()) {
      if (!dependent.has(input.id)) continue;
      const part = inputGradients[index];
      if (!part) throw noGradient(node, `it has none for its input ${index + 1}`);
      const sum = gradients.get(input.id);
      gradients.set(input.id, sum ? graph.add(sum, part) : part);
    }
  }
  return targets.map((target) => {
    const gradient = gradients.get(target.id);
    if (!gradient)
      throw new ServalError(
        "E_GRAPH",
        `The loss does not depend on a value of shape [${target.shape.join()}] that its gradient is asked for.`,
      );
    return gradient;
  });
}

/** The targets and all that is made of them, except by ops that are constant around every value: a change of a target changes these. */
function dependentOn(graph: Graph, targets: readonly Value[]): ReadonlySet<number> {
  const dependent = new Set(targets.map((target) => target.id));
  for (const { op, inputs, outputs } of graph.nodes) {
    const { gradient } = OPS[op];
    if (typeof gradient === "object" && "zero" in gradient) continue;
    if (inputs.some((input) => dependent.has(input.id))) for (const output of outputs) dependent.add(output.id);
  }
  return dependent;
}

function noGradient({ op }: GraphNode, reason: string): ServalError {
  return new ServalError(
    "E_GRAPH",
    `The operation ${op} between the loss and a value that its gradient is asked for has no gradient: ${reason}.`,
  );
}
