import { elementCount, sameShape, type Emitted, type OnnxBuilder } from "../../onnx/builder.ts";
import type { Activation, Lowering } from "../../onnx/lowering.ts";
import { evaluateGate } from "./activation.ts";
import type { NoAttributes } from "./op-attributes.ts";
import { array64, expectShape, graphError, type GraphEditor, type OpSpec, type Value } from "./op-spec.ts";

/** The shape that a and b broadcast to, by NumPy's rule. */
function broadcastShape(op: string, a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const x = a[axis - rank + a.length] ?? 1;
    const y = b[axis - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) throw graphError(op, `shapes [${a.join()}] and [${b.join()}] do not broadcast`);
    return Math.max(x, y);
  });
}

/** For each element of `shape`, the offset of the element of `source` that broadcasts to it. */
export function broadcastOffsets(source: readonly number[], shape: readonly number[]): Int32Array {
  const strides = Array.from(shape, () => 0);
  let stride = 1;
  for (let axis = source.length - 1; axis >= 0; axis--) {
    const size = source[axis] as number;
    if (size !== 1) strides[axis + shape.length - source.length] = stride;
    stride *= size;
  }
  const offsets = new Int32Array(shape.reduce((product, size) => product * size, 1));
  const index = Array.from(shape, () => 0);
  for (let k = 0; k < offsets.length; k++) {
    offsets[k] = index.reduce((sum, at, axis) => sum + at * (strides[axis] as number), 0);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      index[axis] = 0;
    }
  }
  return offsets;
}

/** The gradient of a broadcast input is the sum over what it was repeated along. */
function reduceTo(graph: GraphEditor, gradient: Value, input: Value): Value | undefined {
  if (!input.differentiable) return undefined;
  return sameShape(gradient.shape, input.shape) ? gradient : graph.apply("sumTo", [gradient], { shape: input.shape });
}

function binary(
  name: "add" | "subtract" | "multiply" | "divide",
  onnxOp: string,
  compute: (x: number, y: number) => number,
  gradient: (graph: GraphEditor, a: Value, b: Value, dy: Value) => [() => Value, () => Value],
): OpSpec<NoAttributes, 2> {
  return {
    infer: ([a, b]) => [broadcastShape(name, a, b)],
    evaluate([x, y]) {
      const result = array64(broadcastShape(name, x.shape, y.shape));
      const [ox, oy] = [broadcastOffsets(x.shape, result.shape), broadcastOffsets(y.shape, result.shape)];
      for (let k = 0; k < result.data.length; k++)
        result.data[k] = compute(x.data[ox[k] as number] as number, y.data[oy[k] as number] as number);
      return [result];
    },
    gradient(graph, node, dy) {
      const [a, b] = node.inputs;
      const [da, db] = gradient(graph, a, b, dy);
      return [a.differentiable ? reduceTo(graph, da(), a) : undefined, b.differentiable ? reduceTo(graph, db(), b) : undefined];
    },
    lower(builder, _lowering, [a, b], _attributes, [shape]) {
      return [lowerBinary(builder, onnxOp, a, b, shape)];
    },
  };
}

/** Maps of equal shape stay in the blocked layout; anything else is computed in the plain one. */
function lowerBinary(builder: OnnxBuilder, op: string, a: Emitted, b: Emitted, shape: readonly number[]): Emitted {
  const blocked = sameShape(a.shape, b.shape) && (a.layout === "blocked" || b.layout === "blocked");
  if (blocked) return builder.node(op, [builder.blocked(a), builder.blocked(b)], shape, { layout: "blocked" });
  const inputs = [builder.plain(a), builder.plain(b)];
  // ONNX Runtime 1.30 takes a number at a time where [O,C,1,1] meets a scalar: 0.3 ms for 192x128 of them, against 9 us for a row.
  const one = inputs.find((input) => elementCount(input.shape) === 1);
  if (!one || shape.length < 2 || shape.at(-1) !== 1) return builder.node(op, inputs, shape);
  const row = [elementCount(shape)];
  const rows = inputs.map((input) => (input === one ? builder.reshape(input, []) : builder.reshape(input, row)));
  return builder.reshape(builder.node(op, rows, row), shape);
}

function unary<A extends object>(
  compute: (x: number, attributes: A) => number,
  gradient: OpSpec<A, 1>["gradient"],
  emit: (builder: OnnxBuilder, lowering: Lowering, x: Emitted, attributes: A) => Emitted,
): OpSpec<A, 1> {
  return {
    infer: ([shape]) => [shape],
    evaluate: ([x], attributes) => [
      array64(
        x.shape,
        x.data.map((value) => compute(value, attributes)),
      ),
    ],
    gradient,
    lower: (builder, lowering, [x], attributes) => [emit(builder, lowering, x, attributes)],
  };
}

