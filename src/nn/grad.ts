import { ServalError } from "../errors/serval-error.ts";
import type { Graph } from "./graph.ts";
import { OPS } from "./ops/index.ts";
import type { Value } from "./ops/op-spec.ts";

/**
 * Reverse-mode differentiation: appends to the graph the gradients of a scalar `loss` and returns them for `targets`.
 * Throws E_GRAPH where the loss does not depend on a target or an op on the way has no gradient.
 */
export function differentiate(graph: Graph, loss: Value, targets: readonly Value[]): Value[] {
  if (loss.shape.length > 0)
    throw new ServalError("E_GRAPH", `Only a scalar can be differentiated; the loss has shape [${loss.shape.join()}].`);
  const gradients = new Map<number, Value>([[loss.id, graph.scalar(1)]]);
  // Gradients append nodes while we walk back over the nodes that were there before.
  for (const node of graph.nodes.slice().reverse()) {
    const outputGradients = node.outputs.map((output) => gradients.get(output.id));
    if (outputGradients.every((gradient) => gradient === undefined)) continue;
    const { gradient } = OPS[node.op];
    if (typeof gradient !== "function") continue;
    const inputGradients = gradient(graph, node, outputGradients);
    node.inputs.forEach((input, index) => {
      const part = inputGradients[index];
      if (!part || !input.differentiable) return;
      const sum = gradients.get(input.id);
      gradients.set(input.id, sum ? graph.add(sum, part) : part);
    });
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
