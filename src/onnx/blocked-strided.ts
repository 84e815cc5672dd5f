import { blockTurnedWeight } from "./blocked-weights.ts";
import { emit } from "./blocks.ts";
import type { Emitted, Map4, OnnxBuilder } from "./builder.ts";
import { paddingOf, type ConvAttributes } from "./lowering.ts";
import { asMaps, pick } from "./pixels.ts";

/** Along one axis: the pixels of x that lie `at` behind a multiple of the stride. They meet the same taps of the kernel. */
interface Phase {
  readonly at: number;
  readonly size: number;
  /** In the order of the pixels of dy that they come from. */
  readonly taps: readonly number[];
  /** Zeros before and after dy for the convolution by these taps. */
  readonly pads: readonly [before: number, after: number];
}

/** The phases that meet taps, of an axis of `size` pixels from which the convolution made `out`. */
function phasesOf(attributes: ConvAttributes, size: number, out: number): Phase[] {
  const { kernel, stride } = attributes;
  const [padding] = paddingOf(attributes);
  return Array.from({ length: stride }, (_, at) => {
    // Pixel q * stride + at meets tap k at dy's pixel q + (at + padding - k) / stride.
    const taps = Array.from({ length: kernel }, (_, k) => kernel - 1 - k).filter((tap) => (at + padding - tap) % stride === 0);
    const count = Math.ceil((size - at) / stride);
    const first = (at + padding - (taps[0] ?? 0)) / stride;
    return { at, size: count, taps, pads: [-first, first + count + taps.length - 1 - out] as const };
  }).filter(({ taps }) => taps.length > 0);
}

/**
 * The input gradient of a convolution with a stride, channels in whole blocks: a convolution of dy without a stride for each pair of phases,
 * so that no product is with a zero. Pixels that meet no taps are zero. Undefined where dy would have to be cut.
 */
export function stridedInputGrad(
  builder: OnnxBuilder,
  dy: Emitted,
  weight: Emitted,
  attributes: ConvAttributes,
  shape: readonly number[],
): Emitted | undefined {
  const [n, c, h, w] = shape as Map4;
  const [, o, outHeight, outWidth] = dy.shape as Map4;
  const [down, across] = [phasesOf(attributes, h, outHeight), phasesOf(attributes, w, outWidth)];
  if ([...down, ...across].some(({ pads }) => pads.some((zeros) => zeros < 0))) return undefined;
  const [rows, lanes] = [(n * c) / builder.blockSize, builder.blockSize];
  const { kernel, stride } = attributes;
  const order = new Int32Array(h * w).fill(-1);
  let pixels = 0;
  const parts = down.flatMap((row) =>
    across.map((column) => {
      for (let y = 0; y < row.size; y++)
        for (let x = 0; x < column.size; x++) order[(y * stride + row.at) * w + x * stride + column.at] = pixels++;
      const taps = row.taps.flatMap((y) => column.taps.map((x) => y * kernel + x));
      const filters = builder.reshape(blockTurnedWeight(builder, weight, taps), [c, o, row.taps.length, column.taps.length]);
      const part = emit(builder, "Conv", [builder.blocked(dy), filters], [n, c, row.size, column.size], {
        kernel_shape: [row.taps.length, column.taps.length],
        pads: [row.pads[0], column.pads[0], row.pads[1], column.pads[1]],
      });
      return builder.reshape(part, [rows, row.size * column.size, lanes]);
    }),
  );
  const value =
    parts.length === 1 ? (parts[0] as Emitted) : builder.node("Concat", parts, [rows, pixels, lanes], { attributes: { axis: 1 } });
  return asMaps(builder, pick(builder, { value, rows, pixels, lanes }, order, 0), [n, c, h, w], "blocked");
}