export const add: OpSpec<NoAttributes, 2> = binary(
  "add",
  "Add",
  (x, y) => x + y,
  (_graph, _a, _b, dy) => [() => dy, () => dy],
);

export const subtract: OpSpec<NoAttributes, 2> = binary(
  "subtract",
  "Sub",
  (x, y) => x - y,
  (graph, _a, _b, dy) => [() => dy, () => graph.scale(dy, -1)],
);

export const multiply: OpSpec<NoAttributes, 2> = binary(
  "multiply",
  "Mul",
  (x, y) => x * y,
  (graph, a, b, dy) => [() => graph.multiply(dy, b), () => graph.multiply(dy, a)],
);

export const divide: OpSpec<NoAttributes, 2> = binary(
  "divide",
  "Div",
  (x, y) => x / y,
  (graph, a, b, dy) => [() => graph.divide(dy, b), () => graph.scale(graph.divide(graph.multiply(dy, a), graph.multiply(b, b)), -1)],
);

/** Its gradient is bounded: at 0 it would be infinite. */
export const squareRoot: OpSpec<NoAttributes, 1> = unary(
  Math.sqrt,
  (graph, node, dy) => {
    const y = node.outputs[0];
    // 1/y, but 0 at 0 and never more than 5000.
    const inverse = graph.divide(y, graph.add(graph.multiply(y, y), graph.scalar(1e-8)));
    return [graph.scale(graph.multiply(dy, inverse), 0.5)];
  },
  (builder, _lowering, x) => builder.node("Sqrt", [x], x.shape, { layout: x.layout }),
);

/** 1 for x >= 0, else -1: never 0, so that multiplying with it twice gives the number back. */
export const signOf: OpSpec<NoAttributes, 1> = unary(
  (x) => (x < 0 ? -1 : 1),
  { zero: "it is constant on both sides of the step" },
  (builder, _lowering, x) => {
    const negative = builder.node("Less", [x, builder.scalar(0)], x.shape, { dtype: "bool" });
    return builder.node("Where", [negative, builder.scalar(-1), builder.scalar(1)], x.shape);
  },
);

export const relu: OpSpec<NoAttributes, 1> = unary(
  (x) => Math.max(0, x),
  (graph, node, dy) => [graph.apply("positiveGate", [dy, node.outputs[0]], {})],
  (builder, _lowering, x) => builder.node("Relu", [x], x.shape, { layout: x.layout }),
);

/** min(max(x, 0), 6), the activation of networks made for small integers. Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10". */
export const relu6: OpSpec<NoAttributes, 1> = unary(
  (x) => Math.min(6, Math.max(0, x)),
  (graph, node, dy) => {
    return [graph.apply("relu6Gate", [dy, node.outputs[0]], {})];
  },
  (builder, _lowering, x) => builder.node("Clip", [x, builder.scalar(0), builder.scalar(6)], x.shape, { layout: x.layout }),
);

/** First input where the activation's result, the second, lets a gradient pass; else 0. Both have one shape. */
function activationGate(
  name: "positiveGate" | "relu6Gate",
  activation: Activation,
  /** Emits a condition for what has no maps. */
  emitCondition: (builder: OnnxBuilder, y: Emitted) => Emitted,
): OpSpec<NoAttributes, 2> {
  return {
    infer([d, y]) {
      expectShape(name, "y", y, d);
      return [d];
    },
    evaluate: ([d, y]) => [evaluateGate(d, y, activation)],
    gradient: { none: "Serval differentiates once" },
    lower(builder, lowering, [gradient, output]) {
      if (output.shape.length === 4) return [lowering.gate(builder, gradient, output, activation)];
      const mask = builder.node("Cast", [emitCondition(builder, output)], output.shape, { attributes: { to: 1 } });
      return [builder.node("Mul", [gradient, mask], output.shape)];
    },
  };
}

/** The gradient of relu. */
export const positiveGate: OpSpec<NoAttributes, 2> = activationGate("positiveGate", "relu", (builder, y) =>
  builder.node("Greater", [y, builder.scalar(0)], y.shape, { dtype: "bool" }),
);

/** The gradient of relu6. */
export const relu6Gate: OpSpec<NoAttributes, 2> = activationGate("relu6Gate", "relu6", (builder, y) => {
  const rest = builder.node("Sub", [builder.scalar(6), y], y.shape);
  return builder.node("Greater", [builder.node("Mul", [y, rest], y.shape), builder.scalar(0)], y.shape, { dtype: "bool" });
});
