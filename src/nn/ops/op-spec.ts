import { ServalError } from "../../errors/serval-error.ts";
import type { Emitted, OnnxBuilder } from "../../onnx/builder.ts";
import type { Lowering } from "../../onnx/lowering.ts";
import type { OpAttributes, OpName } from "./op-attributes.ts";

/** A tensor in the graph: a static shape, and whether a parameter reaches it. */
export interface Value {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: "float32" | "uint8";
  /** True where a gradient may be asked for: parameters, and what ops make of them, except those whose gradient is zero. */
  readonly differentiable: boolean;
}

export interface GraphNode {
  readonly op: OpName;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: OpAttributes[OpName];
}

/** What an op's gradient may do to the graph: append nodes. */
export interface GraphEditor {
  apply<K extends OpName>(op: K, inputs: readonly Value[], attributes: OpAttributes[K]): Value;
  applyAll<K extends OpName>(op: K, inputs: readonly Value[], attributes: OpAttributes[K]): Value[];
  add(a: Value, b: Value): Value;
  multiply(a: Value, b: Value): Value;
  divide(a: Value, b: Value): Value;
  subtract(a: Value, b: Value): Value;
  scale(a: Value, factor: number): Value;
  scalar(value: number): Value;
  reshape(a: Value, shape: readonly number[]): Value;
}

/** A float64 tensor of the reference evaluation. */
export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Gradients for the inputs, in their order; undefined where none is asked for or none can be given. */
export type Gradient = (graph: GraphEditor, node: GraphNode, outputGradients: readonly (Value | undefined)[]) => (Value | undefined)[];

/** Everything that an op is. The registry in index.ts holds one for each op name, so a missing part does not compile. */
export interface OpSpec<A> {
  /** Shapes of the outputs; throws E_GRAPH where the inputs do not fit. */
  readonly infer: (shapes: readonly (readonly number[])[], attributes: A) => (readonly number[])[];
  /** What the op means, in float64, written for clarity. */
  readonly evaluate: (inputs: readonly Array64[], attributes: A) => Array64[];
  /**
   * Reverse mode: emits the gradient into the same graph. Or the reason why there is none, which is an error where one is wanted; or
   * why it is zero everywhere, which is not.
   */
  readonly gradient: Gradient | { readonly none: string } | { readonly zero: string };
  /** Emits ONNX nodes; maps go through the lowering, which knows two layouts. */
  readonly lower: (
    builder: OnnxBuilder,
    lowering: Lowering,
    inputs: readonly Emitted[],
    attributes: A,
    shapes: readonly (readonly number[])[],
  ) => Emitted[];
}

export function graphError(op: string, problem: string): ServalError {
  return new ServalError("E_GRAPH", `${op}: ${problem}`);
}

export function expectRank(op: string, name: string, shape: readonly number[], rank: number): void {
  if (shape.length !== rank) throw graphError(op, `${name} has shape [${shape.join()}]; expected ${rank} dimensions`);
}

export function expectShape(op: string, name: string, shape: readonly number[], expected: readonly number[]): void {
  if (shape.length !== expected.length || shape.some((size, axis) => size !== expected[axis]))
    throw graphError(op, `${name} has shape [${shape.join()}]; expected [${expected.join()}]`);
}

export function array64(shape: readonly number[], data?: Float64Array): Array64 {
  return { shape, data: data ?? new Float64Array(shape.reduce((product, size) => product * size, 1)) };
}
