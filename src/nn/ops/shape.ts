import { elementCount } from "../../onnx/builder.ts";
import { broadcastOffsets } from "./elementwise.ts";
import type { MatmulAttributes, ShapeAttributes } from "./op-attributes.ts";
import { array64, expectRank, graphError, type OpSpec, type Value } from "./op-spec.ts";

export const reshape: OpSpec<ShapeAttributes, 1> = {
  infer([from], { shape }) {
    if (elementCount(from) !== elementCount(shape))
      throw graphError("reshape", `[${from.join()}] has not as many elements as [${shape.join()}]`);
    return [shape];
  },
  evaluate: ([x], { shape }) => [array64(shape, x.data)],
  gradient: (graph, node, dy) => [graph.reshape(dy, node.inputs[0].shape)],
  lower: (builder, _lowering, [x], { shape }) => [builder.reshape(builder.plain(x), shape)],
};

/** Sums over the axes along which `shape` broadcasts to the input's shape. */
export const sumTo: OpSpec<ShapeAttributes, 1> = {
  infer([from], { shape }) {
    broadcastOffsets(shape, from);
    return [shape];
  },
  evaluate([x], { shape }) {
    const result = array64(shape);
    const offsets = broadcastOffsets(shape, x.shape);
    for (let k = 0; k < x.data.length; k++)
      result.data[offsets[k] as number] = (result.data[offsets[k] as number] as number) + (x.data[k] as number);
    return [result];
  },
  gradient: (graph, node, dy) => [graph.apply("broadcastTo", [dy], { shape: node.inputs[0].shape })],
  lower(builder, _lowering, [x], { shape }) {
    const input = builder.plain(x);
    const lead = input.shape.length - shape.length;
    const axes = input.shape.flatMap((size, axis) => (axis < lead || (shape[axis - lead] === 1 && size !== 1) ? [axis] : []));
    if (axes.length === 0) return [builder.reshape(input, shape)];
    const kept = input.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
    const sum = builder.node("ReduceSum", [input, builder.ints(...axes)], kept, { attributes: { keepdims: 1 } });
    return [builder.reshape(sum, shape)];
  },
};

export const broadcastTo: OpSpec<ShapeAttributes, 1> = {
  infer: (_shapes, { shape }) => [shape],
  evaluate([x], { shape }) {
    const result = array64(shape);
    broadcastOffsets(x.shape, shape).forEach((from, k) => (result.data[k] = x.data[from] as number));
    return [result];
  },
  gradient: (graph, node, dy) => [graph.apply("sumTo", [dy], { shape: node.inputs[0].shape })],
  lower: (builder, _lowering, [x], { shape }) => [builder.node("Expand", [builder.plain(x), builder.ints(...shape)], shape)],
};

/** Product of two matrices, either of them transposed first. */
export const matmul: OpSpec<MatmulAttributes, 2> = {
  infer([a, b], { transposeA, transposeB }) {
    expectRank("matmul", "a", a, 2);
    expectRank("matmul", "b", b, 2);
    const [rows, inner] = transposeA ? [a[1], a[0]] : [a[0], a[1]];
    const [inner2, columns] = transposeB ? [b[1], b[0]] : [b[0], b[1]];
    if (inner !== inner2) throw graphError("matmul", `inner sizes ${inner} and ${inner2} differ (a [${a.join()}], b [${b.join()}])`);
    return [[rows as number, columns as number]];
  },
  evaluate([x, y], { transposeA, transposeB }) {
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
  gradient(graph, node, dy) {
    const [a, b] = node.inputs;
    const { transposeA = false, transposeB = false } = node.attributes;
    const product = (x: Value, y: Value, tx: boolean, ty: boolean): Value =>
      graph.apply("matmul", [x, y], { transposeA: tx, transposeB: ty });
    const da = transposeA ? product(b, dy, transposeB, true) : product(dy, b, false, !transposeB);
    const db = transposeB ? product(dy, a, true, transposeA) : product(a, dy, !transposeA, false);
    return [da, db];
  },
  lower(builder, _lowering, [a, b], { transposeA, transposeB }, [shape]) {
    const attributes = { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0 };
    return [builder.node("Gemm", [a, b], shape, { attributes })];
  },
};
