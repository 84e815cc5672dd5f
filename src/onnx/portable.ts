import { MS_DOMAIN, type AttributeValue, type Emitted, type OnnxBuilder } from "./builder.ts";
import { paddingOf, STEP_ALPHA, sumFirstAxis, type AffineOptions, type ConvAttributes, type Lowering } from "./lowering.ts";

type Map4 = [number, number, number, number];

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
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  return convolve(builder, x, weight, bias, shape, convAttributes(attributes));
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
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  return convolve(builder, x, weight, bias, shape, { ...convAttributes(attributes), group: shape[1] as number });
}

function conv2dInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const { kernel, stride } = attributes;
  const [before, after] = paddingOf(attributes);
  const [, , height, width] = shape as Map4;
  const [, , outHeight, outWidth] = dy.shape as Map4;
  if (stride === 1) {
    // The same convolution with the taps turned round and input and output channels exchanged.
    const [o, c] = weight.shape as Map4;
    const taps = Array.from({ length: kernel * kernel }, (_, tap) => kernel * kernel - 1 - tap);
    const exchanged = builder.reshape(builder.transpose(weight, [1, 0, 2, 3]), [c, o, kernel * kernel]);
    const turned = builder.node("Gather", [exchanged, builder.ints(...taps)], [c, o, kernel * kernel], { attributes: { axis: 2 } });
    return conv2d(
      builder,
      dy,
      builder.reshape(turned, [c, o, kernel, kernel]),
      null,
      { kernel, stride: 1, padding: kernel - 1 - before, paddingAfter: kernel - 1 - after },
      shape,
    );
  }
  // Rows that the strided convolution never read get output_padding.
  const restOf = (size: number, out: number): number => size - ((out - 1) * stride + kernel - before - after);
  return builder.node("ConvTranspose", [builder.plain(dy), weight], shape, {
    attributes: {
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
  return options.relu ? builder.node("Relu", [sum], x.shape) : sum;
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
  conv2dInputGrad,
  conv2dWeightGrad,
  maxPool2,
  maxPool2Grad,
  channelSum: (builder, x) => sumFirstAxis(builder, spatialSum(builder, x)),
  channelDot: (builder, x, y) => sumFirstAxis(builder, spatialSum(builder, multiply(builder, x, y))),
  spatialSum,
  spatialSpread,
  affine,
  multiply,
  positiveMask: (builder, x) =>
    builder.node("HardSigmoid", [builder.plain(x)], x.shape, { attributes: { alpha: { float: STEP_ALPHA }, beta: { float: 0 } } }),
};
