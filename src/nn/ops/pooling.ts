import type { Map4 } from "../../onnx/builder.ts";
import { paddingOf, type ConvAttributes } from "../../onnx/lowering.ts";
import { convOutput } from "./convolution.ts";
import type { NoAttributes, ShapeAttributes } from "./op-attributes.ts";
import { array64, expectRank, graphError, type Array64, type OpSpec } from "./op-spec.ts";

/** Offsets in x of the 2x2 tile that makes element k of the pooled map. */
function tileOffsets(shape: readonly number[], k: number): [number, number, number, number] {
  const [, , h, w] = shape as Map4;
  const [row, column] = [Math.floor(k / (w / 2)), k % (w / 2)];
  const plane = Math.floor(row / (h / 2));
  const first = (plane * h + (row % (h / 2)) * 2) * w + column * 2;
  return [first, first + 1, first + w, first + w + 1];
}

export function pooledShape(op: string, x: readonly number[]): number[] {
  expectRank(op, "x", x, 4);
  const [n, c, h, w] = x as Map4;
  if (h % 2 || w % 2) throw graphError(op, `maps of ${h}x${w} cannot be halved; expected even sizes`);
  return [n, c, h / 2, w / 2];
}

export function evaluateMaxPool2(x: Array64): Array64 {
  const result = array64(pooledShape("maxPool2", x.shape));
  for (let k = 0; k < result.data.length; k++) result.data[k] = Math.max(...tileOffsets(x.shape, k).map((at) => x.data[at] as number));
  return result;
}

export function evaluateMaxPool2Grad(x: Array64, pooled: Array64, d: Array64): Array64 {
  const result = array64(x.shape);
  for (let k = 0; k < pooled.data.length; k++) {
    const maxima = tileOffsets(x.shape, k).filter((at) => x.data[at] === pooled.data[k]);
    for (const at of maxima) result.data[at] = (d.data[k] as number) / maxima.length;
  }
  return result;
}

/**
 * Maximum of each 2x2 tile. Equal maxima share the gradient: where a picture is of one colour all four of a tile are equal,
 * and move together.
 */
export const maxPool2: OpSpec<NoAttributes, 1> = {
  infer: ([x]) => [pooledShape("maxPool2", x)],
  evaluate: ([x]) => [evaluateMaxPool2(x)],
  gradient: (graph, node, dy) => [graph.apply("maxPool2Grad", [node.inputs[0], node.outputs[0], dy], {})],
  lower: (builder, lowering, [x]) => [lowering.maxPool2(builder, x)],
};

export const maxPool2Grad: OpSpec<NoAttributes, 3> = {
  infer: ([x]) => [x],
  evaluate: ([x, pooled, d]) => [evaluateMaxPool2Grad(x, pooled, d)],
  gradient: { none: "Serval differentiates once" },
  lower: (builder, lowering, [x, pooled, d]) => [lowering.maxPool2Grad(builder, x, pooled, d)],
};

/** Offsets in x of the window of element k of the result, without those in the padding. */
function windowOffsets(x: readonly number[], y: readonly number[], attributes: ConvAttributes, k: number): number[] {
  const [, , h, w] = x as Map4;
  const [, , oh, ow] = y as Map4;
  const { kernel, stride } = attributes;
  const [before] = paddingOf(attributes);
  const [column, row, plane] = [k % ow, Math.floor(k / ow) % oh, Math.floor(k / (ow * oh))];
  const offsets: number[] = [];
  for (let ky = 0; ky < kernel; ky++)
    for (let kx = 0; kx < kernel; kx++) {
      const [iy, ix] = [row * stride + ky - before, column * stride + kx - before];
      if (iy >= 0 && iy < h && ix >= 0 && ix < w) offsets.push((plane * h + iy) * w + ix);
    }
  return offsets;
}

