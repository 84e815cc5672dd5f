import { expect, test } from "vitest";
import { addNoise, blend, colourMap, createResampler, eraseWindow, exchangeWindow, meanBrightness } from "../../../src/image/augment.ts";

const size = { width: 6, height: 5 };
/** Red counts columns, green rows, blue is constant. */
const picture = Uint8Array.from({ length: 90 }, (_, k) => [(Math.floor(k / 3) % 6) * 10, Math.floor(k / 18) * 20, 7][k % 3] as number);
const same = colourMap({ brightness: 1, contrast: 1, saturation: 1, balance: [1, 1, 1] }, 0);

function pixels(bytes: Uint8Array, offset: number, count: number): number[][] {
  return Array.from({ length: count }, (_, pixel) => [...bytes.subarray(offset + pixel * 3, offset + pixel * 3 + 3)]);
}

function cut(window: { top: number; left: number; height: number; width: number }, flip: boolean, side = 2, blur = 1): number[][] {
  const target = new Uint8Array(2 + side * side * 3).fill(255);
  createResampler(side, size).into(target, 2, picture, size, window, flip, same, blur);
  expect([target[0], target[1]]).toEqual([255, 255]);
  return pixels(target, 2, side * side);
}

test("a window of the side asked for is copied, and mirrored on request", () => {
  const window = { top: 1, left: 3, height: 2, width: 2 };
  const plain = cut(window, false);
  expect(plain).toEqual([
    [30, 20, 7],
    [40, 20, 7],
    [30, 40, 7],
    [40, 40, 7],
  ]);
  expect(cut(window, true)).toEqual([plain[1], plain[0], plain[3], plain[2]]);
});

test("a larger window is shrunk without leaving pixels out, a smaller one is enlarged between its pixels", () => {
  // Triangles 4 pixels wide about columns 0.5 and 2.5, cut off at the window's edge: (3*0 + 3*10 + 1*20)/7 and its mirror image.
  expect(cut({ top: 0, left: 0, height: 4, width: 4 }, false).map(([red]) => red)).toEqual([7, 23, 7, 23]);
  expect(cut({ top: 0, left: 0, height: 2, width: 2 }, false, 4).slice(0, 4)).toEqual([
    [0, 0, 7],
    [3, 0, 7],
    [8, 0, 7],
    [10, 0, 7],
  ]);
});

test("a blur averages by a triangle that many pixels wide to each side, whether the window shrinks or not", () => {
  // Each picture pixel about columns 0, 1, 2, 3 by 1/2, 1, 1/2, cut off at the window's edge.
  const window = { top: 0, left: 0, height: 4, width: 4 };
  expect(
    cut(window, false, 4, 2)
      .slice(0, 4)
      .map(([red]) => red),
  ).toEqual([3, 10, 20, 27]);
  // A triangle 2 pixels to each side is what a reduction to the half takes anyway.
  expect(cut(window, false, 2, 2)).toEqual(cut(window, false, 2));
  expect(cut(window, false, 2, 4)).not.toEqual(cut(window, false, 2));
});

test("noise is added in its strength, from where it is told to start, and stays within 0..255", () => {
  const grey = Uint8Array.of(100, 100, 100, 0, 255, 100);
  addNoise(grey, Float32Array.of(1, -1, 0.5, 2), 3, 10);
  expect([...grey]).toEqual([120, 110, 90, 5, 255, 110]);
});

test("brightness, contrast, saturation and white balance change colours as they say", () => {
  const apply = (factors: Partial<Parameters<typeof colourMap>[0]>, mean = 0): number[] => {
    const target = new Uint8Array(3);
    const colours = colourMap({ brightness: 1, contrast: 1, saturation: 1, balance: [1, 1, 1], ...factors }, mean);
    createResampler(1, { width: 1, height: 1 }).into(
      target,
      0,
      Uint8Array.of(100, 50, 200),
      { width: 1, height: 1 },
      { top: 0, left: 0, height: 1, width: 1 },
      false,
      colours,
      1,
    );
    return [...target];
  };
  expect(apply({ brightness: 1.2 })).toEqual([120, 60, 240]);
  expect(apply({ brightness: 2 })).toEqual([200, 100, 255]);
  expect(apply({ contrast: 0.5 }, 80)).toEqual([90, 65, 140]);
  // 0.299*100 + 0.587*50 + 0.114*200 = 82.05
  expect(apply({ saturation: 0 })).toEqual([82, 82, 82]);
  expect(apply({ balance: [1.1, 1, 0.9] })).toEqual([110, 50, 180]);
});

test("the mean brightness is taken over the window alone", () => {
  expect(meanBrightness(picture, size, { top: 2, left: 1, height: 1, width: 1 })).toBeCloseTo(0.299 * 10 + 0.587 * 40 + 0.114 * 7, 5);
});

test("a window is erased, blended and exchanged in place, and nothing outside it changes", () => {
  const two = Uint8Array.from({ length: 2 * 27 }, (_, k) => (k < 27 ? 10 : 110));
  const window = { top: 1, left: 1, height: 2, width: 1 };
  const inside = [4, 7];
  const changed = (offset: number): number[] =>
    pixels(two, offset, 9).flatMap(([red], pixel) => (red === (offset === 0 ? 10 : 110) ? [] : [pixel]));

  exchangeWindow(two, 0, 27, 3, window);
  expect(changed(0)).toEqual(inside);
  expect(changed(27)).toEqual(inside);
  expect(pixels(two, 0, 9)[4]).toEqual([110, 110, 110]);
  exchangeWindow(two, 0, 27, 3, window);
  blend(two, 0, 27, 27, 0.75);
  expect([two[0], two[27]]).toEqual([35, 85]);
  eraseWindow(two, 27, 3, window, [1, 2, 3]);
  expect(pixels(two, 27, 9)[7]).toEqual([1, 2, 3]);
  expect(pixels(two, 27, 9)[8]).toEqual([85, 85, 85]);
  expect(two[26]).toBe(35);
});
