import { describe, expect, test } from "vitest";
import sharp from "sharp";
import { defaultImageLimits, identifyImage } from "../../../src/image/check-image.ts";
import { inspectImage } from "../../../src/image/inspect-image.ts";
import type { Preprocess } from "../../../src/image/preprocess.ts";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import { blobs, jpeg, pngClaiming } from "../../helpers/pictures.ts";

const limits = defaultImageLimits;
const preprocess: Preprocess = { orient: true, width: 16, height: 16, fit: "squash", kernel: "lanczos3", crop: null };

const formats = {
  jpeg: async () => await blobs("format").jpeg().toBuffer(),
  "progressive jpeg": async () => await blobs("format").jpeg({ progressive: true }).toBuffer(),
  png: async () => await blobs("format").png().toBuffer(),
  "interlaced png": async () => await blobs("format").png({ progressive: true }).toBuffer(),
  webp: async () => await blobs("format").webp().toBuffer(),
  "lossless webp": async () => await blobs("format").webp({ lossless: true }).toBuffer(),
  gif: async () => await blobs("format").gif().toBuffer(),
};

/** What both ways to decode say of the bytes. */
async function codes(bytes: Uint8Array, given = limits): Promise<unknown[]> {
  const outcomes = await Promise.allSettled([inspectImage(bytes, given), preprocessImage(bytes, preprocess, given)]);
  return outcomes.map((outcome) => (outcome.status === "rejected" ? (outcome.reason as { code: string }).code : "decoded"));
}

describe("the formats that are read", () => {
  test.each(Object.keys(formats) as (keyof typeof formats)[])("%s is known by its first bytes and decoded", async (name) => {
    const bytes = await formats[name]();
    const format = name.split(" ").at(-1);
    expect(identifyImage(bytes)).toBe(format);
    expect(await inspectImage(bytes, limits)).toMatchObject({ format, width: 96, height: 72 });
  });

  test("everything else is refused by its bytes, not by its name", async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    const tiff = await blobs("tiff").tiff().toBuffer();
    const avif = await blobs("avif").avif({ effort: 0 }).toBuffer();
    for (const bytes of [
      svg,
      tiff,
      avif,
      Buffer.from("%PDF-1.7"),
      Buffer.from("GIF80a not quite"),
      Buffer.from([0xff]),
      Buffer.from("RIFF1234WAVE"),
    ]) {
      expect(identifyImage(bytes)).toBeUndefined();
      expect(await codes(bytes)).toEqual(["E_IMAGE_FORMAT", "E_IMAGE_FORMAT"]);
    }
  });

  test("an SVG behind the first bytes of another format does not reach a decoder for SVG", async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>');
    for (const magic of ["\u0089PNG\r\n\u001a\n", "GIF89a", "RIFF\u0010\0\0\0WEBP", "\u00ff\u00d8\u00ff"]) {
      const disguised = Buffer.concat([Buffer.from(magic, "latin1"), svg]);
      expect(identifyImage(disguised)).toBeDefined();
      for (const code of await codes(disguised)) expect(["E_IMAGE_CORRUPT", "E_IMAGE_FORMAT", "E_IMAGE_PIXELS"]).toContain(code);
    }
  });
});

describe("limits", () => {
  test("a file of zero bytes is called empty", async () => {
    expect(await codes(new Uint8Array())).toEqual(["E_IMAGE_EMPTY", "E_IMAGE_EMPTY"]);
  });

  test("a file over the byte limit is refused before anything looks into it", async () => {
    const bytes = await jpeg("large");
    expect(await codes(bytes, { ...limits, maxBytes: bytes.length - 1 })).toEqual(["E_IMAGE_BYTES", "E_IMAGE_BYTES"]);
    expect(await codes(bytes, { ...limits, maxBytes: bytes.length })).toEqual(["decoded", "decoded"]);
  });

  test("a picture that claims 16000x16000 pixels is refused from its header, although it holds none of them", async () => {
    await expect(inspectImage(pngClaiming(16_000, 16_000), limits)).rejects.toMatchObject({
      code: "E_IMAGE_PIXELS",
      message: "The image is 16000x16000, 256000000 pixels; at most 100000000 are decoded.",
    });
    expect(await codes(pngClaiming(16_000, 16_000))).toEqual(["E_IMAGE_PIXELS", "E_IMAGE_PIXELS"]);
  });

  test("the pixel limit counts the picture as stored, to the pixel", async () => {
    const bytes = await jpeg("exact", 40, 30);
    expect(await codes(bytes, { ...limits, maxPixels: 1199 })).toEqual(["E_IMAGE_PIXELS", "E_IMAGE_PIXELS"]);
    expect(await codes(bytes, { ...limits, maxPixels: 1200 })).toEqual(["decoded", "decoded"]);
  });
});

describe("damaged files", () => {
  test.each(Object.keys(formats) as (keyof typeof formats)[])("a cut-off %s is refused wherever it was cut", async (name) => {
    const bytes = await formats[name]();
    for (const share of [0.2, 0.5, 0.8]) {
      expect(await codes(bytes.subarray(0, Math.floor(bytes.length * share))), `cut at ${share}`).toEqual([
        "E_IMAGE_CORRUPT",
        "E_IMAGE_CORRUPT",
      ]);
    }
  });

  test("a cut-off JPEG much larger than the target is refused too, although it is scaled while it is decoded", async () => {
    const bytes = await jpeg("large photograph", 1600, 1200);
    expect(await codes(bytes)).toEqual(["decoded", "decoded"]);
    expect(await codes(bytes.subarray(0, bytes.length * 0.9))).toEqual(["E_IMAGE_CORRUPT", "E_IMAGE_CORRUPT"]);
  });

  test("bytes after the end of a JPEG, which cameras write, do no harm", async () => {
    expect(await codes(Buffer.concat([await jpeg("camera"), Buffer.alloc(500, 7)]))).toEqual(["decoded", "decoded"]);
  });

  test("the message of a damaged file says what the decoder said", async () => {
    const bytes = await jpeg("cut");
    await expect(inspectImage(bytes.subarray(0, bytes.length / 2), limits)).rejects.toThrow(
      /^The image cannot be decoded: .*premature end/i,
    );
  });
});

test("width and height are those that a person sees, after the EXIF orientation", async () => {
  const turned = await blobs("turned", 80, 40).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  expect(await inspectImage(turned, limits)).toMatchObject({ width: 40, height: 80 });
  const upright = await sharp(turned).autoOrient().png().toBuffer();
  expect((await inspectImage(turned, limits)).dhash).toBe((await inspectImage(upright, limits)).dhash);
});
