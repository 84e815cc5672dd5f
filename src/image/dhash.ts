/** The hash compares each pixel of a 9x8 gray thumbnail with its right neighbour. */
export const dhashWidth = 9;
export const dhashHeight = 8;

/**
 * Difference hash (Krawetz, "Kind of Like That", 2013): bit = 1 where the brightness falls from left to right. Survives
 * scaling, recompression and small changes of colour. `gray` is uint8 [8,9]; returns 16 hex digits, first row first.
 */
export function dhashFromGray(gray: Uint8Array): string {
  let text = "";
  for (let y = 0; y < dhashHeight; y++) {
    let bits = 0;
    for (let x = 0; x < dhashWidth - 1; x++) {
      const i = y * dhashWidth + x;
      bits = (bits << 1) | ((gray[i] ?? 0) > (gray[i + 1] ?? 0) ? 1 : 0);
    }
    text += bits.toString(16).padStart(2, "0");
  }
  return text;
}
