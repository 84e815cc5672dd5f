import { cachedParts, emit, fits, greatestDivisor } from "./blocks.ts";
import type { Emitted, OnnxBuilder, Map4 } from "./builder.ts";
import { paddingOf, sumFirstAxis, type ConvAttributes } from "./lowering.ts";
import { portable } from "./portable.ts";
import { gatherRows, paddedLast, rowsInward } from "./rows.ts";

/**
 * Also a convolution, of x by dy, so that MLAS's fastest kernel does it: the sum runs over pictures and pixels, which take the
 * place of the input channels. A block is a row's next B pixels ("lanes"; of several pictures side by side where rows are not a
 * multiple of B), so dy in its blocked layout is a filter as it is: [o/B, 1, rows, blocks a row, B pixels, B of o]. Of x it needs, for
 * each row, block and column of the kernel, the channels of the B pixels there, turned so that the pixels lie side by side:
 * [rows, blocks, columns of the kernel, c, B]. Rows of the kernel are the result's rows, and its columns and c the result's columns.
 * Against im2col and a product of matrices, x is copied `kernel` times instead of kernel x kernel, and the product itself takes
 * two thirds of the time. There is a result for each set of pictures (and band of rows, where dy would not stay in the cache): they
 * are summed.
 */
export function blockedWeightGrad(
  builder: OnnxBuilder,
  x: Emitted,
  dy: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted {
  const { kernel, stride } = attributes;
  const [n, c] = x.shape as Map4;
  const [, o, outHeight, outWidth] = dy.shape as Map4;
  const b = builder.blockSize;
  const together = b / greatestDivisor(b, outWidth);
  if (!fits(builder, o) || n % together !== 0) return portable.conv2dWeightGrad(builder, x, dy, attributes, shape);
  const blocks = (together * outWidth) / b;
  const bands = cachedParts(builder, o, together * outHeight * outWidth, outHeight);
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
