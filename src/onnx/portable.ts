import { MS_DOMAIN, type AttributeValue, type Emitted, type OnnxBuilder, type Map4 } from "./builder.ts";
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
import { windowMaximaGrad } from "./pixels.ts";

/** One number a channel, shaped to broadcast over [N,C,H,W]. */
function perChannel(builder: OnnxBuilder, values: Emitted): Emitted {
  return builder.reshape(values, [1, values.shape[0] as number, 1, 1]);
}

/** A convolution's geometry, as ONNX's Conv takes it. */
export function convAttributes(attributes: ConvAttributes): Record<string, AttributeValue> {
  const { kernel, stride } = attributes;
  const [before, after] = paddingOf(attributes);
  return { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [before, before, after, after] };
}

function conv2d(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  attributes: ConvLayerAttributes,
  shape: readonly number[],
): Emitted {
  return activate(builder, convolve(builder, x, weight, bias, shape, convAttributes(attributes)), attributes.activation);
}

/** An activation as a separate node, in the layout that x has. */
export function activate(builder: OnnxBuilder, x: Emitted, activation: Activation = "none"): Emitted {
  if (activation === "none") return x;
  const { shape, layout } = x;
  if (activation === "relu") return builder.node("Relu", [x], shape, { layout });
  return builder.node("Clip", [x, builder.scalar(0), builder.scalar(6)], shape, { layout });
}

function convolve(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  shape: readonly number[],
  attributes: Record<string, AttributeValue>,
): Emitted {
  const inputs = bias ? [builder.plain(x), weight, bias] : [builder.plain(x), weight];
  return builder.node("Conv", inputs, shape, { attributes });
}

function depthwiseConv2d(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  attributes: ConvLayerAttributes,
  shape: readonly number[],
): Emitted {
  const maps = convolve(builder, x, weight, bias, shape, { ...convAttributes(attributes), group: shape[1] as number });
  return activate(builder, maps, attributes.activation);
}

/** A convolution's taps in the opposite order: weight [O,C,K,K]. */
export function turnTaps(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c, kernel] = weight.shape as Map4;
  const taps = kernel ** 2;
  const order = builder.ints(...Array.from({ length: taps }, (_, tap) => taps - 1 - tap));
  const turned = builder.node("Gather", [builder.reshape(weight, [o, c, taps]), order], [o, c, taps], { attributes: { axis: 2 } });
  return builder.reshape(turned, weight.shape);
}

/** The geometry of the convolution of dy by turned taps that gives a convolution's input gradient, at stride 1. */
export function turnedGeometry(attributes: ConvAttributes): ConvAttributes {
  const [before, after] = paddingOf(attributes);
  const { kernel } = attributes;
  return { kernel, stride: 1, padding: kernel - 1 - before, paddingAfter: kernel - 1 - after };
}

function depthwiseInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  if (attributes.stride === 1) return depthwiseConv2d(builder, dy, turnTaps(builder, weight), null, turnedGeometry(attributes), shape);
  return transposedConvolution(builder, dy, weight, attributes, shape, weight.shape[0] as number);
}

/**
 * Each channel of each picture by its own gradient as a kernel: N*C channels of one picture, a convolution that steps over pixels and
 * whose kernel's pixels are `stride` apart. What comes out are the K*K sums for each of them, which are added over the pictures.
 */
function depthwiseWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  const [, , oh, ow] = dy.shape as Map4;
  const { kernel } = attributes;
  const { conv, height, width } = depthwiseProducts(attributes, [h, w], [oh, ow]);
  const maps = builder.reshape(builder.plain(x), [1, n * c, h, w]);
  const kernels = builder.reshape(builder.plain(dy), [n * c, 1, oh, ow]);
  const products = builder.node("Conv", [maps, kernels], [1, n * c, height, width], { attributes: { ...conv, group: n * c } });
  const sum = sumFirstAxis(builder, builder.reshape(products, [n, c, height, width]));
  return firstTaps(builder, sum, kernel, shape);
}

/** The convolution that a depthwise weight's gradient is, and the size of its result: at least K x K, of which the first K x K are it. */
export function depthwiseProducts(
  attributes: ConvAttributes,
  [h, w]: readonly [number, number],
  [oh, ow]: readonly [number, number],
): { readonly conv: Record<string, AttributeValue>; readonly height: number; readonly width: number } {
  const { kernel, stride } = attributes;
  const [before, after] = paddingOf(attributes);
  const read = (out: number): number => (out - 1) * stride + 1;
  // Zeros behind the last pixel only as far as they were read.
  const behind = (size: number, out: number): number => Math.max(0, Math.min(after, read(out) + kernel - 1 - before - size));
  const [below, right] = [behind(h, oh), behind(w, ow)];
  return {
    conv: { kernel_shape: [oh, ow], pads: [before, before, below, right], dilations: [stride, stride] },
    height: h + before + below - read(oh) + 1,
    width: w + before + right - read(ow) + 1,
  };
}

