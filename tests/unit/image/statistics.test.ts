import { expect, test } from "vitest";
import { renderPixels, renderSvg } from "../../../src/image/render.ts";
import { estimateStatistics, imageStatistics } from "../../../src/image/statistics.ts";
import sharp from "sharp";

function picture(width: number, height: number, color: (x: number, y: number) => readonly number[]): Uint8Array {
  return Uint8Array.from({ length: width * height * 3 }, (_, i) => color(Math.floor(i / 3) % width, Math.floor(i / 3 / width))[i % 3]!);
}

test("a flat gray picture has its brightness and nothing else", () => {
  expect(
    imageStatistics(
      picture(6, 4, () => [51, 51, 51]),
      6,
      4,
    ),
  ).toEqual({ brightness: expect.closeTo(0.2, 6), contrast: expect.closeTo(0, 4), sharpness: expect.closeTo(0, 6), saturation: 0 });
});

test("pure red has the luma of red and full saturation", () => {
  const { brightness, saturation } = imageStatistics(
    picture(5, 5, () => [255, 0, 0]),
    5,
    5,
  );
  expect(brightness).toBeCloseTo(0.299, 6);
  expect(saturation).toBe(1);
});

test("a checkerboard of black and white pixels is at the end of the ranges of contrast and sharpness", () => {
  const statistics = imageStatistics(
    picture(8, 8, (x, y) => ((x + y) % 2 === 0 ? [255, 255, 255] : [0, 0, 0])),
    8,
    8,
  );
  expect(statistics.brightness).toBeCloseTo(0.5, 6);
  expect(statistics.contrast).toBeCloseTo(0.5, 6);
  expect(statistics.sharpness).toBeCloseTo(4, 6);
});

test("blur lowers sharpness and hardly moves brightness", () => {
  const sharpPicture = picture(16, 16, (x) => (x % 4 < 2 ? [200, 200, 200] : [50, 50, 50]));
  const blurred = picture(16, 16, (x) => [[125, 200, 125, 50][x % 4]!, [125, 200, 125, 50][x % 4]!, [125, 200, 125, 50][x % 4]!]);
  const [a, b] = [imageStatistics(sharpPicture, 16, 16), imageStatistics(blurred, 16, 16)];
  expect(b.sharpness).toBeLessThan(a.sharpness);
  expect(Math.abs(a.brightness - b.brightness)).toBeLessThan(0.01);
});

test("renderSvg draws PNG with transparency and JPEG on white, at the width asked for", async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><circle cx="20" cy="10" r="5" fill="#f00"/></svg>';
  const png = await sharp(await renderSvg(svg, { format: "png", width: 80 })).metadata();
  expect([png.format, png.width, png.height, png.hasAlpha]).toEqual(["png", 80, 40, true]);
  const jpeg = sharp(await renderSvg(svg, { format: "jpeg", quality: 95 }));
  expect(Math.min(...(await jpeg.raw().toBuffer()).subarray(0, 3))).toBeGreaterThan(245);
});

test("renderPixels lets the caller edit the pixels before they are compressed", async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="8"><rect width="16" height="8" fill="#fff"/></svg>';
  const bytes = await renderPixels(svg, { blur: 0, quality: 95 }, (rgb, width, height) => {
    expect([rgb.length, width, height]).toEqual([16 * 8 * 3, 16, 8]);
    rgb.fill(0);
  });
  expect(await sharp(bytes).stats()).toMatchObject({ channels: [{ max: 0 }, { max: 0 }, { max: 0 }] });
});

test("the estimate of a small picture is exact, and that of a large one near, from a sixth of its rows", async () => {
  const circles = Array.from({ length: 60 }, (_, i) => {
    const [x, y, r] = [(i * 53) % 224, (i * 97) % 224, 4 + ((i * 7) % 30)];
    return `<circle cx="${x}" cy="${y}" r="${r}" fill="hsl(${i * 37} 70% ${20 + ((i * 11) % 60)}%)"/>`;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="224" height="224"><rect width="224" height="224" fill="#567"/>${circles.join("")}</svg>`;
  const rgb = (await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer()) as Uint8Array;
  const exact = imageStatistics(rgb, 224, 224);
  expect(estimateStatistics(rgb, 224, 224, 224 * 224)).toEqual(exact);
  const near = estimateStatistics(rgb, 224, 224, 8192);
  for (const key of ["brightness", "contrast", "sharpness", "saturation"] as const) {
    expect(Math.abs(near[key] / exact[key] - 1), key).toBeLessThan(0.1);
  }
});

test("the estimate of a picture that is one row high, or wider than all that is looked at, is a number", () => {
  for (const [width, height] of [
    [20_000, 1],
    [20_000, 12],
    [1, 20_000],
  ] as const) {
    const found = estimateStatistics(new Uint8Array(width * height * 3).fill(51), width, height, 8192);
    expect(found).toEqual({ brightness: expect.closeTo(0.2, 5), contrast: expect.closeTo(0, 3), sharpness: 0, saturation: 0 });
  }
});
