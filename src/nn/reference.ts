import { ServalError } from "../errors/serval-error.ts";
import type { Graph } from "./graph.ts";
import { OPS } from "./ops/index.ts";
import type { OpAttributes, OpName } from "./ops/op-attributes.ts";
import { array64, type Array64, type AnyOpSpec } from "./ops/op-spec.ts";

/** Evaluates a graph in float64 by each op's definition: slow, and the truth that both lowerings are tested against. */
export function evaluateGraph(graph: Graph, feeds: Readonly<Record<string, Float64Array>>): Record<string, Array64> {
  const values = new Map<number, Array64>();
  for (const [name, value] of graph.inputs) {
    const data = feeds[name];
    if (!data) throw new ServalError("E_GRAPH", `The reference evaluation got no data for input "${name}".`);
    values.set(value.id, array64(value.shape, data));
  }
  for (const [value, data] of graph.constants) values.set(value.id, array64(value.shape, Float64Array.from(data)));
  for (const node of graph.nodes) {
    const spec = OPS[node.op] as AnyOpSpec<OpAttributes[OpName]>;
    const inputs = node.inputs.map((input) => values.get(input.id) as Array64);
    spec.evaluate(inputs, node.attributes).forEach((result, index) => values.set((node.outputs[index] as { id: number }).id, result));
  }
  return Object.fromEntries([...graph.outputs].map(([name, value]) => [name, values.get(value.id) as Array64]));
}