/** The first K x K of [C, height, width], as [C,1,K,K]. */
export function firstTaps(builder: OnnxBuilder, sums: Emitted, kernel: number, shape: readonly number[]): Emitted {
  const [c, height, width] = sums.shape as [number, number, number];
  if (height === kernel && width === kernel) return builder.reshape(sums, shape);
  const [starts, ends, axes] = [builder.ints(0, 0), builder.ints(kernel, kernel), builder.ints(1, 2)];
  return builder.reshape(builder.node("Slice", [sums, starts, ends, axes], [c, kernel, kernel]), shape);
}

const onePixel: ConvAttributes = { kernel: 1, stride: 1, padding: 0 };

function conv2dInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  if (attributes.stride > 1) return transposedConvolution(builder, dy, weight, attributes, shape, 1);
  // The same convolution with the taps turned round and input and output channels exchanged.
  const exchanged = builder.transpose(weight, [1, 0, 2, 3]);
  return conv2d(builder, dy, turnTaps(builder, exchanged), null, turnedGeometry(attributes), shape);
}

function transposedConvolution(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
  group: number,
): Emitted {
  const { kernel, stride } = attributes;
  const [before, after] = paddingOf(attributes);
  const [, , height, width] = shape as Map4;
  const [, , outHeight, outWidth] = dy.shape as Map4;
  // Rows that the strided convolution never read get output_padding.
  const restOf = (size: number, out: number): number => size - ((out - 1) * stride + kernel - before - after);
  return builder.node("ConvTranspose", [builder.plain(dy), weight], shape, {
    attributes: {
      group,
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [before, before, after, after],
      output_padding: [restOf(height, outHeight), restOf(width, outWidth)],
    },
  });
}

/** im2col by slices, one a tap, and a product with the output gradient: standard operators have nothing faster. */
function conv2dWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  const { kernel, stride } = attributes;
  const [before, after] = paddingOf(attributes);
  const [n, c, height, width] = x.shape as Map4;
  const [, o, outHeight, outWidth] = dy.shape as Map4;
  const pixels = outHeight * outWidth;
  const padded = [n, c, height + before + after, width + before + after] as const;
  const source =
    before === 0 && after === 0
      ? builder.plain(x)
      : builder.node("Pad", [builder.plain(x), builder.ints(0, 0, before, before, 0, 0, after, after)], padded);
  const taps: Emitted[] = [];
  for (let row = 0; row < kernel; row++) {
    for (let column = 0; column < kernel; column++) {
      const starts = builder.ints(row, column);
      const ends = builder.ints(row + (outHeight - 1) * stride + 1, column + (outWidth - 1) * stride + 1);
      const tap = builder.node(
        "Slice",
        [source, starts, ends, builder.ints(2, 3), builder.ints(stride, stride)],
        [n, c, outHeight, outWidth],
      );
      taps.push(builder.reshape(tap, [n, c, pixels]));
    }
  }
  const columns =
    taps.length === 1 ? (taps[0] as Emitted) : builder.node("Concat", taps, [n, taps.length * c, pixels], { attributes: { axis: 1 } });
  const d = builder.reshape(builder.plain(dy), [n, o, pixels]);
  const products = builder.node("FusedMatMul", [d, columns], [n, o, taps.length * c], { domain: MS_DOMAIN, attributes: { transB: 1 } });
  const sum = builder.reshape(sumFirstAxis(builder, products), [o, taps.length, c]);
  return builder.reshape(builder.transpose(sum, [0, 2, 1]), shape);
}

function maxPool(builder: OnnxBuilder, x: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  return builder.node("MaxPool", [builder.plain(x)], shape, { attributes: convAttributes(attributes) });
}

function maxPool2(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  return builder.node("MaxPool", [builder.plain(x)], [n, c, h / 2, w / 2], { attributes: { kernel_shape: [2, 2], strides: [2, 2] } });
}

function upsample2(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  return builder.node("Resize", [builder.plain(x), null, builder.floats(Float32Array.of(1, 1, 2, 2))], [n, c, h * 2, w * 2], {
    attributes: { mode: "nearest", nearest_mode: "floor", coordinate_transformation_mode: "asymmetric" },
  });
}