/** Maximum of each window of K x K pixels, `stride` apart; windows may overlap. As in maxPool2, equal maxima share the gradient. */
export const maxPool: OpSpec<ConvAttributes, 1> = {
  infer([x], attributes) {
    expectRank("maxPool", "x", x, 4);
    const [n, c, h, w] = x as Map4;
    if (Math.max(...paddingOf(attributes)) >= attributes.kernel) throw graphError("maxPool", "the padding would hold whole windows");
    return [[n, c, ...convOutput("maxPool", h, w, attributes)]];
  },
  evaluate([x], attributes) {
    const [shape] = maxPool.infer([x.shape], attributes);
    const result = array64(shape);
    for (let k = 0; k < result.data.length; k++)
      result.data[k] = Math.max(...windowOffsets(x.shape, result.shape, attributes, k).map((at) => x.data[at] as number));
    return [result];
  },
  gradient: (graph, node, dy) => [graph.apply("maxPoolGrad", [node.inputs[0], node.outputs[0], dy], node.attributes)],
  lower: (builder, lowering, [x], attributes, [shape]) => [lowering.maxPool(builder, x, attributes, shape)],
};

/** x, pooled, d -> gradient of x. */
export const maxPoolGrad: OpSpec<ConvAttributes, 3> = {
  infer: ([x]) => [x],
  evaluate([x, pooled, d], attributes) {
    const [input, maxima, gradient] = [x, pooled, d];
    const result = array64(input.shape);
    for (let k = 0; k < maxima.data.length; k++) {
      const equal = windowOffsets(input.shape, maxima.shape, attributes, k).filter((at) => input.data[at] === maxima.data[k]);
      for (const at of equal) result.data[at] = (result.data[at] as number) + (gradient.data[k] as number) / equal.length;
    }
    return [result];
  },
  gradient: { none: "Serval differentiates once" },
  lower: (builder, lowering, [x, pooled, d], attributes) => [lowering.maxPoolGrad(builder, x, pooled, d, attributes)],
};

export function evaluateChannelSum(x: Array64): Array64 {
  const [, c, h, w] = x.shape as Map4;
  const result = array64([c]);
  for (let k = 0; k < x.data.length; k++) {
    const channel = Math.floor(k / (h * w)) % c;
    result.data[channel] = (result.data[channel] as number) + (x.data[k] as number);
  }
  return result;
}

/** Sum over pictures and pixels: [N,C,H,W] -> [C]. */
export const channelSum: OpSpec<NoAttributes, 1> = {
  infer: ([x]) => [[x[1] as number]],
  evaluate: ([x]) => [evaluateChannelSum(x)],
  gradient(graph, node, dy) {
    const { shape } = node.inputs[0];
    return [graph.apply("broadcastTo", [graph.reshape(dy, [1, shape[1] as number, 1, 1])], { shape })];
  },
  lower: (builder, lowering, [x]) => [lowering.channelSum(builder, x)],
};

/** Global average pooling: [N,C,H,W] -> [N,C]. */
export const spatialMean: OpSpec<NoAttributes, 1> = {
  infer: ([x]) => [[x[0] as number, x[1] as number]],
  evaluate([x]) {
    const [n, c, h, w] = x.shape as Map4;
    const result = array64([n, c]);
    for (let k = 0; k < x.data.length; k++) {
      const at = Math.floor(k / (h * w));
      result.data[at] = (result.data[at] as number) + (x.data[k] as number) / (h * w);
    }
    return [result];
  },
  gradient: (graph, node, dy) => [graph.apply("spatialMeanGrad", [dy], { shape: node.inputs[0].shape })],
  lower(builder, lowering, [x]) {
    const [, , h, w] = x.shape as Map4;
    const sum = lowering.spatialSum(builder, x);
    return [builder.node("Mul", [sum, builder.scalar(1 / (h * w))], sum.shape)];
  },
};

export const spatialMeanGrad: OpSpec<ShapeAttributes, 1> = {
  infer: (_shapes, { shape }) => [shape],
  evaluate([d], { shape }) {
    const [, , h, w] = shape as Map4;
    const result = array64(shape);
    for (let k = 0; k < result.data.length; k++) result.data[k] = (d.data[Math.floor(k / (h * w))] as number) / (h * w);
    return [result];
  },
  gradient: { none: "Serval differentiates once" },
  lower(builder, lowering, [d], { shape }) {
    const [, , h, w] = shape as Map4;
    const share = builder.node("Mul", [d, builder.scalar(1 / (h * w))], d.shape);
    return [lowering.spatialSpread(builder, share, shape)];
  },
};
