import { deflateSync } from "node:zlib";
import fc from "fast-check";
import sharp, { type Sharp } from "sharp";
import { describe, expect, test } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { checkImage, defaultImageLimits, type CheckedImage } from "../../../src/image/check-image.ts";
import { readGifHeader } from "../../../src/image/header/gif.ts";
import { readJpegHeader } from "../../../src/image/header/jpeg.ts";
import { readPngHeader } from "../../../src/image/header/png.ts";
import { readWebpHeader } from "../../../src/image/header/webp.ts";
import {
  blackPng,
  blobs,
  claiming,
  compressedZeros,
  gifOfFrames,
  jpegOfScans,
  jpegSegment,
  pngChunk,
  pngClaiming,
  riffChunk,
  webpOfFrames,
} from "../../helpers/pictures.ts";

const limits = { maxBytes: 16 << 20, maxPixels: 64_000_000 };
const readers = { jpeg: readJpegHeader, png: readPngHeader, webp: readWebpHeader, gif: readGifHeader };

/** What an encoder writes for a small picture, with a large one in the header. */
const sized = async (width: number, height: number, picture: Sharp): Promise<Buffer> => claiming(await picture.toBuffer(), width, height);

const flat = (width: number, height: number, channels: 3 | 4 = 3): Sharp =>
  sharp({ create: { width, height, channels, background: { r: 40, g: 90, b: 10, alpha: 0.5 } }, limitInputPixels: false });

describe("the header", () => {
  const picture = (): Sharp => blobs("header", 97, 71);
  test.each<[string, () => Promise<Buffer> | Buffer]>([
    ["jpeg", () => picture().jpeg().toBuffer()],
    ["progressive jpeg", () => picture().jpeg({ progressive: true }).toBuffer()],
    ["gray jpeg", () => picture().grayscale().jpeg().toBuffer()],
    [
      "jpeg with a profile and EXIF",
      () =>
        picture()
          .withIccProfile("p3")
          .withExif({ IFD0: { Copyright: "x" } })
          .jpeg()
          .toBuffer(),
    ],
    ["cmyk jpeg", () => picture().toColourspace("cmyk").jpeg().toBuffer()],
    ["png", () => picture().png().toBuffer()],
    ["interlaced png", () => picture().png({ progressive: true }).toBuffer()],
    ["png of 16 bits", () => picture().toColourspace("rgb16").png().toBuffer()],
    ["png with alpha", () => picture().ensureAlpha(0.5).png().toBuffer()],
    ["gray png", () => picture().grayscale().png().toBuffer()],
    ["png with a palette", () => picture().png({ palette: true }).toBuffer()],
    ["png with a profile", () => picture().withIccProfile("p3").png().toBuffer()],
    ["webp", () => picture().webp().toBuffer()],
    ["lossless webp", () => picture().webp({ lossless: true }).toBuffer()],
    ["webp with alpha", () => picture().ensureAlpha(0.5).webp().toBuffer()],
    ["webp with a profile", () => picture().withIccProfile("p3").webp().toBuffer()],
    ["gif", () => picture().gif().toBuffer()],
    [
      "animated gif",
      async () =>
        await sharp([await picture().png().toBuffer(), await flat(97, 71).png().toBuffer()], { join: { animated: true } })
          .gif()
          .toBuffer(),
    ],
    [
      "animated webp",
      async () =>
        await sharp([await picture().png().toBuffer(), await flat(97, 71).png().toBuffer()], { join: { animated: true } })
          .webp()
          .toBuffer(),
    ],
  ])("of a %s says what the library says", async (_name, make) => {
    const bytes = await make();
    const { format, width, height, pages = 1, channels, depth } = await sharp(bytes).metadata();
    const header = readers[format as keyof typeof readers](bytes);
    expect(header).toMatchObject({ width, height, frames: pages });
    // GIF frames are drawn on a canvas with alpha, whether they have it or not; lossless WebP too.
    const bytesPerPixel = channels * (depth === "ushort" ? 2 : 1);
    expect(header!.decodedBytes).toBeGreaterThanOrEqual(width * height * bytesPerPixel);
    expect(header!.decodedBytes).toBeLessThanOrEqual(width * height * Math.max(4, bytesPerPixel));
  });
});

function refusal(bytes: Uint8Array, given = limits): unknown[] {
  try {
    return [checkImage(bytes, given)];
  } catch (error) {
    return [(error as ServalError).code, (error as ServalError).message];
  }
}

