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

export type Shape = readonly number[];

type Tuple<T, N extends number, Made extends readonly T[] = readonly []> = Made["length"] extends N
  ? Made
  : Tuple<T, N, readonly [...Made, T]>;

/** One T for each input of an op; the last one may be left out where `Optional` is true. */
type Inputs<T, In extends number, Optional extends boolean> = Optional extends true ? readonly [...Tuple<T, In>, T?] : Tuple<T, In>;

interface OpNode<A, In extends number, Out extends number, Optional extends boolean> {
  readonly inputs: Inputs<Value, In, Optional>;
  readonly outputs: Tuple<Value, Out>;
  readonly attributes: A;
}

/**
 * Everything that an op with `In` inputs (and one more that is optional) and `Out` outputs is. The registry in index.ts holds one for each op
 * name, so a missing part does not compile. Methods, because the registry forgets how many inputs each op has.
 */
export interface OpSpec<A, In extends number, Out extends number = 1, Optional extends boolean = false> {
  /** Shapes of the outputs; throws E_GRAPH where the inputs do not fit. */
  infer(shapes: Inputs<Shape, In, Optional>, attributes: A): Tuple<Shape, Out>;
  /** What the op means, in float64, written for clarity. */
  evaluate(inputs: Inputs<Array64, In, Optional>, attributes: A): Tuple<Array64, Out>;
  /**
   * Reverse mode: emits into the same graph the gradients of the inputs, in their order, for that of the first output; undefined where none
   * is asked for or none can be given. Or the reason why there is none, which is an error where one is wanted; or why it is zero
   * everywhere, which is not.
   */
  readonly gradient: Gradient<A, In, Out, Optional> | { readonly none: string } | { readonly zero: string };
  /** Emits ONNX nodes; maps go through the lowering, which knows two layouts. */
  lower(
    builder: OnnxBuilder,
    lowering: Lowering,
    inputs: Inputs<Emitted, In, Optional>,
    attributes: A,
    shapes: Tuple<Shape, Out>,
  ): Tuple<Emitted, Out>;
}

type Gradient<A, In extends number, Out extends number, Optional extends boolean> = {
  of(graph: GraphEditor, node: OpNode<A, In, Out, Optional>, dy: Value): readonly (Value | undefined)[];
}["of"];

/** An op as the engine goes through it: whatever the number of its inputs and outputs. */
export interface AnyOpSpec<A> {
  infer(shapes: readonly (Shape | undefined)[], attributes: A): readonly Shape[];
  evaluate(inputs: readonly (Array64 | undefined)[], attributes: A): readonly Array64[];
  readonly gradient: AnyGradient<A> | { readonly none: string } | { readonly zero: string };
  lower(
    builder: OnnxBuilder,
    lowering: Lowering,
    inputs: readonly (Emitted | undefined)[],
    attributes: A,
    shapes: readonly Shape[],
  ): readonly Emitted[];
}

type AnyGradient<A> = {
  of(
    graph: GraphEditor,
    node: { readonly inputs: readonly (Value | undefined)[]; readonly outputs: readonly Value[]; readonly attributes: A },
    dy: Value,
  ): readonly (Value | undefined)[];
}["of"];

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
