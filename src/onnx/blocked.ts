import { blockedWeightGrad } from "./blocked-weight-gradient.ts";
import { pointwiseConv2d, pointwiseInputGrad, pointwiseWeightGrad } from "./blocked-pointwise.ts";
import { blockFirstWeight, blockTurnedWeight, blockWeight } from "./blocked-weights.ts";
import { stridedInputGrad } from "./blocked-strided.ts";
import { activated, emit, fits, whole } from "./blocks.ts";
import type { AttributeValue, Emitted, OnnxBuilder, Map4 } from "./builder.ts";
import {
  insideStep,
  paddingOf,
  STEP_ALPHA,
  sumFirstAxis,
  type Activation,
  type AffineOptions,
  type ConvAttributes,
  type ConvLayerAttributes,
  type Lowering,
} from "./lowering.ts";
import { spreadPixels, windowMaximaGrad } from "./pixels.ts";
import { activate, convAttributes, depthwiseProducts, firstTaps, portable, positiveMask, turnedGeometry, turnTaps } from "./portable.ts";
import { gatherRows } from "./rows.ts";
import { winogradConv2d, winogradInputGrad, winogradWeightGrad } from "./winograd.ts";

function channelsOf(x: Emitted): number {
  return x.shape[1] as number;
}

/** With fewer channels, moving the tiles takes more time than fewer products save. */
const TILED_CHANNELS = 64;

/** Whether a convolution with a weight of this shape, and its gradients, go by Winograd's tiles. */
function tiled(builder: OnnxBuilder, weight: readonly number[], attributes: ConvAttributes): boolean {
  const [o, c] = weight as Map4;
  const { kernel, stride } = attributes;
  const around = paddingOf(attributes).every((padding) => padding === 1);
  return kernel === 3 && stride === 1 && around && fits(builder, o, c) && Math.min(o, c) >= TILED_CHANNELS;
}

function conv2d(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  attributes: ConvLayerAttributes,
  shape: readonly number[],
): Emitted {
  const [o, c] = weight.shape as Map4;
  if (tiled(builder, weight.shape, attributes))
    return activate(builder, winogradConv2d(builder, x, weight, bias, shape), attributes.activation);
  const rest = bias ? [bias] : [];
  const geometry = { ...convAttributes(attributes), ...activated(attributes.activation) };
  if (fits(builder, o, c)) return emit(builder, "Conv", [builder.blocked(x), blockWeight(builder, weight), ...rest], shape, geometry);
  if (fits(builder, o) && c < builder.blockSize)
    return emit(builder, "Conv", [builder.plain(x), blockFirstWeight(builder, weight), ...rest], shape, geometry);
  return portable.conv2d(builder, x, weight, bias, attributes, shape);
}

function depthwiseConv2d(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  attributes: ConvLayerAttributes,
  shape: readonly number[],
): Emitted {
  const c = channelsOf(x);
  if (!fits(builder, c)) return portable.depthwiseConv2d(builder, x, weight, bias, attributes, shape);
  const inputs = [builder.blocked(x), blockFirstWeight(builder, weight), ...(bias ? [bias] : [])];
  return emit(builder, "Conv", inputs, shape, { ...convAttributes(attributes), ...activated(attributes.activation), group: c });
}

function depthwiseInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const [, c, h, w] = shape as Map4;
  if (!fits(builder, c)) return portable.depthwiseInputGrad(builder, dy, weight, attributes, shape);
  const { kernel, stride } = attributes;
  const geometry = turnedGeometry(attributes);
  const turned = turnTaps(builder, weight);
  if (stride === 1) return depthwiseConv2d(builder, dy, turned, null, geometry, shape);
  // With zeros between its pixels, dy is that of a convolution with stride 1.
  const [before, after] = paddingOf(geometry);
  const size = (side: number): number => side + kernel - 1 - before - after;
  const spread = spreadPixels(builder, dy, stride, [size(h), size(w)], "blocked");
  return depthwiseConv2d(builder, spread, turned, null, geometry, shape);
}

/** As in the portable lowering: MLAS reads both maps where they lie. */
function depthwiseWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  const [, , oh, ow] = dy.shape as Map4;
  if (!fits(builder, c)) return portable.depthwiseWeightGrad(builder, x, dy, attributes, shape);
  const { conv, height, width } = depthwiseProducts(attributes, [h, w], [oh, ow]);
  const maps = builder.asBlocked(builder.blocked(x), [1, n * c, h, w]);
  const kernels = builder.reshape(builder.blocked(dy), [n * c, 1, oh, ow]);
  const products = emit(builder, "Conv", [maps, kernels], [1, n * c, height, width], { ...conv, group: n * c });
  const sum = sumFirstAxis(builder, builder.reshape(products, [n, c * height * width]));
  const taps = builder.plain(builder.asBlocked(sum, [1, c, height, width]));
  return firstTaps(builder, builder.reshape(taps, [c, height, width]), attributes.kernel, shape);
}

