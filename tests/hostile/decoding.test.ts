import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { brokenPromises, probeWhile } from "../helpers/live-probe.ts";
import { checkImage } from "../../src/image/check-image.ts";
import { preprocessHere } from "../../src/image/preprocess.ts";
import { blackPng, gifOfFrames, jpeg, jpegOfScans, noise, jpegSegment, pngChunk, repeated, webpOfFrames } from "../helpers/pictures.ts";
import { readReply, type JsonReply } from "../helpers/service.ts";
import { runServal, startServal, type ProcessResult, type ServalProcess } from "../helpers/serval-process.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

let folder: string;
let serving: ServalProcess;
let url: string;
let good: Buffer;
/** The longest that a good picture takes without an attack: on a busy machine it may be long. */
let aloneMs: number;
const measured: Record<string, object> = {};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "serval-decoding-"));
  await writeTinyBundle(join(folder, "bundle"));
  good = await colourPicture("red", 1);
  serving = startServal(folder, ["serve", "--port", "0", "--model", join(folder, "bundle")], {
    // Far less than the default, so that the test does not take as much longer.
    SERVAL_MAX_DECODE_MS: "300",
    SERVAL_WORKERS: "2",
  });
  url = await serving.address();
  const alone = await stream(delay(1000));
  aloneMs = Math.max(...alone.map(({ ms }) => ms));
});
afterAll(async () => {
  const { code }: ProcessResult = await serving.stop();
  await rm(folder, { recursive: true });
  console.table(measured);
  expect(code).toBe(0);
});

async function predict(picture: Uint8Array): Promise<JsonReply> {
  const init = { method: "POST", body: picture as Uint8Array<ArrayBuffer>, headers: { "content-type": "application/octet-stream" } };
  return await readReply(await fetch(`${url}/predict`, init));
}

/** Sends good pictures until `end`, twenty in a second, whatever becomes of those before. */
async function stream(end: Promise<unknown>): Promise<{ status: number; ms: number }[]> {
  const ended = new AbortController();
  void end.finally(() => ended.abort());
  const replies: Promise<{ status: number; ms: number }>[] = [];
  while (!ended.signal.aborted) {
    const sentAt = performance.now();
    replies.push(predict(good).then(({ status }) => ({ status, ms: performance.now() - sentAt })));
    await delay(50);
  }
  return await Promise.all(replies);
}

const inJpeg = async (segments: Buffer): Promise<Buffer> => {
  const bytes = await jpeg("attack");
  return Buffer.concat([bytes.subarray(0, 2), segments, bytes.subarray(2)]);
};
const flat = (width: number, height: number): ReturnType<typeof sharp> =>
  sharp({ create: { width, height, channels: 3, background: "#806040" } });
const text = (): Buffer => pngChunk("zTXt", Buffer.concat([Buffer.from("Comment\0\0"), deflateSync(Buffer.alloc(7_000_000))]));

/** By the header, and answered at once. */
const refused: readonly [name: string, make: () => Promise<Buffer> | Buffer, code: string][] = [
  ["PNG of 1 x 60,000,000", () => blackPng({ width: 1, height: 60_000_000, colour: 0 }), "E_IMAGE_PIXELS"],
  [
    "interlaced PNG of 5,000 x 12,000 with 16 bits and alpha",
    () => blackPng({ width: 5000, height: 12_000, depth: 16, colour: 6, interlaced: true }),
    "E_IMAGE_PIXELS",
  ],
  ["GIF of a million frames", () => gifOfFrames(1_000_000), "E_IMAGE_FRAMES"],
  ["WebP of 300,000 frames", () => webpOfFrames(300_000), "E_IMAGE_FRAMES"],
];

/** Within all limits: they are decoded as far as the time allows. */
const slow: readonly [name: string, make: () => Promise<Buffer> | Buffer][] = [
  ["progressive JPEG of 2,600 scans, 8,000 x 8,000", () => jpegOfScans(8000, 8000, 2600)],
  ["progressive JPEG of 2,600 scans, 1,200 x 1,200", () => jpegOfScans(1200, 1200, 2600)],
  ["JPEG with 3,500,000 markers", () => inJpeg(repeated(jpegSegment(0xed, Buffer.alloc(0)), 3_500_000))],
  ["interlaced PNG of 8,000 x 8,000", () => blackPng({ width: 8000, height: 8000, interlaced: true })],
  ["PNG with 1,500 texts that unpack to 7 MB each", () => blackPng({ width: 9, height: 9, chunks: repeated(text(), 1500) })],
  ["GIF of 5,000 x 5,000", () => flat(5000, 5000).gif({ effort: 1 }).toBuffer()],
  ["GIF of 10,000 frames", () => gifOfFrames(10_000)],
  ["lossless WebP of 16,383 x 3,900", () => flat(16_383, 3900).webp({ lossless: true, effort: 0 }).toBuffer()],
];

