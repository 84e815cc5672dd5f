import { elementCount, type Emitted } from "../../onnx/builder.ts";
import { broadcastOffsets } from "./elementwise.ts";
import type { MatmulAttributes, ShapeAttributes } from "./op-attributes.ts";
import { array64, expectRank, graphError, type Array64, type OpSpec, type Value } from "./op-spec.ts";

export const reshape: OpSpec<ShapeAttributes> = {
  infer([from], { shape }) {
    if (elementCount(from ?? []) !== elementCount(shape))
      throw graphError("reshape", `[${from?.join()}] has not as many elements as [${shape.join()}]`);
    return [shape];
  },
  evaluate: ([x], { shape }) => [array64(shape, (x as Array64).data)],
  gradient: (graph, node, [dy]) => [dy ? graph.reshape(dy, (node.inputs[0] as Value).shape) : undefined],
  lower: (builder, _lowering, [x], { shape }) => [builder.reshape(builder.plain(x as Emitted), shape)],
};

/** Sums over the axes along which `shape` broadcasts to the input's shape. */
export const sumTo: OpSpec<ShapeAttributes> = {
  infer([from], { shape }) {
    broadcastOffsets(shape, from ?? []);
    return [shape];
  },
  evaluate([x], { shape }) {
    const input = x as Array64;
    const result = array64(shape);
    const offsets = broadcastOffsets(shape, input.shape);
    for (let k = 0; k < input.data.length; k++)
      result.data[offsets[k] as number] = (result.data[offsets[k] as number] as number) + (input.data[k] as number);
    return [result];
  },
  gradient: (graph, node, [dy]) => [dy ? graph.apply("broadcastTo", [dy], { shape: (node.inputs[0] as Value).shape }) : undefined],
  lower(builder, _lowering, [x], { shape }) {
    const input = builder.plain(x as Emitted);
    const lead = input.shape.length - shape.length;
    const axes = input.shape.flatMap((size, axis) => (axis < lead || (shape[axis - lead] === 1 && size !== 1) ? [axis] : []));
    if (axes.length === 0) return [builder.reshape(input, shape)];
    const kept = input.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
    const sum = builder.node("ReduceSum", [input, builder.ints(...axes)], kept, { attributes: { keepdims: 1 } });
    return [builder.reshape(sum, shape)];
  },
};

export const broadcastTo: OpSpec<ShapeAttributes> = {
  infer: (_shapes, { shape }) => [shape],
  evaluate([x], { shape }) {
    const input = x as Array64;
    const result = array64(shape);
    broadcastOffsets(input.shape, shape).forEach((from, k) => (result.data[k] = input.data[from] as number));
    return [result];
  },
  gradient: (graph, node, [dy]) => [dy ? graph.apply("sumTo", [dy], { shape: (node.inputs[0] as Value).shape }) : undefined],
  lower: (builder, _lowering, [x], { shape }) => [builder.node("Expand", [builder.plain(x as Emitted), builder.ints(...shape)], shape)],
};

/** Product of two matrices, either of them transposed first. */
export const matmul: OpSpec<MatmulAttributes> = {
  infer([a, b], { transposeA, transposeB }) {
    expectRank("matmul", "a", a ?? [], 2);
    expectRank("matmul", "b", b ?? [], 2);
    const [rows, inner] = transposeA ? [a?.[1], a?.[0]] : [a?.[0], a?.[1]];
    const [inner2, columns] = transposeB ? [b?.[1], b?.[0]] : [b?.[0], b?.[1]];
    if (inner !== inner2) throw graphError("matmul", `inner sizes ${inner} and ${inner2} differ (a [${a?.join()}], b [${b?.join()}])`);
    return [[rows as number, columns as number]];
  },
  evaluate([a, b], { transposeA, transposeB }) {
    const [x, y] = [a as Array64, b as Array64];
    const [rows, inner] = (transposeA ? [x.shape[1], x.shape[0]] : x.shape) as [number, number];
    const columns = (transposeB ? y.shape[0] : y.shape[1]) as number;
    const result = array64([rows, columns]);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        for (let k = 0; k < inner; k++) {
          const left = x.data[transposeA ? k * rows + i : i * inner + k] as number;
          sum += left * (y.data[transposeB ? j * inner + k : k * columns + j] as number);
        }
        result.data[i * columns + j] = sum;
      }
    }
    return [result];
  },
  gradient(graph, node, [dy]) {
    const [a, b] = node.inputs as [Value, Value];
    if (!dy) return [undefined, undefined];
    const { transposeA = false, transposeB = false } = node.attributes as MatmulAttributes;
    const product = (x: Value, y: Value, tx: boolean, ty: boolean): Value =>
      graph.apply("matmul", [x, y], { transposeA: tx, transposeB: ty });
    const da = transposeA ? product(b, dy, transposeB, true) : product(dy, b, false, !transposeB);
    const db = transposeB ? product(dy, a, true, transposeA) : product(a, dy, !transposeA, false);
    return [da, db];
  },
  lower(builder, _lowering, [a, b], { transposeA, transposeB }, [shape]) {
    const attributes = { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0 };
    return [builder.node("Gemm", [a as Emitted, b as Emitted], shape as readonly number[], { attributes })];
  },
};
