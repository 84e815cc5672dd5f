import { activated, cachedParts, emit, fits, greatestDivisor, whole } from "./blocks.ts";
import { blockTurnedWeight, blockWeight } from "./blocked-weights.ts";
import type { Emitted, Map4, OnnxBuilder } from "./builder.ts";
import { sumFirstAxis, type Activation } from "./lowering.ts";
import { portable } from "./portable.ts";
import { gatherRows, rowsInward } from "./rows.ts";

/** MLAS reorders plain maps whose channels are a multiple of this, and puts zeros up to the next whole block. */
const REORDERED_CHANNELS = 4;

/** Whether the blocked way is open: channels in whole blocks, or enough of them that zeros up to the next block cost little. */
function opens(builder: OnnxBuilder, ...channels: number[]): boolean {
  return channels.every((count) => fits(builder, count) || (count > builder.blockSize && count % REORDERED_CHANNELS === 0));
}

/** A weight [O,C,1,1] or bias [O] with zeros for the channels that fill blocks up. */
function wholeWeight(builder: OnnxBuilder, weight: Emitted): Emitted {
  const shape = weight.shape.map((size, axis) => (axis < 2 ? whole(builder, size) : size));
  const missing = shape.map((size, axis) => size - (weight.shape[axis] as number));
  if (missing.every((count) => count === 0)) return weight;
  return builder.once(`whole ${weight.name}`, () =>
    builder.node("Pad", [weight, builder.ints(...missing.map(() => 0), ...missing)], shape),
  );
}

export function pointwiseConv2d(
  builder: OnnxBuilder,
  x: Emitted,
  weight: Emitted,
  bias: Emitted | null,
  activation: Activation,
  shape: readonly number[],
): Emitted {
  const [o, c] = weight.shape as Map4;
  if (!opens(builder, o, c)) return portable.pointwiseConv2d(builder, x, weight, bias, activation, shape);
  const filters = blockWeight(builder, wholeWeight(builder, weight));
  const inputs = [builder.blocked(x), filters, ...(bias ? [wholeWeight(builder, bias)] : [])];
  return emit(builder, "Conv", inputs, shape, { kernel_shape: [1, 1], ...activated(activation) });
}

export function pointwiseInputGrad(builder: OnnxBuilder, dy: Emitted, weight: Emitted, shape: readonly number[]): Emitted {
  const [o, c] = weight.shape as Map4;
  if (!opens(builder, o, c)) return portable.pointwiseInputGrad(builder, dy, weight, shape);
  const filters = blockTurnedWeight(builder, wholeWeight(builder, weight));
  return emit(builder, "Conv", [builder.blocked(dy), filters], shape, { kernel_shape: [1, 1] });
}

/**
 * A convolution of x by dy, or of dy by x, as in `blockedWeightGrad`: pixels take the place of the input channels. Because they have no
 * neighbours here, a block is any B pixels of a picture that follow each other ("lanes"; where a picture is not a multiple of B, of several
 * pictures one behind the other), so that most maps need not be moved. The filters are the maps with more channels, W, as they lie:
 * [W/B, B pixels after B pixels, B of W]. The picture that they step over are the others, V, with the B channels and B pixels of each block
 * turned: a row for each block of channels, whose columns are [pixels/B, B of V].
 */
export function pointwiseWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, shape: readonly number[]): Emitted {
  const b = builder.blockSize;
  const [o, c] = shape as Map4;
  const [n, , h, w] = x.shape as Map4;
  const pixels = h * w;
  const together = b / greatestDivisor(b, pixels);
  if (!opens(builder, o, c) || n % together !== 0) return portable.pointwiseWeightGrad(builder, x, dy, shape);
  const [wide, narrow] = o >= c ? [dy, x] : [x, dy];
  const [wides, narrows] = [whole(builder, Math.max(o, c)), whole(builder, Math.min(o, c))];
  const blocks = (together * pixels) / b;
  const parts = cachedParts(builder, wides, together * pixels, blocks);
  const [groups, length] = [(n / together) * parts, blocks / parts];
  const lanes = rowsInward(builder, runsOfPixels(builder, narrow, together, parts), (groups * narrows * length) / b, b);
  const pictures = builder.asBlocked(lanes, [1, groups * b, narrows / b, length * b]);
  const filters = builder.reshape(runsOfPixels(builder, wide, together, parts), [groups * wides, b, 1, length]);
  const products = emit(builder, "Conv", [pictures, filters], [1, groups * wides, narrows / b, b], {
    kernel_shape: [1, length],
    dilations: [1, b],
    group: groups,
  });
  const sum = sumFirstAxis(builder, builder.reshape(products, [groups, wides * narrows]));
  const byWide = builder.reshape(builder.plain(builder.asBlocked(sum, [1, wides, 1, narrows])), [wides, narrows]);
  return builder.reshape(firstWeights(builder, wide === dy ? byWide : builder.transpose(byWide, [1, 0]), o, c), shape);
}

/** Whole blocks of maps for each `together` pictures and part of their pixels: [N/together, parts, C/B, pixels, B]. */
function runsOfPixels(builder: OnnxBuilder, maps: Emitted, together: number, parts: number): Emitted {
  const source = builder.blocked(maps);
  const [n, c, h, w] = source.shape as Map4;
  const b = builder.blockSize;
  if (together === 1 && parts === 1) return source;
  const run = greatestDivisor(h * w, (together * h * w) / parts);
  const [runs, channelBlocks] = [(h * w) / run, whole(builder, c) / b];
  const perPart = (together * runs) / parts;
  const order = new Int32Array(n * channelBlocks * runs);
  let at = 0;
  for (let set = 0; set < n / together; set++)
    for (let part = 0; part < parts; part++)
      for (let block = 0; block < channelBlocks; block++)
        for (let k = part * perPart; k < (part + 1) * perPart; k++) {
          const picture = set * together + Math.floor(k / runs);
          order[at++] = (picture * channelBlocks + block) * runs + (k % runs);
        }
  return gatherRows(builder, source, [1, order.length, run * b], order);
}

function firstWeights(builder: OnnxBuilder, weights: Emitted, o: number, c: number): Emitted {
  const [outs, ins] = weights.shape;
  if (outs === o && ins === c) return weights;
  return builder.node("Slice", [weights, builder.ints(0, 0), builder.ints(o, c), builder.ints(0, 1)], [o, c]);
}