/** What is measured on a busy machine is sometimes what the others do. */
const measuring = { retry: 2 };

/** Six at once, and good ones meanwhile. */
async function attack(name: string, picture: Buffer): Promise<string[]> {
  const probe = await probeWhile({ url: `${url}/health/live`, pid: serving.child.pid }, async () => {
    const bad = Promise.all(Array.from({ length: 6 }, async () => await predict(picture)));
    return await Promise.all([bad, stream(bad)]);
  });
  const [bad, goods] = probe.result;
  const codes = bad.map(({ status, body }) => (status === 200 ? "answered" : (body.error.code as string)));
  const longest = Math.max(...goods.map(({ ms }) => ms));
  measured[name] = {
    codes: [...new Set(codes)].join(),
    "good max ms": Math.round(longest),
    "live p99": probe.waits.p99,
    "live max": probe.waits.max,
  };
  expect(goods.filter(({ status }) => status !== 200)).toEqual([]);
  expect(longest).toBeLessThan(1000 + 3 * aloneMs);
  expect(brokenPromises(probe)).toEqual([]);
  return codes;
}

describe("six pictures that cost minutes, and good ones meanwhile", () => {
  it.each(refused)("%s", measuring, async (name, make, code) => {
    expect(new Set(await attack(name, await make()))).toEqual(new Set([code]));
  });

  it.each(slow)("%s", measuring, async (name, make) => {
    const codes = await attack(name, await make());
    // A request that waited too long behind the others gets that as the reason.
    for (const code of codes) expect(["answered", "E_IMAGE_COST", "E_PREDICTION_TIMEOUT"]).toContain(code);
  });

  it("are counted, and the service is ready after them", async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const count = (name: string): number => Number(new RegExp(`^${RegExp.escape(name)} (\\d+)$`, "m").exec(metrics)?.[1]);
    expect(count('serval_decoder_kills_total{reason="time"}')).toBeGreaterThan(0);
    expect(count("serval_decoder_starts_total")).toBeGreaterThan(count('serval_decoder_kills_total{reason="time"}'));
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    const { status, body } = await predict(good);
    expect([status, body.label]).toEqual([200, "red"]);
  });
});

it("a large picture that is good is answered and explained", async () => {
  const picture = await sharp({ create: { width: 7000, height: 7000, channels: 3, background: "#ff0000" } })
    .png()
    .toBuffer();
  const { status, body } = await predict(picture);
  expect([status, body.label]).toEqual([200, "red"]);
  const reply = await fetch(`${url}/explain?format=png`, {
    method: "POST",
    body: new Uint8Array(picture),
    headers: { "content-type": "image/png" },
  });
  expect([reply.status, reply.headers.get("content-type")]).toEqual([200, "image/png"]);
});

it("the command line refuses one as well, and answers the others", async () => {
  await writeFile(join(folder, "endless.jpg"), jpegOfScans(8000, 8000, 2600));
  await writeFile(join(folder, "good.png"), good);
  const { code, stdout } = await runServal(folder, ["predict", "--model", "bundle", "--json", "endless.jpg", "good.png"], {
    SERVAL_MAX_DECODE_MS: "200",
  });
  expect(code).toBe(3);
  expect(JSON.parse(stdout)).toMatchObject([
    { file: "endless.jpg", error: { code: "E_IMAGE_COST" } },
    { file: "good.png", label: "red" },
  ]);
});

describe("what a thread decodes itself is soon done, at its worst", () => {
  const limits = { maxBytes: 16 << 20, maxPixels: 64_000_000 };
  it.each<[name: string, make: () => Promise<Buffer> | Buffer]>([
    ["a wide JPEG that lies on its side", () => noise(32_500, 980).withMetadata({ orientation: 6 }).jpeg({ quality: 20 }).toBuffer()],
    [
      "a PNG of 16 bits with a profile",
      () => noise(1600, 1600).toColourspace("rgb16").withIccProfile("p3").png({ compressionLevel: 1 }).toBuffer(),
    ],
    ["a wide WebP with alpha", () => noise(16_383, 244, 4).webp({ effort: 0 }).toBuffer()],
    ["a progressive JPEG of 16 scans", () => jpegOfScans(1400, 1400, 16)],
    ["a GIF of 1,000 large frames", () => gifOfFrames(1000, 2000, 2000)],
    [
      "a PNG with 10,000 texts",
      () => blackPng({ width: 9, height: 9, chunks: repeated(pngChunk("tEXt", Buffer.from("Comment\0x")), 9_900) }),
    ],
  ])("%s", async (_name, make) => {
    const image = await make();
    expect(checkImage(image, limits).costly).toBe(false);
    const before = process.cpuUsage();
    await preprocessHere(image, { orient: true, width: 448, height: 448, fit: "squash", kernel: "lanczos3", crop: null }, limits);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(1000);
  });
});
