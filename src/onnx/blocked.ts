import { NCHWC_DOMAIN, type AttributeValue, type Emitted, type OnnxBuilder } from "./builder.ts";
import { STEP_ALPHA, sumFirstAxis, type AffineOptions, type ConvAttributes, type Lowering } from "./lowering.ts";
import { portable } from "./portable.ts";

type Map4 = [number, number, number, number];

/** The blocked layout holds whole blocks only; other channel counts take the portable way. */
function fits(builder: OnnxBuilder, ...channels: number[]): boolean {
  return channels.every((count) => count % builder.blockSize === 0);
}

function channelsOf(x: Emitted): number {
  return x.shape[1] as number;
}

function emit(
  builder: OnnxBuilder,
  op: string,
  inputs: readonly Emitted[],
  shape: readonly number[],
  attributes: Record<string, AttributeValue>,
): Emitted {
  return builder.node(op, inputs, shape, { domain: NCHWC_DOMAIN, layout: "blocked", attributes });
}

/**
 * Moves the rows of [batch, block, columns] behind the columns: [batch, columns, block]. To MLAS these are pictures of one block of
 * channels to be reordered, which takes a tenth of the time of ONNX Runtime's Transpose.
 */
function rowsInward(builder: OnnxBuilder, value: Emitted, batch: number, columns: number): Emitted {
  const b = builder.blockSize;
  const pictures = builder.reshape(value, [batch, b, 1, columns]);
  return builder.node("ReorderInput", [pictures], [batch, 1, 1, columns, b], { domain: NCHWC_DOMAIN });
}

/** [O,C,K,K] to MLAS's OIHWBiBo: blocks of output channels, blocks of input channels, taps, then both within a block. */
function blockWeight(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c, k] = weight.shape as Map4;
  const b = builder.blockSize;
  return builder.once(`weight ${weight.name}`, () => {
    const inputsLast = k === 1 ? weight : rowsInward(builder, weight, (o * c) / b, k * k);
    return builder.reshape(rowsInward(builder, inputsLast, o / b, c * k * k), weight.shape);
  });
}

/** The same for a convolution the other way: output and input channels exchanged, taps reversed. */
function blockTurnedWeight(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c, k] = weight.shape as Map4;
  const b = builder.blockSize;
  const [outBlocks, inBlocks, taps] = [o / b, c / b, k * k];
  const squares = outBlocks * inBlocks * taps;
  const exchanged = builder.reshape(rowsInward(builder, blockWeight(builder, weight), squares, b), [squares, b * b]);
  const order = new Int32Array(squares);
  let at = 0;
  for (let inBlock = 0; inBlock < inBlocks; inBlock++)
    for (let outBlock = 0; outBlock < outBlocks; outBlock++)
      for (let tap = taps - 1; tap >= 0; tap--) order[at++] = (outBlock * inBlocks + inBlock) * taps + tap;
  return builder.reshape(builder.node("Gather", [exchanged, builder.indices(order)], [squares, b * b]), [c, o, k, k]);
}

/** [O,C,K,K] with C below the block size to OIHWBo, for a first layer that reads plain NCHW pictures. */
function blockFirstWeight(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c, k] = weight.shape as Map4;
  return builder.reshape(rowsInward(builder, weight, o / builder.blockSize, c * k * k), weight.shape);
}

function convAttributes({ kernel, stride, padding }: ConvAttributes): Record<string, AttributeValue> {
  return { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [padding, padding, padding, padding] };
}

function conv2d(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const [o, c] = weight.shape as Map4;
  const rest = bias ? [bias] : [];
  if (fits(builder, o, c))
    return emit(builder, "Conv", [builder.blocked(x), blockWeight(builder, weight), ...rest], shape, convAttributes(attributes));
  if (fits(builder, o) && c < builder.blockSize)
    return emit(builder, "Conv", [builder.plain(x), blockFirstWeight(builder, weight), ...rest], shape, convAttributes(attributes));
  return portable.conv2d(builder, x, weight, bias, attributes, shape);
}

function conv2dInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const [o, c, k] = weight.shape as Map4;
  if (!fits(builder, o, c) || attributes.stride !== 1) return portable.conv2dInputGrad(builder, dy, weight, attributes, shape);
  const padding = k - 1 - attributes.padding;
  return emit(
    builder,
    "Conv",
    [builder.blocked(dy), blockTurnedWeight(builder, weight)],
    shape,
    convAttributes({ kernel: k, stride: 1, padding }),
  );
}

/**
 * im2col of the channels-last copy (one Gather whose rows are C floats; rows of a block would be B floats and copy four
 * times slower), then one product a picture, or one for the whole batch where maps are small.
 */
