import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import sharp, { type Sharp } from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/errors/error-table.ts";
import { errorStatus } from "../../src/serve/http/error-status.ts";
import { pngClaiming } from "../helpers/pictures.ts";
import { getJson, predictBody, predictForm, startTestService, type TestService } from "../helpers/service.ts";

const root = join(import.meta.dirname, "../..");
/** A picture that the released model is sure about, and upright: lying on its side, it would get another answer. */
let upright: Buffer;
let expected: number;
let service: TestService;
beforeAll(async () => {
  upright = await readFile(join(root, "test_image.jpg"));
  service = await startTestService({ service: { modelDir: join(root, "models/cats-dogs") } });
  expected = await catOf(upright);
});
afterAll(async () => await service.close());
// Whatever was sent, the service still answers as before.
afterEach(async () => {
  expect(await catOf(upright)).toBe(expected);
  expect((await getJson(service, "/health")).status).toBe(200);
});

async function catOf(picture: Uint8Array, name?: string): Promise<number> {
  const { status, body } = await predictForm(service, picture, name);
  expect([status, body.error]).toEqual([200, undefined]);
  return body.probabilities.cat as number;
}

async function expectRefusal(bytes: Uint8Array, code: ErrorCode, name?: string): Promise<void> {
  for (const { status, body } of [await predictForm(service, bytes, name), await predictBody(service, bytes, "image/jpeg")]) {
    expect([status, body.error?.code]).toEqual([errorStatus[code], code]);
    expect(body.error.hint.length).toBeGreaterThan(10);
  }
}

const png = (): Sharp => sharp(upright).png();

