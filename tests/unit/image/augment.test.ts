import { expect, test } from "vitest";
import { cropFlipInto } from "../../../src/image/augment.ts";

const size = { width: 6, height: 5 };
/** Red counts columns, green rows, blue is constant. */
const row = Uint8Array.from({ length: 90 }, (_, k) => [(Math.floor(k / 3) % 6) * 10, Math.floor(k / 18) * 20, 7][k % 3] as number);

function cut(window: { top: number; left: number; flip: boolean }): number[][] {
  const target = new Uint8Array(2 + 2 * 2 * 3).fill(255);
  cropFlipInto(target, 2, row, size, { width: 2, height: 2 }, window);
  expect([target[0], target[1]]).toEqual([255, 255]);
  return [0, 1, 2, 3].map((pixel) => [...target.subarray(2 + pixel * 3, 5 + pixel * 3)]);
}

test("a window is copied, and mirrored on request", () => {
  const plain = cut({ top: 1, left: 3, flip: false });
  expect(plain).toEqual([
    [30, 20, 7],
    [40, 20, 7],
    [30, 40, 7],
    [40, 40, 7],
  ]);
  expect(cut({ top: 1, left: 3, flip: true })).toEqual([plain[1], plain[0], plain[3], plain[2]]);
});
