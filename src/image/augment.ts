import type { Size } from "./preprocess.ts";

/** Where a picture is cut and whether it is mirrored. */
export interface CropFlip {
  readonly top: number;
  readonly left: number;
  readonly flip: boolean;
}

/** Copies a window of an RGB picture (uint8 H*W*3) into `target` at `offset`, mirrored left to right on request. */
export function cropFlipInto(
  target: Uint8Array,
  offset: number,
  row: Uint8Array,
  size: Size,
  crop: Size,
  { top, left, flip }: CropFlip,
): void {
  for (let y = 0; y < crop.height; y++) {
    const from = ((top + y) * size.width + left) * 3;
    const to = offset + y * crop.width * 3;
    if (!flip) {
      target.set(row.subarray(from, from + crop.width * 3), to);
      continue;
    }
    for (let x = 0; x < crop.width; x++) {
      const source = from + (crop.width - 1 - x) * 3;
      const at = to + x * 3;
      target[at] = row[source] as number;
      target[at + 1] = row[source + 1] as number;
      target[at + 2] = row[source + 2] as number;
    }
  }
}
