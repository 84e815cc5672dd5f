import type { Emitted, Map4, OnnxBuilder } from "./builder.ts";
import { gatherRows, rowsInward } from "./rows.ts";

/** [O,C,K,K] to MLAS's OIHWBiBo: blocks of output channels, blocks of input channels, taps, then both within a block. */
export function blockWeight(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c, k] = weight.shape as Map4;
  const b = builder.blockSize;
  return builder.once(`weight ${weight.name}`, () => {
    const inputsLast = k === 1 ? weight : rowsInward(builder, weight, (o * c) / b, k * k);
    return builder.reshape(rowsInward(builder, inputsLast, o / b, c * k * k), weight.shape);
  });
}

/**
 * The same for a convolution the other way: output and input channels exchanged, and the taps with these indices, by default all in the
 * opposite order.
 */
export function blockTurnedWeight(builder: OnnxBuilder, weight: Emitted, chosen?: readonly number[]): Emitted {
  const [o, c, k] = weight.shape as Map4;
  const b = builder.blockSize;
  const [outBlocks, inBlocks, taps] = [o / b, c / b, k * k];
  const squares = outBlocks * inBlocks * taps;
  const exchanged = builder.once(`exchanged ${weight.name}`, () => rowsInward(builder, blockWeight(builder, weight), squares, b));
  const order = chosen ?? Array.from({ length: taps }, (_, tap) => taps - 1 - tap);
  const from = new Int32Array(outBlocks * inBlocks * order.length);
  let at = 0;
  for (let inBlock = 0; inBlock < inBlocks; inBlock++)
    for (let outBlock = 0; outBlock < outBlocks; outBlock++)
      for (const tap of order) from[at++] = (outBlock * inBlocks + inBlock) * taps + tap;
  const turned = gatherRows(builder, exchanged, [1, squares, b * b], from);
  return builder.reshape(turned, chosen ? [c, o, chosen.length, 1] : [c, o, k, k]);
}

/** [O,C,K,K] to OIHWBo: for a first layer that reads plain NCHW pictures (C below the block size), and for depthwise kernels (C = 1). */
export function blockFirstWeight(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c, k] = weight.shape as Map4;
  return builder.reshape(rowsInward(builder, weight, o / builder.blockSize, c * k * k), weight.shape);
}