/** 1 where a map reaches the maximum of its tile (never more), by a step function of the difference. */
function maxPool2Grad(builder: OnnxBuilder, x: Emitted, pooled: Emitted, d: Emitted): Emitted {
  const difference = builder.node("Sub", [builder.plain(x), upsample2(builder, pooled)], x.shape);
  const mask = builder.node("HardSigmoid", [difference], x.shape, { attributes: { alpha: { float: STEP_ALPHA }, beta: { float: 1 } } });
  const [n, c, h, w] = x.shape as Map4;
  const ones = builder.floats(new Float32Array(c * 4).fill(1), [c, 1, 2, 2]);
  const maxima = builder.node("Conv", [mask, ones], [n, c, h / 2, w / 2], {
    attributes: { group: c, kernel_shape: [2, 2], strides: [2, 2] },
  });
  const share = builder.node("Div", [builder.plain(d), maxima], maxima.shape);
  return builder.node("Mul", [mask, upsample2(builder, share)], x.shape);
}

function spatialSum(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c] = x.shape as Map4;
  return builder.node("ReduceSum", [builder.plain(x), builder.ints(2, 3)], [n, c], { attributes: { keepdims: 0 } });
}

function multiply(builder: OnnxBuilder, x: Emitted, y: Emitted): Emitted {
  return builder.node("Mul", [builder.plain(x), builder.plain(y)], x.shape);
}

function affine(builder: OnnxBuilder, x: Emitted, a: Emitted, b: Emitted, options: AffineOptions = {}): Emitted {
  const scaled = builder.node("Mul", [builder.plain(x), perChannel(builder, a)], x.shape);
  const shifted = builder.node("Add", [scaled, perChannel(builder, b)], x.shape);
  const sum = options.addend ? builder.node("Add", [shifted, builder.plain(options.addend)], x.shape) : shifted;
  return activate(builder, sum, options.activation);
}

/** 1 where x > 0, else 0. */
export function positiveMask(builder: OnnxBuilder, x: Emitted): Emitted {
  const attributes = { alpha: { float: STEP_ALPHA }, beta: { float: 0 } };
  return builder.node("HardSigmoid", [x], x.shape, { layout: x.layout, attributes });
}

/** 1 where 0 < y < 6, else 0, for y from 0 to 6. */
function relu6Mask(builder: OnnxBuilder, y: Emitted): Emitted {
  const middle = builder.node("Sub", [y, builder.scalar(3)], y.shape);
  return builder.node("HardSigmoid", [builder.node("Abs", [middle], y.shape)], y.shape, { attributes: insideStep(3) });
}

function spatialSpread(builder: OnnxBuilder, d: Emitted, shape: readonly number[]): Emitted {
  const [n, c] = shape as Map4;
  return builder.node("Expand", [builder.reshape(d, [n, c, 1, 1]), builder.ints(...shape)], shape);
}

/** Standard operators only (and FusedMatMul, which every ONNX Runtime build has): for any device. */
export const portable: Lowering = {
  name: "portable",
  conv2d,
  depthwiseConv2d,
  depthwiseInputGrad,
  depthwiseWeightGrad,
  pointwiseConv2d: (builder, x, weight, bias, activation, shape) => conv2d(builder, x, weight, bias, { ...onePixel, activation }, shape),
  pointwiseInputGrad: (builder, dy, weight, shape) => conv2dInputGrad(builder, dy, weight, onePixel, shape),
  pointwiseWeightGrad: (builder, x, dy, shape) => conv2dWeightGrad(builder, x, dy, onePixel, shape),
  conv2dInputGrad,
  conv2dWeightGrad,
  maxPool,
  maxPoolGrad: (builder, x, pooled, d, attributes) => windowMaximaGrad(builder, x, pooled, d, attributes, "plain"),
  maxPool2,
  maxPool2Grad,
  channelSum: (builder, x) => sumFirstAxis(builder, spatialSum(builder, x)),
  channelDot: (builder, x, y) => sumFirstAxis(builder, spatialSum(builder, multiply(builder, x, y))),
  spatialSum,
  spatialSpread,
  affine,
  multiply,
  gate: (builder, d, y, activation) => {
    if (activation === "none") return d;
    return multiply(builder, d, activation === "relu" ? positiveMask(builder, builder.plain(y)) : relu6Mask(builder, builder.plain(y)));
  },
};
