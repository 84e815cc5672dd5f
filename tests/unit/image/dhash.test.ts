import { describe, expect, test } from "vitest";
import { bitCount } from "../../../src/data/duplicates.ts";
import { defaultImageLimits } from "../../../src/image/check-image.ts";
import { inspectImage } from "../../../src/image/inspect-image.ts";
import { dhashOfPixels } from "../../../src/image/dhash.ts";
import { blobs } from "../../helpers/pictures.ts";

function distance(a: string, b: string): number {
  const part = (text: string, at: number): number => Number.parseInt(text.slice(at, at + 8), 16);
  return bitCount((part(a, 0) ^ part(b, 0)) >>> 0) + bitCount((part(a, 8) ^ part(b, 8)) >>> 0);
}

async function hash(bytes: Uint8Array): Promise<string> {
  return (await inspectImage(bytes, defaultImageLimits)).dhash;
}

/** Gray pixels from a function of the position. */
function gray(
  width: number,
  height: number,
  value: (x: number, y: number) => number,
): { data: Uint8Array; width: number; height: number; channels: number } {
  return {
    data: Uint8Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width))),
    width,
    height,
    channels: 1,
  };
}

describe("dhashOfPixels", () => {
  test("a row of bits says where the brightness falls from left to right", () => {
    const hashOf = (value: (x: number, y: number) => number): string => {
      const picture = gray(9, 8, value);
      return dhashOfPixels(picture.data, picture);
    };
    expect(hashOf((x) => 200 - 20 * x)).toBe("ffffffffffffffff");
    expect(hashOf((x) => 20 * x)).toBe("0000000000000000");
    expect(hashOf(() => 77)).toBe("0000000000000000");
    // Bright in column 4: it rises up to there and falls behind it. Only the first row has it.
    expect(hashOf((x, y) => (y === 0 && x === 4 ? 90 : 10))).toBe("0800000000000000");
  });

  test("cells that do not fall on whole pixels share them by area", () => {
    // 10 pixels on 9 cells: cell 0 is pixel 0 and a ninth of pixel 1.
    const picture = gray(10, 8, (x) => (x === 0 ? 90 : x === 1 ? 0 : 80));
    expect(dhashOfPixels(picture.data, picture).slice(0, 2)).toBe("80");
  });

  test("works on a picture smaller than the grid", () => {
    const picture = gray(2, 1, (x) => (x === 0 ? 200 : 10));
    expect(dhashOfPixels(picture.data, picture)).toBe("1818181818181818");
  });

  test("reads RGB with the weights of luma: green is brighter than red, red than blue", () => {
    const colours = [
      [0, 255, 0],
      [255, 0, 0],
      [0, 0, 255],
    ];
    const data = Uint8Array.from({ length: 9 * 8 * 3 }, (_, i) => colours[Math.floor((Math.floor(i / 3) % 9) / 3)]![i % 3]!);
    expect(dhashOfPixels(data, { width: 9, height: 8, channels: 3 })).toBe("2424242424242424");
  });
});

describe("the hash of a picture", () => {
  test("stays within 2 bits, in three of four copies, when the picture is scaled, recompressed or saved in another format", async () => {
    const distances: number[] = [];
    for (let i = 0; i < 8; i++) {
      const original = await hash(await blobs(`copy ${i}`, 400, 300).png().toBuffer());
      const copies = await Promise.all([
        blobs(`copy ${i}`, 400, 300).jpeg({ quality: 60 }).toBuffer(),
        blobs(`copy ${i}`, 400, 300).resize(200, 150).jpeg().toBuffer(),
        blobs(`copy ${i}`, 400, 300).resize(1600, 1200).jpeg().toBuffer(),
        blobs(`copy ${i}`, 400, 300).resize(300, 300, { fit: "fill" }).webp().toBuffer(),
      ]);
      for (const copy of copies) distances.push(distance(original, await hash(copy)));
    }
    expect(distances.filter((bits) => bits <= 2).length).toBeGreaterThanOrEqual(distances.length * 0.75);
    expect(Math.max(...distances)).toBeLessThanOrEqual(4);
  });

  test("differs in more than 2 bits between different pictures", async () => {
    const hashes = await Promise.all(Array.from({ length: 30 }, async (_, i) => hash(await blobs(`other ${i}`).png().toBuffer())));
    for (const [i, a] of hashes.entries()) for (const b of hashes.slice(i + 1)) expect(distance(a, b)).toBeGreaterThan(2);
  });
});