function conv2dWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  const { kernel, stride, padding } = attributes;
  const [n, c, height, width] = x.shape as Map4;
  const [, o, outHeight, outWidth] = dy.shape as Map4;
  if (!fits(builder, c, o)) return portable.conv2dWeightGrad(builder, x, dy, attributes, shape);
  const [paddedHeight, paddedWidth] = [height + 2 * padding, width + 2 * padding];
  const pixels = outHeight * outWidth;
  const taps = kernel * kernel;
  const last = builder.channelsLast(x);
  const padded =
    padding === 0
      ? last
      : builder.node("Pad", [last, builder.ints(0, padding, padding, 0, 0, padding, padding, 0)], [n, paddedHeight, paddedWidth, c]);
  const rows = new Int32Array(pixels * taps);
  let at = 0;
  for (let row = 0; row < outHeight; row++)
    for (let column = 0; column < outWidth; column++)
      for (let tap = 0; tap < taps; tap++)
        rows[at++] = (row * stride + Math.floor(tap / kernel)) * paddedWidth + column * stride + (tap % kernel);
  const columns = builder.node(
    "Gather",
    [builder.reshape(padded, [n, paddedHeight * paddedWidth, c]), builder.indices(rows)],
    [n, pixels * taps, c],
    {
      attributes: { axis: 1 },
    },
  );
  const d = builder.reshape(builder.plain(dy), [n, o, pixels]);
  let sum: Emitted;
  if (pixels >= 1024) {
    sum = sumFirstAxis(builder, builder.node("MatMul", [d, builder.reshape(columns, [n, pixels, taps * c])], [n, o, taps * c]));
  } else {
    const dRows = builder.reshape(builder.transpose(d, [1, 0, 2]), [o, n * pixels]);
    sum = builder.node("MatMul", [dRows, builder.reshape(columns, [n * pixels, taps * c])], [o, taps * c]);
  }
  return builder.reshape(builder.transpose(builder.reshape(sum, [o, taps, c]), [0, 2, 1]), shape);
}

function maxPool2(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  if (!fits(builder, c)) return portable.maxPool2(builder, x);
  return emit(builder, "MaxPool", [builder.blocked(x)], [n, c, h / 2, w / 2], { kernel_shape: [2, 2], strides: [2, 2] });
}

function upsample2(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  return emit(builder, "Upsample", [builder.blocked(x)], [n, c, h * 2, w * 2], { scales: [1, 1, 2, 2] });
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

/** As in the portable lowering, but the difference and its step function are one depthwise convolution. */
function maxPool2Grad(builder: OnnxBuilder, x: Emitted, pooled: Emitted, d: Emitted): Emitted {
  const c = channelsOf(x);
  if (!fits(builder, c)) return portable.maxPool2Grad(builder, x, pooled, d);
  const zero = vector(builder, c, 0);
  const negative = depthwise(builder, pooled, vector(builder, c, -1), zero, undefined, {});
  const mask = depthwise(builder, x, vector(builder, c, 1), zero, upsample2(builder, negative), {
    activation: "HardSigmoid",
    activation_params: { floats: [STEP_ALPHA, 1] },
  });
  return multiply(builder, mask, upsample2(builder, d));
}

function spatialSum(builder: OnnxBuilder, x: Emitted): Emitted {
  const [n, c, h, w] = x.shape as Map4;
  if (!fits(builder, c)) return portable.spatialSum(builder, x);
  const b = builder.blockSize;
  const blocks = builder.reshape(builder.blocked(x), [(n * c) / b, h * w, b]);
  const sum = builder.node("ReduceSum", [blocks, builder.ints(1)], [(n * c) / b, b], { attributes: { keepdims: 0 } });
  return builder.reshape(sum, [n, c]);
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
  return depthwise(builder, x, a, b, options.addend, options.relu ? { activation: "Relu" } : {});
}

function multiply(builder: OnnxBuilder, x: Emitted, y: Emitted): Emitted {
  if (!fits(builder, channelsOf(x))) return portable.multiply(builder, x, y);
  return builder.node("Mul", [builder.blocked(x), builder.blocked(y)], x.shape, { layout: "blocked" });
}

function positiveMask(builder: OnnxBuilder, x: Emitted): Emitted {
  if (!fits(builder, channelsOf(x))) return portable.positiveMask(builder, x);
  return builder.node("HardSigmoid", [builder.blocked(x)], x.shape, {
    layout: "blocked",
    attributes: { alpha: { float: STEP_ALPHA }, beta: { float: 0 } },
  });
}

/**
 * MLAS's blocked operators (the layout that ONNX Runtime itself converts inference graphs to), with weights that change
 * at run time. Shapes that they cannot hold take the portable way, with reorders between.
 */
export const blocked: Lowering = {
  name: "blocked",
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  maxPool2,
  maxPool2Grad,
  channelSum: (builder, x) => sumFirstAxis(builder, spatialSum(builder, x)),
  spatialSum,
  spatialSpread,
  affine,
  multiply,
  positiveMask,
};