function conv2dInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const [o, c] = weight.shape as Map4;
  if (tiled(builder, weight.shape, attributes)) return winogradInputGrad(builder, dy, weight, shape);
  const strided = fits(builder, o, c) && attributes.stride > 1 ? stridedInputGrad(builder, dy, weight, attributes, shape) : undefined;
  if (strided) return strided;
  if (!fits(builder, o, c) || attributes.stride > 1) return portable.conv2dInputGrad(builder, dy, weight, attributes, shape);
  return emit(
    builder,
    "Conv",
    [builder.blocked(dy), blockTurnedWeight(builder, weight)],
    shape,
    convAttributes(turnedGeometry(attributes)),
  );
}

function conv2dWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  if (tiled(builder, shape, attributes)) return winogradWeightGrad(builder, x, dy, shape);
  return blockedWeightGrad(builder, x, dy, attributes, shape);
}

function maxPool(builder: OnnxBuilder, x: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  if (!fits(builder, channelsOf(x))) return portable.maxPool(builder, x, attributes, shape);
  return emit(builder, "MaxPool", [builder.blocked(x)], shape, convAttributes(attributes));
}

function maxPoolGrad(builder: OnnxBuilder, x: Emitted, pooled: Emitted, d: Emitted, attributes: ConvAttributes): Emitted {
  if (!fits(builder, channelsOf(x))) return portable.maxPoolGrad(builder, x, pooled, d, attributes);
  return windowMaximaGrad(builder, x, pooled, d, attributes, "blocked");
}

function maxPool2(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  if (!fits(builder, c)) return portable.maxPool2(builder, x);
  return emit(builder, "MaxPool", [builder.blocked(x)], [n, c, h / 2, w / 2], { kernel_shape: [2, 2], strides: [2, 2] });
}

function vector(builder: OnnxBuilder, channels: number, value: number): Emitted {
  return builder.floats(new Float32Array(channels).fill(value));
}

/** a*x + b (+ addend) and an activation in one pass: a depthwise 1x1 convolution. */
function depthwise(
  builder: OnnxBuilder,
  x: Emitted,
  a: Emitted,
  b: Emitted,
  addend: Emitted | undefined,
  activation: Record<string, AttributeValue>,
): Emitted {
  const c = channelsOf(x);
  const inputs = [builder.blocked(x), builder.reshape(a, [c, 1, 1, 1]), b, ...(addend ? [builder.blocked(addend)] : [])];
  return emit(builder, "Conv", inputs, x.shape, { group: c, kernel_shape: [1, 1], ...activation });
}

/**
 * As in the portable lowering, but the difference and its step function are one depthwise convolution. Pixels are doubled by
 * Gather, because MLAS's operator for it uses a single thread; the rows of `d` by the product, which reads each of them twice.
 */
function maxPool2Grad(builder: OnnxBuilder, x: Emitted, pooled: Emitted, d: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  if (!fits(builder, c)) return portable.maxPool2Grad(builder, x, pooled, d);
  const b = builder.blockSize;
  const zero = vector(builder, c, 0);
  const negative = depthwise(builder, pooled, vector(builder, c, -1), zero, undefined, {});
  const pixels = Int32Array.from({ length: h * w }, (_, k) => Math.floor(Math.floor(k / w) / 2) * (w / 2) + Math.floor((k % w) / 2));
  const maxima = gatherRows(builder, negative, [(n * c) / b, (h * w) / 4, b], pixels);
  const mask = depthwise(builder, x, vector(builder, c, 1), zero, builder.asBlocked(maxima, x.shape), {
    activation: "HardSigmoid",
    activation_params: { floats: [STEP_ALPHA, 1] },
  });
  const ones = builder.floats(new Float32Array(c * 4).fill(1), [c, 1, 2, 2]);
  const count = emit(builder, "Conv", [mask, ones], pooled.shape, { group: c, kernel_shape: [2, 2], strides: [2, 2] });
  const share = builder.node("Div", [builder.blocked(d), count], pooled.shape, { layout: "blocked" });
  const rows = (n * c * h) / b / 2;
  const columns = Int32Array.from({ length: w }, (_, k) => Math.floor(k / 2));
  const wide = gatherRows(builder, share, [rows, w / 2, b], columns);
  const product = builder.node("Mul", [builder.reshape(mask, [rows, 2, w * b]), builder.reshape(wide, [rows, 1, w * b])], [rows, 2, w * b]);
  return builder.asBlocked(product, x.shape);
}

