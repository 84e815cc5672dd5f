import { NCHWC_DOMAIN, type AttributeValue, type Emitted, type OnnxBuilder } from "./builder.ts";
import { paddingOf, STEP_ALPHA, sumFirstAxis, type AffineOptions, type ConvAttributes, type Lowering } from "./lowering.ts";
import { convAttributes, portable } from "./portable.ts";
import { gatherRows, paddedLast, rowsInward } from "./rows.ts";
import { winogradConv2d, winogradInputGrad, winogradWeightGrad } from "./winograd.ts";

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
  const exchanged = rowsInward(builder, blockWeight(builder, weight), squares, b);
  const order = new Int32Array(squares);
  let at = 0;
  for (let inBlock = 0; inBlock < inBlocks; inBlock++)
    for (let outBlock = 0; outBlock < outBlocks; outBlock++)
      for (let tap = taps - 1; tap >= 0; tap--) order[at++] = (outBlock * inBlocks + inBlock) * taps + tap;
  return builder.reshape(gatherRows(builder, exchanged, [1, squares, b * b], order), [c, o, k, k]);
}

/** [O,C,K,K] to OIHWBo: for a first layer that reads plain NCHW pictures (C below the block size), and for depthwise kernels (C = 1). */
function blockFirstWeight(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c, k] = weight.shape as Map4;
  return builder.reshape(rowsInward(builder, weight, o / builder.blockSize, c * k * k), weight.shape);
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
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const [o, c] = weight.shape as Map4;
  if (tiled(builder, weight.shape, attributes)) return winogradConv2d(builder, x, weight, bias, shape);
  const rest = bias ? [bias] : [];
  if (fits(builder, o, c))
    return emit(builder, "Conv", [builder.blocked(x), blockWeight(builder, weight), ...rest], shape, convAttributes(attributes));
  if (fits(builder, o) && c < builder.blockSize)
    return emit(builder, "Conv", [builder.plain(x), blockFirstWeight(builder, weight), ...rest], shape, convAttributes(attributes));
  return portable.conv2d(builder, x, weight, bias, attributes, shape);
}

function depthwiseConv2d(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const c = channelsOf(x);
  if (!fits(builder, c)) return portable.depthwiseConv2d(builder, x, weight, bias, attributes, shape);
  const inputs = [builder.blocked(x), blockFirstWeight(builder, weight), ...(bias ? [bias] : [])];
  return emit(builder, "Conv", inputs, shape, { ...convAttributes(attributes), group: c });
}

function conv2dInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const [o, c, k] = weight.shape as Map4;
  if (tiled(builder, weight.shape, attributes)) return winogradInputGrad(builder, dy, weight, shape);
  if (!fits(builder, o, c) || attributes.stride !== 1) return portable.conv2dInputGrad(builder, dy, weight, attributes, shape);
  const [before, after] = paddingOf(attributes);
  return emit(
    builder,
    "Conv",
    [builder.blocked(dy), blockTurnedWeight(builder, weight)],
    shape,
    convAttributes({ kernel: k, stride: 1, padding: k - 1 - before, paddingAfter: k - 1 - after }),
  );
}

/** What a product of filters reads again and again should stay in a core's cache of the second level. */
const CACHED_BYTES = 1.25 * 2 ** 20;
/** MLAS computes this many blocks of output channels together. */
const FILTER_SET = 4;

/**
 * Also a convolution, of x by dy, so that MLAS's fastest kernel does it: the sum runs over pictures and pixels, which take the
 * place of the input channels. A block is a row's next B pixels ("lanes"; of several pictures side by side where rows are no
 * multiple of B), so dy in its blocked layout is a filter as it is: [o/B, 1, rows, blocks a row, B pixels, B of o]. Of x it needs, for
 * each row, block and column of the kernel, the channels of the B pixels there, turned so that the pixels lie side by side:
 * [rows, blocks, columns of the kernel, c, B]. Rows of the kernel are the result's rows, and its columns and c the result's columns.
 * Against im2col and a product of matrices, x is copied `kernel` times instead of kernel x kernel, and the product itself takes
 * two thirds of the time. There is a result for each set of pictures (and band of rows, where dy would not stay in the cache): they
 * are summed.
 */
function conv2dWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, attributes: ConvAttributes, shape: readonly number[]): Emitted {
  const { kernel, stride } = attributes;
  const [n, c] = x.shape as Map4;
  const [, o, outHeight, outWidth] = dy.shape as Map4;
  const b = builder.blockSize;
  if (tiled(builder, shape, attributes)) return winogradWeightGrad(builder, x, dy, shape);
  const together = b / greatestDivisor(b, outWidth);
  if (!fits(builder, o) || n % together !== 0) return portable.conv2dWeightGrad(builder, x, dy, attributes, shape);
  const blocks = (together * outWidth) / b;
  const filterBytes = Math.min(o, FILTER_SET * b) * together * outHeight * outWidth * 4;
  const bands = divisors(outHeight).find((count) => filterBytes / count <= CACHED_BYTES) ?? outHeight;
  const bandHeight = outHeight / bands;
  const groups = (n / together) * bands;

  const rows = (bandHeight - 1) * stride + kernel;
  const windows = windowsOf(builder, x, { attributes, together, bands, bandHeight, outWidth });
  const pictures = builder.asBlocked(windows, [1, groups * b, rows, blocks * kernel * c]);
  const products = emit(builder, "Conv", [pictures, filtersOf(builder, dy, together, bands)], [1, groups * o, kernel, kernel * c], {
    kernel_shape: [bandHeight, blocks],
    dilations: [stride, kernel * c],
    group: groups,
  });
  const sum = sumFirstAxis(builder, builder.reshape(products, [groups, o * kernel * kernel * c]));
  const ordered = builder.plain(builder.asBlocked(sum, [1, o, kernel, kernel * c]));
  return builder.reshape(tapsInward(builder, ordered, o, kernel * kernel, c), shape);
}