describe("a picture is refused by its header", () => {
  test("for one side that is too long, however short the other is", async () => {
    const message = "The image is 1x60000000 pixels; each side may have at most 65535.";
    expect(refusal(pngClaiming(1, 60_000_000))).toEqual(["E_IMAGE_PIXELS", message]);
    expect(refusal(pngClaiming(60_000_000, 1))[0]).toBe("E_IMAGE_PIXELS");
    expect(refusal(await blackPng({ width: 1, height: 65_535, colour: 0 }))).toEqual([expect.objectContaining({ costly: false })]);
  });

  test("for the bytes of its pixels, when it has few enough of them", () => {
    const wide = Buffer.from(pngClaiming(5000, 12_000));
    wide.set([16, 6, 0, 0, 1], 24);
    const message = "The image is 5000x12000, 480000000 bytes when decoded; at most 256000000 are decoded.";
    expect(refusal(wide)).toEqual(["E_IMAGE_PIXELS", message]);
    wide.set([8, 6, 0, 0, 1], 24);
    expect(refusal(wide)).toEqual([expect.objectContaining({ costly: true })]);
  });

  test("for more frames than 10,000, which are not all counted", async () => {
    const message = "The animation has more than 10000 frames.";
    expect(refusal(gifOfFrames(1_000_000))).toEqual(["E_IMAGE_FRAMES", message]);
    expect(refusal(await webpOfFrames(300_000))).toEqual(["E_IMAGE_FRAMES", message]);
    expect(refusal(gifOfFrames(10_000))).toMatchObject([{ format: "gif", work: Infinity, costly: true }]);
    expect(refusal(await webpOfFrames(10_000))).toMatchObject([{ format: "webp", work: Infinity, costly: true }]);
  });

  test("for a frame of a GIF that is larger than its screen", () => {
    const frame = gifOfFrames(1, 30_000, 30_000);
    const screen = Buffer.from(frame);
    screen.set([1, 0, 1, 0], 6);
    expect(refusal(screen)[1]).toBe("The image is 30000x30000, 900000000 pixels; at most 64000000 are decoded.");
  });
});

const check = (bytes: Uint8Array): CheckedImage => checkImage(bytes, limits);

describe("what people have is not costly", () => {
  test.each<[string, () => Promise<Buffer> | Buffer]>([
    ["a photograph of 24 megapixels", () => sized(6000, 4000, flat(64, 64).jpeg())],
    ["a progressive photograph of 1920x1080", () => sized(1920, 1080, flat(64, 64).jpeg({ progressive: true }))],
    ["a photograph with the profile of a telephone", () => sized(4000, 3000, flat(64, 64).withIccProfile("p3").jpeg())],
    ["a screenshot of 1920x1080 with alpha", () => sized(1920, 1080, flat(64, 64, 4).png())],
    ["a screenshot of 3840x2160", () => sized(3840, 2160, flat(64, 64).png())],
    ["a screenshot of 1x3000", () => flat(1, 3000).png().toBuffer()],
    ["a small interlaced PNG", () => flat(800, 600).png({ progressive: true }).toBuffer()],
    ["a WebP of 1920x1080", () => sized(1920, 1080, flat(64, 64).webp())],
    ["a GIF of 500 frames", () => gifOfFrames(500, 640, 480)],
  ])("%s", async (_name, make) => {
    expect(check(await make())).toMatchObject({ costly: false });
  });
});

