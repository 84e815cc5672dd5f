import { NCHWC_DOMAIN, type Emitted, type OnnxBuilder, type Map4 } from "./builder.ts";

/** Rows of [batch, rows, width] in another order, some of them repeated: [batch, order.length, width]. */
export function gatherRows(
  builder: OnnxBuilder,
  value: Emitted,
  [batch, rows, width]: readonly [number, number, number],
  order: Int32Array,
): Emitted {
  const from = builder.reshape(value, [batch, rows, width]);
  return builder.node("Gather", [from, builder.indices(order)], [batch, order.length, width], { attributes: { axis: 1 } });
}

/** Maps [N,C,H,W] with zeros around them, pixels last: `before` above and to the left, the pair below and to the right. */
export function paddedLast(builder: OnnxBuilder, maps: Emitted, before: number, [below, right]: readonly [number, number]): Emitted {
  const last = builder.channelsLast(maps);
  if (before === 0 && below === 0 && right === 0) return last;
  const [n, height, width, c] = last.shape as Map4;
  const zeros = builder.ints(0, before, before, 0, 0, below, right, 0);
  return builder.node("Pad", [last, zeros], [n, before + height + below, before + width + right, c]);
}

/**
 * Moves the rows of [batch, block, columns] behind the columns: [batch, columns, block]. To MLAS these are pictures of one block of
 * channels to be reordered, which takes a tenth of the time of ONNX Runtime's Transpose.
 */
export function rowsInward(builder: OnnxBuilder, value: Emitted, batch: number, columns: number): Emitted {
  const b = builder.blockSize;
  const pictures = builder.reshape(value, [batch, b, 1, columns]);
  return builder.node("ReorderInput", [pictures], [batch, 1, 1, columns, b], { domain: NCHWC_DOMAIN });
}