describe("an odd picture that shows the same gets the same answer", () => {
  it.each<[string, () => Promise<Buffer>, number]>([
    ["16 bits a channel", async () => await sharp(upright).toColourspace("rgb16").png().toBuffer(), 0.005],
    ["with an alpha channel", async () => await png().ensureAlpha().toBuffer(), 0.005],
    ["with a palette", async () => await sharp(upright).png({ palette: true, colours: 256 }).toBuffer(), 0.05],
    ["CMYK", async () => await sharp(upright).toColourspace("cmyk").jpeg({ quality: 95 }).toBuffer(), 0.15],
    ["progressive JPEG", async () => await sharp(upright).jpeg({ quality: 95, progressive: true }).toBuffer(), 0.02],
    ["lossless WebP", async () => await sharp(upright).webp({ lossless: true }).toBuffer(), 0.005],
    ["GIF", async () => await sharp(upright).gif().toBuffer(), 0.1],
    ["animated GIF, by its first frame", async () => await animated("gif"), 0.1],
    ["animated WebP, by its first frame", async () => await animated("webp"), 0.05],
    ["with bytes after its end", async () => Buffer.concat([upright, Buffer.alloc(10_000, 7)]), 0],
  ])("%s", async (_what, make, tolerance) => {
    expect(Math.abs((await catOf(await make())) - expected)).toBeLessThanOrEqual(tolerance);
  });

  it("PNG that is called .jpg, and JPEG that is called .png", async () => {
    expect(Math.abs((await catOf(await png().toBuffer(), "cat.jpg")) - expected)).toBeLessThan(0.005);
    expect(await catOf(upright, "cat.png")).toBe(expected);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("turned by the EXIF orientation %i", async (orientation) => {
    const stored = sharp(upright);
    // How a camera held that way stores it: what undoes the orientation.
    if ([3, 5, 6, 7, 8].includes(orientation)) stored.rotate({ 3: 180, 5: 270, 6: 270, 7: 90, 8: 90 }[orientation as 3]);
    if ([2, 5, 7].includes(orientation)) stored.flop();
    if (orientation === 4) stored.flip();
    const turned = await stored.jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer();
    const tagged = await sharp(turned, { autoOrient: false })
      .withMetadata({ orientation })
      .jpeg({ quality: 100, chromaSubsampling: "4:4:4" })
      .toBuffer();
    expect((await sharp(tagged).metadata()).orientation).toBe(orientation);
    expect(Math.abs((await catOf(tagged)) - expected)).toBeLessThan(0.005);
  });

  it("would get another answer if its orientation were ignored", async () => {
    const lying = await sharp(await sharp(upright).rotate(270).toBuffer())
      .jpeg({ quality: 100 })
      .toBuffer();
    expect(Math.abs((await catOf(lying)) - expected)).toBeGreaterThan(0.01);
  });

  async function animated(format: "gif" | "webp"): Promise<Buffer> {
    const { width, height } = await sharp(upright).metadata();
    const black = await sharp({ create: { width, height, channels: 3, background: "black" } })
      .png()
      .toBuffer();
    return await sharp([await png().toBuffer(), black, black], { join: { animated: true } })
      .toFormat(format, { quality: 95 })
      .toBuffer();
  }
});

describe("a picture of an odd size gets an answer", () => {
  it.each([
    [1, 1],
    [1, 3000],
    [3000, 1],
    [7000, 7000],
  ])("%ix%i", async (width, height) => {
    const picture = await sharp({ create: { width, height, channels: 3, background: "#886644" } })
      .png()
      .toBuffer();
    const { status, body } = await predictForm(service, picture);
    expect([status, typeof body.label]).toEqual([200, "string"]);
  });

  it("gray, and gray with alpha", async () => {
    for (const picture of [
      await sharp(upright).grayscale().png().toBuffer(),
      await sharp(upright).grayscale().ensureAlpha(0.5).png().toBuffer(),
    ]) {
      expect((await predictForm(service, picture)).status).toBe(200);
    }
  });
});

describe("a file that is not a picture, or too large a picture, is refused", () => {
  it("without any bytes", async () => await expectRefusal(Buffer.alloc(0), "E_IMAGE_EMPTY"));

  it.each([0.1, 0.5, 0.9])("cut off after %f of its bytes", async (share) => {
    await expectRefusal(upright.subarray(0, upright.length * share), "E_IMAGE_CORRUPT");
    const whole = await png().toBuffer();
    await expectRefusal(whole.subarray(0, whole.length * share), "E_IMAGE_CORRUPT");
  });

  it("with flipped bits: refused, or answered where the damage is only in the picture, and never anything else", async () => {
    for (let i = 0; i < 60; i++) {
      const damaged = Buffer.from(upright);
      for (let k = 0; k < 5; k++) {
        const at = 3 + ((i * 7919 + k * 104_729) % (damaged.length - 3));
        damaged[at] = damaged[at]! ^ (1 << ((i + k) % 8));
      }
      const { status, body } = await predictForm(service, damaged);
      expect(status === 200 ? "answer" : (body.error.code as string)).toMatch(/^(answer|E_IMAGE_CORRUPT|E_IMAGE_PIXELS|E_IMAGE_FORMAT)$/);
    }
  });

  it.each<[string, () => Promise<Buffer>]>([
    ["HTML called .jpg", async () => await Promise.resolve(Buffer.from("<!doctype html><script>alert(1)</script>"))],
    ["TIFF", async () => await sharp(upright).tiff().toBuffer()],
    ["AVIF", async () => await sharp(upright).resize(64).avif().toBuffer()],
    ["JPEG 2000", async () => await Promise.resolve(Buffer.from("0000000c6a5020200d0a870a00000014667479706a703220", "hex"))],
    ["BMP", async () => await Promise.resolve(Buffer.from("424d36000000000000003600000028000000", "hex"))],
    ["PDF", async () => await Promise.resolve(Buffer.from("%PDF-1.7\n"))],
    ["a RIFF that is sound", async () => await Promise.resolve(Buffer.from("RIFF\u0010\0\0\0WAVEfmt ", "latin1"))],
  ])("%s", async (_what, make) => await expectRefusal(await make(), "E_IMAGE_FORMAT", "cat.jpg"));

  it("SVG with references to elsewhere: nothing is fetched, nothing is read", async () => {
    let fetched = 0;
    const elsewhere = createServer((_request, response) => {
      fetched++;
      response.end();
    }).listen(0, "127.0.0.1");
    await once(elsewhere, "listening");
    const url = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/x.png`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="${url}"/><image href="file:///etc/passwd"/></svg>`;
    for (const text of [svg, `<?xml version="1.0"?>${svg}`, `\ufeff${svg}`, `\n\n${svg}`])
      await expectRefusal(Buffer.from(text), "E_IMAGE_FORMAT", "a.svg");
    expect(fetched).toBe(0);
    elsewhere.close();
  });

  it("16000x16000 black, by its header: before any of it is decoded", async () => {
    await expectRefusal(pngClaiming(16_000, 16_000), "E_IMAGE_PIXELS");
    await expectRefusal(pngClaiming(2_000_000_000, 2_000_000_000), "E_IMAGE_PIXELS");
    const gif = Buffer.from("474946383961ffffffff00000021f90400000000002c00000000ffffffff00020000003b", "hex");
    const { status, body } = await predictForm(service, gif);
    expect([status, body.error.code]).toEqual([413, "E_IMAGE_PIXELS"]);
  });

  it("a PNG whose text unpacks to a gigabyte is not unpacked for it", async () => {
    const before = process.memoryUsage().rss;
    const text = Buffer.concat([Buffer.from("Comment\0\0", "latin1"), deflateSync(Buffer.alloc(256 << 20), { level: 1 })]);
    const whole = await png().toBuffer();
    const chunk = pngChunk("zTXt", text);
    const picture = Buffer.concat([whole.subarray(0, 33), chunk, whole.subarray(33)]);
    const { status, body } = await predictForm(service, picture);
    expect(status === 200 || body.error.code === "E_IMAGE_CORRUPT").toBe(true);
    expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
  });

  it("20 MB", async () => await expectRefusal(Buffer.alloc(20_000_000, upright), "E_IMAGE_BYTES"));
});

function pngChunk(type: string, data: Buffer): Buffer {
  // The checksum is left wrong: a decoder that believes it must not unpack the text either.
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  return Buffer.concat([length, Buffer.from(type, "latin1"), data, Buffer.alloc(4)]);
}