function spatialSum(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  if (!fits(builder, c) && x.layout === "plain") return portable.spatialSum(builder, x);
  const b = builder.blockSize;
  const wholes = whole(builder, c);
  const blocks = builder.reshape(builder.blocked(x), [(n * wholes) / b, h * w, b]);
  const sum = builder.node("ReduceSum", [blocks, builder.ints(1)], [(n * wholes) / b, b], { attributes: { keepdims: 0 } });
  const sums = builder.reshape(sum, [n, wholes]);
  return wholes === c ? sums : builder.node("Slice", [sums, builder.ints(0), builder.ints(c), builder.ints(1)], [n, c]);
}

/** One depthwise convolution of x by a kernel as large as the map, which is y: it reads both and writes [N,C]. */
function channelDot(builder: OnnxBuilder, x: Emitted, y: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  if (!fits(builder, c)) return portable.channelDot(builder, x, y);
  const maps = builder.asBlocked(builder.blocked(x), [1, n * c, h, w]);
  const kernels = builder.reshape(builder.blocked(y), [n * c, 1, h, w]);
  const products = emit(builder, "Conv", [maps, kernels], [1, n * c, 1, 1], { kernel_shape: [h, w], group: n * c });
  return sumFirstAxis(builder, builder.reshape(products, [n, c]));
}

function spatialSpread(builder: OnnxBuilder, d: Emitted, shape: readonly number[]): Emitted {
  const [n, c, h, w] = shape as Map4;
  if (!fits(builder, c)) return portable.spatialSpread(builder, d, shape);
  const b = builder.blockSize;
  const spread = [(n * c) / b, h * w, b];
  return builder.asBlocked(builder.node("Expand", [builder.reshape(d, [(n * c) / b, 1, b]), builder.ints(...spread)], spread), shape);
}

function affine(builder: OnnxBuilder, x: Emitted, a: Emitted, b: Emitted, options: AffineOptions = {}): Emitted {
  if (!fits(builder, channelsOf(x))) return portable.affine(builder, x, a, b, options);
  return depthwise(builder, x, a, b, options.addend, activated(options.activation));
}

function multiply(builder: OnnxBuilder, x: Emitted, y: Emitted): Emitted {
  if (!fits(builder, channelsOf(x))) return portable.multiply(builder, x, y);
  return builder.node("Mul", [builder.blocked(x), builder.blocked(y)], x.shape, { layout: "blocked" });
}

function gate(builder: OnnxBuilder, d: Emitted, y: Emitted, activation: Activation): Emitted {
  if (activation === "none") return d;
  if (!fits(builder, channelsOf(y))) return portable.gate(builder, d, y, activation);
  return multiply(builder, d, activation === "relu" ? positiveMask(builder, builder.blocked(y)) : relu6Mask(builder, y));
}

/** 1 where 0 < y < 6: |y - 3| is a pass, because LeakyRelu with a slope of -1 is the absolute value. */
function relu6Mask(builder: OnnxBuilder, y: Emitted): Emitted {
  const c = channelsOf(y);
  const absolute = { activation: "LeakyRelu", activation_params: { floats: [-1] } };
  const distance = depthwise(builder, y, vector(builder, c, 1), vector(builder, c, -3), undefined, absolute);
  return builder.node("HardSigmoid", [distance], y.shape, { layout: "blocked", attributes: insideStep(3) });
}

/**
 * MLAS's blocked operators (the layout that ONNX Runtime itself converts inference graphs to), with weights that change
 * at run time. Shapes that they cannot hold take the portable way, with reorders between.
 */
export const blocked: Lowering = {
  name: "blocked",
  conv2d,
  depthwiseConv2d,
  depthwiseInputGrad,
  depthwiseWeightGrad,
  pointwiseConv2d,
  pointwiseInputGrad,
  pointwiseWeightGrad,
  conv2dInputGrad,
  conv2dWeightGrad,
  maxPool,
  maxPoolGrad,
  maxPool2,
  maxPool2Grad,
  channelSum: (builder, x) => sumFirstAxis(builder, spatialSum(builder, x)),
  channelDot,
  spatialSum,
  spatialSpread,
  affine,
  multiply,
  gate,
};
