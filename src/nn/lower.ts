import { blocked } from "../onnx/blocked.ts";
import { OnnxBuilder, type Emitted } from "../onnx/builder.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { portable } from "../onnx/portable.ts";
import type { Graph } from "./graph.ts";
import { OPS } from "./ops/index.ts";
import type { OpAttributes, OpName } from "./ops/op-attributes.ts";
import type { AnyOpSpec, GraphNode } from "./ops/op-spec.ts";

export interface LowerOptions {
  /** Channels per block for the blocked lowering (Engine.probeBlockSize), or 0 for the portable one. */
  readonly blockSize: number;
  readonly name: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /**
   * Leaves the first dimension of inputs and outputs open as "N". Only for graphs whose ops emit no constant that holds
   * the batch size: inference graphs in the portable lowering.
   */
  readonly dynamicBatch?: boolean;
  /** How constants of more than one dimension are stored; the arithmetic is float32 either way. */
  readonly precision?: Precision;
}

export type Precision = "float32" | "float16";

/** Turns a graph into an ONNX model; nodes that no output needs are left out. */
export function lowerGraph(graph: Graph, options: LowerOptions): OnnxModel {
  const lowering = options.blockSize > 0 ? blocked : portable;
  const builder = new OnnxBuilder(options.blockSize);
  const emitted = new Map<number, Emitted>();
  const needed = neededNodes(graph);
  const declared = (shape: readonly number[]): (number | string)[] => (options.dynamicBatch ? ["N", ...shape.slice(1)] : [...shape]);
  for (const [name, value] of graph.inputs) emitted.set(value.id, builder.input(name, value.dtype, declared(value.shape), value.shape));
  const used = new Set([...needed].flatMap((node) => node.inputs.map((input) => input.id)));
  for (const [value, data] of graph.constants) {
    if (!used.has(value.id)) continue;
    const half = options.precision === "float16" && value.shape.length > 1;
    emitted.set(value.id, half ? builder.halves(data, value.shape) : builder.floats(data, value.shape));
  }
  for (const node of graph.nodes) {
    if (!needed.has(node)) continue;
    const spec = OPS[node.op] as AnyOpSpec<OpAttributes[OpName]>;
    const inputs = node.inputs.map((input) => emitted.get(input.id) as Emitted);
    const shapes = node.outputs.map((output) => output.shape);
    spec.lower(builder, lowering, inputs, node.attributes, shapes).forEach((value, index) => {
      emitted.set((node.outputs[index] as { id: number }).id, value);
    });
  }
  for (const [name, value] of graph.outputs) builder.output(name, emitted.get(value.id) as Emitted, declared(value.shape));
  return builder.finish(options.name, options.metadata);
}

function neededNodes(graph: Graph): Set<GraphNode> {
  const wanted = new Set([...graph.outputs.values()].map((value) => value.id));
  const needed = new Set<GraphNode>();
  for (const node of graph.nodes.slice().reverse()) {
    if (!node.outputs.some((output) => wanted.has(output.id))) continue;
    needed.add(node);
    for (const input of node.inputs) wanted.add(input.id);
  }
  return needed;
}