describe("what may take long is costly", () => {
  const one = async (): Promise<Buffer> => await flat(16, 16).jpeg().toBuffer();
  const inJpeg = async (...segments: readonly Buffer[]): Promise<Buffer> => {
    const bytes = await one();
    return Buffer.concat([bytes.subarray(0, 2), ...segments, bytes.subarray(2)]);
  };
  const text = (name: string, bytes: number): Buffer =>
    pngChunk("zTXt", Buffer.concat([Buffer.from(`${name}\0\0`), deflateSync(Buffer.alloc(bytes))]));
  const profile = (tag: string): Buffer => Buffer.concat([Buffer.alloc(128), Buffer.from(tag)]);
  const small = { width: 4, height: 4 };
  const inWebp = async (type: string, data: Buffer): Promise<Buffer> => {
    const still = await flat(8, 8).webp().toBuffer();
    const extended = riffChunk("VP8X", Buffer.from([0, 0, 0, 0, 7, 0, 0, 7, 0, 0]));
    return riffChunk("RIFF", Buffer.concat([Buffer.from("WEBP"), extended, riffChunk(type, data), still.subarray(12)]));
  };
  test.each<[string, () => Promise<Buffer> | Buffer]>([
    ["many pixels: JPEG", () => sized(8000, 8000, flat(64, 64).jpeg())],
    ["many pixels: PNG", () => sized(7000, 7000, flat(64, 64).png())],
    ["many pixels: WebP", () => sized(8000, 8000, flat(64, 64).webp({ effort: 0 }))],
    ["many pixels: GIF", () => gifOfFrames(1, 8000, 8000)],
    ["interlaced PNG of 5 megapixels", () => blackPng({ width: 2500, height: 2000, interlaced: true })],
    [
      "a palette that makes 3 bytes of a bit",
      () => blackPng({ width: 8000, height: 8000, depth: 1, colour: 3, chunks: pngChunk("PLTE", Buffer.alloc(6)) }),
    ],
    ["2600 scans of a small JPEG", () => jpegOfScans(1000, 1000, 2600)],
    ["300 segments before the scan", () => inJpeg(...Array<Buffer>(300).fill(jpegSegment(0xfe, Buffer.alloc(0))))],
    ["bytes that fill before a segment", () => inJpeg(Buffer.alloc(100, 0xff))],
    ["a profile with tables", () => inJpeg(jpegSegment(0xe2, Buffer.concat([Buffer.from("ICC_PROFILE\0\x01\x01"), profile("A2B0")])))],
    [
      "a profile in two segments",
      () => inJpeg(...[1, 2].map((i) => jpegSegment(0xe2, Buffer.concat([Buffer.from("ICC_PROFILE\0"), Buffer.from([i, 2])])))),
    ],
    ["an arithmetic code", async () => Buffer.from((await one()).toString("latin1").replace("\u00ff\u00c0", "\u00ff\u00c9"), "latin1")],
    ["PNG with five compressed texts", () => blackPng({ ...small, chunks: Buffer.concat(Array<Buffer>(5).fill(text("Comment", 10))) })],
    [
      "PNG with 10,001 chunks",
      () => blackPng({ ...small, chunks: Buffer.concat(Array<Buffer>(10_001).fill(pngChunk("abCd", Buffer.alloc(0)))) }),
    ],
    ["PNG with 2 MB of texts", () => blackPng({ ...small, chunks: pngChunk("tEXt", Buffer.alloc(2 << 20, "x")) })],
    [
      "PNG with a profile with tables",
      () => blackPng({ ...small, chunks: pngChunk("iCCP", Buffer.concat([Buffer.from("p\0\0"), deflateSync(profile("D2B1"))])) }),
    ],
    [
      "PNG with a profile of 32 MB",
      async () =>
        await blackPng({ ...small, chunks: pngChunk("iCCP", Buffer.concat([Buffer.from("p\0\0"), await compressedZeros(1 << 25)])) }),
    ],
    ["PNG with 100 kB of EXIF", () => blackPng({ ...small, chunks: pngChunk("eXIf", Buffer.alloc(100_000)) })],
    ["WebP with 100 kB of EXIF", () => inWebp("EXIF", Buffer.alloc(100_000))],
    ["WebP with a profile with tables", () => inWebp("ICCP", profile("A2B0"))],
    ["GIF with a million comments", () => Buffer.concat([gifOfFrames(1).subarray(0, 19), Buffer.alloc(3_000_000, "21fe00", "hex")])],
    [
      "GIF with something unknown between its frames",
      () => Buffer.concat([gifOfFrames(1).subarray(0, -1), Buffer.from([0x99]), gifOfFrames(1).subarray(19)]),
    ],
    ["PNG whose first chunk is another", async () => (await blackPng(small)).fill("x", 12, 16)],
  ])("%s", async (_name, make) => {
    const before = process.cpuUsage();
    const bytes = await make();
    const made = process.cpuUsage(before);
    expect(check(bytes)).toMatchObject({ costly: true });
    const { user } = process.cpuUsage(before);
    // Looking costs little, whatever is looked at.
    expect((user - made.user) / 1000).toBeLessThan(200);
  });
});

test("whatever the bytes are, they are checked or refused, and quickly", async () => {
  const pictures = await Promise.all([
    blobs("odd").jpeg({ progressive: true }).toBuffer(),
    blobs("odd").withIccProfile("p3").png().toBuffer(),
    blobs("odd").withIccProfile("p3").webp().toBuffer(),
    webpOfFrames(3),
  ]);
  const damaged = fc
    .tuple(
      fc.constantFrom(...pictures, gifOfFrames(3, 5, 5)),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 12 }),
      fc.nat(4000),
    )
    .map(([picture, changes, end]) => {
      const bytes = Buffer.from(picture.subarray(0, Math.max(12, end)));
      for (const [at, value] of changes) if (at > 12 && at < bytes.length) bytes[at] = value;
      return bytes;
    });
  fc.assert(
    fc.property(damaged, (bytes) => {
      const [first] = refusal(bytes, defaultImageLimits);
      const answer = typeof first === "string" ? first : `format ${String((first as { format: unknown }).format)}`;
      expect(answer).toMatch(/^(E_IMAGE_|format (jpeg|png|webp|gif)$)/);
    }),
    { numRuns: 2000 },
  );
});
