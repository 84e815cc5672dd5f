import fc from "fast-check";
import sharp, { type Color, type Sharp } from "sharp";
import { describe, expect, test } from "vitest";
import { defaultImageLimits } from "../../../src/image/check-image.ts";
import { type Preprocess, centerCrop } from "../../../src/image/preprocess.ts";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import { blobs, jpeg } from "../../helpers/pictures.ts";

const squash: Preprocess = { orient: true, width: 8, height: 8, fit: "squash", kernel: "lanczos3", crop: null };

function run(bytes: Uint8Array, changes: Partial<Preprocess> = {}): Promise<Uint8Array> {
  return preprocessImage(bytes, { ...squash, ...changes }, defaultImageLimits);
}

/** The RGB triple at (x, y) of a row that is `width` wide. */
function at(row: Uint8Array, x: number, y: number, width = 8): number[] {
  return [...row.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
}

/** Which of red, green and blue a pixel is; the rounding of a kernel or a codec may move it by a few steps. */
function colour(row: Uint8Array, x: number, y: number): string {
  const bright = at(row, x, y).map((value) => (value > 240 ? "1" : value < 15 ? "0" : "?"));
  return { "100": "red", "010": "green", "001": "blue", "000": "black", "111": "white" }[bright.join("")] ?? at(row, x, y).join(",");
}

/** A flat picture of one colour. */
function flat(background: Color, channels: 3 | 4 = 3, width = 20, height = 10): Sharp {
  return sharp({ create: { width, height, channels, background } });
}

/** Left half red, right half blue. */
async function halves(width: number, height: number): Promise<Buffer> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="#00f"/><rect width="${width / 2}" height="100%" fill="#f00"/></svg>`;
  return await sharp(Buffer.from(svg)).png().toBuffer();
}

describe("every kind of picture becomes 8-bit RGB", () => {
  test("gray has three equal channels", async () => {
    const bytes = await flat({ r: 90, g: 90, b: 90 }).toColourspace("b-w").png().toBuffer();
    expect((await sharp(bytes).metadata()).channels).toBe(1);
    expect(at(await run(bytes), 3, 3)).toEqual([90, 90, 90]);
  });

  test("transparency becomes white, in part and in whole, in colour and in gray", async () => {
    const half = await flat({ r: 200, g: 0, b: 0, alpha: 0.5 }, 4).png().toBuffer();
    // Half of (200, 0, 0) over half of white.
    for (const [i, value] of at(await run(half), 3, 3).entries()) expect(Math.abs(value - [227, 127, 127][i]!)).toBeLessThanOrEqual(2);
    const clear = await flat({ r: 0, g: 0, b: 0, alpha: 0 }, 4).png().toBuffer();
    expect(at(await run(clear), 0, 0)).toEqual([255, 255, 255]);
    const grayAlpha = await flat({ r: 0, g: 0, b: 0, alpha: 0 }, 4).toColourspace("b-w").png().toBuffer();
    expect(at(await run(grayAlpha), 7, 7)).toEqual([255, 255, 255]);
  });

  test("16 bits a channel are scaled to 8", async () => {
    const bytes = await flat({ r: 10, g: 120, b: 250 }).toColourspace("rgb16").png().toBuffer();
    expect((await sharp(bytes).metadata()).depth).toBe("ushort");
    for (const [i, value] of at(await run(bytes), 3, 3).entries()) expect(Math.abs(value - [10, 120, 250][i]!)).toBeLessThanOrEqual(1);
    const gray = await flat({ r: 77, g: 77, b: 77 }).toColourspace("grey16").png().toBuffer();
    for (const value of at(await run(gray), 3, 3)) expect(Math.abs(value - 77)).toBeLessThanOrEqual(1);
  });

  test("CMYK is converted: cyan ink is blue-green, not inverted", async () => {
    const bytes = await flat({ r: 0, g: 160, b: 220 }).toColourspace("cmyk").jpeg({ quality: 95 }).toBuffer();
    expect((await sharp(bytes).metadata()).space).toBe("cmyk");
    const [r, g, b] = at(await run(bytes), 3, 3) as [number, number, number];
    expect(r).toBeLessThan(90);
    expect(g).toBeGreaterThan(110);
    expect(b).toBeGreaterThan(150);
  });

  test("a palette keeps its colours", async () => {
    const bytes = await sharp(await halves(32, 32))
      .png({ palette: true, colours: 4 })
      .toBuffer();
    const row = await run(bytes);
    expect([colour(row, 0, 4), colour(row, 7, 4)]).toEqual(["red", "blue"]);
  });

  test("of an animation the first frame counts", async () => {
    const frames = await Promise.all(["#ff0000", "#00ff00", "#0000ff"].map((color) => flat(color).png().toBuffer()));
    const animation = sharp(frames, { join: { animated: true } });
    for (const bytes of await Promise.all([animation.clone().gif().toBuffer(), animation.clone().webp({ lossless: true }).toBuffer()])) {
      expect((await sharp(bytes).metadata()).pages).toBe(3);
      expect(colour(await run(bytes), 4, 4)).toBe("red");
    }
  });
});

describe("fit", () => {
  test("squash shows the whole picture in other proportions", async () => {
    const row = await run(await halves(64, 16));
    expect([colour(row, 1, 1), colour(row, 6, 6)]).toEqual(["red", "blue"]);
  });

  test("crop keeps the proportions and cuts equally from both sides", async () => {
    // In 64x16 the middle 16x16 is shown, so the border between the colours stays in the middle.
    const row = await run(await halves(64, 16), { fit: "crop", kernel: "nearest" });
    expect([colour(row, 3, 4), colour(row, 4, 4)]).toEqual(["red", "blue"]);
  });

  test("pad keeps the proportions and adds black bars", async () => {
    const row = await run(await halves(64, 32), { fit: "pad", kernel: "nearest" });
    expect([colour(row, 4, 0), colour(row, 4, 7)]).toEqual(["black", "black"]);
    expect([colour(row, 1, 4), colour(row, 6, 4)]).toEqual(["red", "blue"]);
  });
});

describe("orientation", () => {
  test("a picture taken with the camera upright is turned, unless orient is false", async () => {
    // Orientation 6: the first stored column is the top. Red, stored left, is seen at the top.
    const bytes = await sharp(await halves(40, 40))
      .withMetadata({ orientation: 6 })
      .png()
      .toBuffer();
    const turned = await run(bytes);
    expect([colour(turned, 4, 0), colour(turned, 4, 7)]).toEqual(["red", "blue"]);
    const stored = await run(bytes, { orient: false });
    expect([colour(stored, 0, 4), colour(stored, 7, 4)]).toEqual(["red", "blue"]);
  });
});

describe("training and service", () => {
  test("what the service feeds the model is the centre of the shard row, byte for byte", async () => {
    const sizes = [
      [193, 144],
      [1200, 900],
      [50, 90],
    ] as const;
    for (const fit of ["squash", "crop", "pad"] as const) {
      for (const [width, height] of sizes) {
        const bytes = await jpeg(`parity ${width}`, width, height);
        const whole = await run(bytes, { width: 28, height: 24, fit });
        const served = await run(bytes, { width: 28, height: 24, fit, crop: { width: 23, height: 20 } });
        expect(Buffer.from(served)).toEqual(Buffer.from(centerCrop(whole, { width: 28, height: 24 }, { width: 23, height: 20 })));
      }
    }
  });

  test("gives the same bytes whether one picture is decoded or many at once", async () => {
    const pictures = await Promise.all(Array.from({ length: 12 }, (_, i) => jpeg(`many ${i}`, 300 + i, 200)));
    const together = await Promise.all(pictures.map((bytes) => run(bytes)));
    for (const [i, bytes] of pictures.entries()) expect(Buffer.from(await run(bytes))).toEqual(Buffer.from(together[i]!));
  });

  test("a larger target enlarges the picture", async () => {
    expect(await run(await blobs("small", 5, 5).png().toBuffer(), { width: 30, height: 20 })).toHaveLength(30 * 20 * 3);
  });
});

describe("centerCrop", () => {
  test("takes the middle rows and columns", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.nat(3), fc.nat(3), (width, height, moreX, moreY) => {
        const size = { width: width + moreX, height: height + moreY };
        // Each pixel carries its own coordinates.
        const row = Uint8Array.from(
          { length: size.width * size.height * 3 },
          (_, i) => [Math.floor(i / 3) % size.width, Math.floor(i / 3 / size.width), 7][i % 3]!,
        );
        const crop = centerCrop(row, size, { width, height });
        expect(crop).toHaveLength(width * height * 3);
        expect([...crop.subarray(0, 3)]).toEqual([Math.floor(moreX / 2), Math.floor(moreY / 2), 7]);
        expect([...crop.subarray(-3)]).toEqual([Math.floor(moreX / 2) + width - 1, Math.floor(moreY / 2) + height - 1, 7]);
      }),
    );
  });

  test("a crop larger than the picture is an error that names both", () => {
    expect(() => centerCrop(new Uint8Array(12), { width: 2, height: 2 }, { width: 3, height: 2 })).toThrow(
      "The crop 3x2 does not fit into 2x2.",
    );
  });
});
