import type { Emitted, OnnxBuilder, Map4 } from "./builder.ts";
import { STEP_ALPHA, type ConvAttributes } from "./lowering.ts";

/**
 * Maps as rows of pixels, for what moves whole pixels and is the same in both layouts: [rows, pixels, lanes], where a blocked map has
 * B channels side by side as lanes and a plain one has one.
 */
interface PixelRows {
  readonly value: Emitted;
  readonly rows: number;
  readonly pixels: number;
  readonly lanes: number;
}

function pixelRows(builder: OnnxBuilder, maps: Emitted, layout: Emitted["layout"]): PixelRows {
  const [n, c, h, w] = maps.shape as Map4;
  const lanes = layout === "blocked" ? builder.blockSize : 1;
  const [rows, pixels] = [(n * c) / lanes, h * w];
  const value = layout === "blocked" ? builder.blocked(maps) : builder.plain(maps);
  return { value: builder.reshape(value, [rows, pixels, lanes]), rows, pixels, lanes };
}

export function asMaps(builder: OnnxBuilder, value: Emitted, shape: readonly number[], layout: Emitted["layout"]): Emitted {
  return layout === "blocked" ? builder.asBlocked(value, shape) : builder.reshape(value, shape);
}

/** The pixels with these indices; `fill` where the index is negative. */
export function pick(builder: OnnxBuilder, { value, rows, pixels, lanes }: PixelRows, order: Int32Array, fill: number): Emitted {
  const missing = order.some((index) => index < 0);
  const source = missing
    ? builder.node("Pad", [value, builder.ints(0, 0, 0, 0, 1, 0), builder.scalar(fill)], [rows, pixels + 1, lanes])
    : value;
  const indices = builder.indices(order.map((index) => (index < 0 ? pixels : index)));
  return builder.node("Gather", [source, indices], [rows, order.length, lanes], { attributes: { axis: 1 } });
}

/** Puts `stride - 1` pixels of zeros between neighbours, and as many behind the last as `height` and `width` ask for. */
export function spreadPixels(
  builder: OnnxBuilder,
  maps: Emitted,
  stride: number,
  [height, width]: readonly [number, number],
  layout: Emitted["layout"],
): Emitted {
  const [n, c, h, w] = maps.shape as Map4;
  const order = Int32Array.from({ length: height * width }, (_, k) => {
    const [row, column] = [Math.floor(k / width), k % width];
    const inside = row % stride === 0 && column % stride === 0 && row / stride < h && column / stride < w;
    return inside ? (row / stride) * w + column / stride : -1;
  });
  return asMaps(builder, pick(builder, pixelRows(builder, maps, layout), order, 0), [n, c, height, width], layout);
}

/** Less than every number of a map. */
const LOWEST = -1e30;

/**
 * The gradient of a maximum over windows that may overlap. For each tap of a window there is a map as large as the result that is 1 where
 * the pixel under the tap is the maximum; maxima share the gradient; and each pixel of x collects from the windows that it lies in.
 */
export function windowMaximaGrad(
  builder: OnnxBuilder,
  x: Emitted,
  pooled: Emitted,
  d: Emitted,
  { kernel, stride, padding }: ConvAttributes,
  layout: Emitted["layout"],
): Emitted {
  const [, , h, w] = x.shape as Map4;
  const [, , oh, ow] = pooled.shape as Map4;
  const [taps, windows] = [kernel ** 2, oh * ow];
  const under = Int32Array.from({ length: taps * windows }, (_, k) => {
    const [tap, window] = [Math.floor(k / windows), k % windows];
    const row = Math.floor(window / ow) * stride + Math.floor(tap / kernel) - padding;
    const column = (window % ow) * stride + (tap % kernel) - padding;
    return row < 0 || row >= h || column < 0 || column >= w ? -1 : row * w + column;
  });
  const source = pixelRows(builder, x, layout);
  const { rows, lanes } = source;
  const shape = [rows, taps, windows * lanes];
  const once = (value: Emitted): Emitted => builder.reshape(pixelRows(builder, value, layout).value, [rows, 1, windows * lanes]);
  const candidates = builder.reshape(pick(builder, source, under, LOWEST), shape);
  const difference = builder.node("Sub", [candidates, once(pooled)], shape);
  const mask = builder.node("HardSigmoid", [difference], shape, { attributes: { alpha: { float: STEP_ALPHA }, beta: { float: 1 } } });
  const maxima = builder.node("ReduceSum", [mask, builder.ints(1)], [rows, 1, windows * lanes], { attributes: { keepdims: 1 } });
  const parts = builder.node("Mul", [mask, builder.node("Div", [once(d), maxima], maxima.shape)], shape);
  const collected = { value: builder.reshape(parts, [rows, taps * windows, lanes]), rows, pixels: taps * windows, lanes };
  return asMaps(builder, sumOver(builder, collected, windowsOver(under, h * w)), x.shape, layout);
}

/** For each list the sum of the pixels that it names. Lists of equal length are summed together. */
function sumOver(builder: OnnxBuilder, source: PixelRows, lists: readonly (readonly number[])[]): Emitted {
  const { rows, lanes } = source;
  const order = new Int32Array(lists.length).fill(-1);
  let pixels = 0;
  const sums: Emitted[] = [];
  for (const [length, group] of Map.groupBy(lists.keys(), (pixel) => (lists[pixel] as number[]).length)) {
    if (length === 0) continue;
    const terms = Array.from({ length }, (_, k) =>
      pick(
        builder,
        source,
        Int32Array.from(group, (pixel) => (lists[pixel] as number[])[k] as number),
        0,
      ),
    );
    sums.push(terms.reduce((total, term) => builder.node("Add", [total, term], term.shape)));
    for (const pixel of group) order[pixel] = pixels++;
  }
  const value = builder.node("Concat", sums, [rows, pixels, lanes], { attributes: { axis: 1 } });
  return pick(builder, { value, rows, pixels, lanes }, order, 0);
}

/** For each pixel the places in `under` that name it. */
function windowsOver(under: Int32Array, pixels: number): number[][] {
  const lists = Array.from({ length: pixels }, (): number[] => []);
  under.forEach((pixel, at) => lists[pixel]?.push(at));
  return lists;
}