/** [o, taps, c] to [o, c, taps]; where c is whole blocks, they change places first and the rest is MLAS's, as in `rowsInward`. */
function tapsInward(builder: OnnxBuilder, value: Emitted, o: number, taps: number, c: number): Emitted {
  const b = builder.blockSize;
  if (taps === 1) return value;
  if (!fits(builder, c)) return builder.transpose(builder.reshape(value, [o, taps, c]), [0, 2, 1]);
  const blocks = c / b;
  const order = Int32Array.from({ length: taps * blocks }, (_, k) => (k % taps) * blocks + Math.floor(k / taps));
  const byBlock = gatherRows(builder, value, [o, taps * blocks, b], order);
  return builder.plain(builder.asBlocked(byBlock, [o, c, 1, taps]));
}

interface Windows {
  readonly attributes: ConvAttributes;
  readonly together: number;
  readonly bands: number;
  readonly bandHeight: number;
  readonly outWidth: number;
}

/** What the filters of dy step over in x [N,C,H,W]: [N/together, bands, rows, blocks, columns of the kernel, C, B pixels]. */
function windowsOf(builder: OnnxBuilder, x: Emitted, { attributes, together, bands, bandHeight, outWidth }: Windows): Emitted {
  const { kernel, stride } = attributes;
  const b = builder.blockSize;
  const [before, after] = paddingOf(attributes);
  const padded = paddedLast(builder, x, before, [after, after]);
  const [n, paddedHeight, paddedWidth, c] = padded.shape as Map4;
  const rows = (bandHeight - 1) * stride + kernel;
  const blocks = (together * outWidth) / b;
  const pixels = new Int32Array(bands * rows * blocks * kernel * b);
  let at = 0;
  for (let band = 0; band < bands; band++)
    for (let row = 0; row < rows; row++)
      for (let block = 0; block < blocks; block++)
        for (let tap = 0; tap < kernel; tap++)
          for (let lane = 0; lane < b; lane++) {
            const [picture, column] = [Math.floor((block * b + lane) / outWidth), (block * b + lane) % outWidth];
            pixels[at++] = (picture * paddedHeight + band * bandHeight * stride + row) * paddedWidth + column * stride + tap;
          }
  const sets = n / together;
  const gathered = gatherRows(builder, padded, [sets, together * paddedHeight * paddedWidth, c], pixels);
  return rowsInward(builder, gathered, (sets * pixels.length) / b, c);
}

/** dy [N,O,H,W] as filters of O channels for each `together` pictures and band: [N/together, bands, O/B, H/bands, together, W, B]. */
function filtersOf(builder: OnnxBuilder, dy: Emitted, together: number, bands: number): Emitted {
  const [n, o, height, width] = dy.shape as Map4;
  const b = builder.blockSize;
  const [outBlocks, bandHeight, sets] = [o / b, height / bands, n / together];
  const shape = [sets * bands * o, b, bandHeight, (together * width) / b];
  const maps = builder.blocked(dy);
  if (together === 1 && bands === 1) return builder.reshape(maps, shape);
  const rows = new Int32Array(n * outBlocks * height);
  let at = 0;
  for (let set = 0; set < sets; set++)
    for (let band = 0; band < bands; band++)
      for (let block = 0; block < outBlocks; block++)
        for (let row = band * bandHeight; row < (band + 1) * bandHeight; row++)
          for (let picture = set * together; picture < (set + 1) * together; picture++)
            rows[at++] = (picture * outBlocks + block) * height + row;
  return builder.reshape(gatherRows(builder, maps, [1, rows.length, width * b], rows), shape);
}

function divisors(count: number): number[] {
  return Array.from({ length: count }, (_, k) => k + 1).filter((k) => count % k === 0);
}

function greatestDivisor(a: number, b: number): number {
  return divisors(a).findLast((k) => b % k === 0) as number;
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
  if (!fits(builder, c)) return portable.spatialSum(builder, x);
  const b = builder.blockSize;
  const blocks = builder.reshape(builder.blocked(x), [(n * c) / b, h * w, b]);
  const sum = builder.node("ReduceSum", [blocks, builder.ints(1)], [(n * c) / b, b], { attributes: { keepdims: 0 } });
  return builder.reshape(sum, [n, c]);
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
  depthwiseConv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  maxPool2,
  maxPool2Grad,
  channelSum: (builder, x) => sumFirstAxis(builder, spatialSum(builder, x)),
  channelDot,
  spatialSum,
  spatialSpread,
  affine,
  multiply,
  positiveMask,
};
