import { readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { defaultImageLimits } from "../../src/image/check-image.ts";
import { inspectImage } from "../../src/image/inspect-image.ts";
import { preprocessImage } from "../../src/image/preprocess-image.ts";
import { gammaProfile, plainPng, type PlainPng } from "../helpers/deep-png.ts";

async function decode(bytes: Uint8Array, width: number, height: number): Promise<number[]> {
  const preprocess = { orient: true, width, height, fit: "squash", kernel: "nearest", crop: null } as const;
  return [...(await preprocessImage(bytes, preprocess, defaultImageLimits))];
}

function expectNear(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  const farthest = Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!)));
  expect(farthest, `${actual.join(" ")} for ${expected.join(" ")}`).toBeLessThanOrEqual(1);
}

test("png16-profile: 16 bits with an sRGB profile have the patches that they show, within 1", async () => {
  const bytes = await readFile(join(import.meta.dirname, "../fixtures/cases/png16-profile/rgb16_srgb.png"));
  const pixels = await decode(bytes, 96, 64);
  const seen = new Set(Array.from({ length: 96 * 64 }, (_, i) => pixels.slice(3 * i, 3 * i + 3).join(",")));
  const near = (wanted: readonly number[]): boolean =>
    [...seen].some((colour) => colour.split(",").every((value, c) => Math.abs(Number(value) - wanted[c]!) <= 1));
  expect([near([220, 30, 30]), near([30, 160, 60])]).toEqual([true, true]);
});

async function profileOf(name: "srgb" | "p3"): Promise<Buffer> {
  const created = sharp({ create: { width: 8, height: 8, channels: 3, background: "#888" } }).withIccProfile(name);
  return (await sharp(await created.png().toBuffer()).metadata()).icc!;
}

const colours = [220, 30, 30, 30, 160, 60, 10, 20, 200, 128, 128, 128];
const withAlpha = [220, 30, 30, 255, 30, 160, 60, 255, 10, 20, 200, 128, 128, 128, 128, 0];

test.each<[string, PlainPng["channels"], number[], () => Promise<Buffer> | Buffer]>([
  ["sRGB", 3, colours, () => profileOf("srgb")],
  ["Display P3", 3, colours, () => profileOf("p3")],
  ["a gamma of 1", 3, colours, () => gammaProfile("RGB ", 1)],
  ["a gamma of 1.8 and alpha", 4, withAlpha, () => gammaProfile("RGB ", 1.8)],
  ["Display P3 and alpha", 4, withAlpha, () => profileOf("p3")],
  ["gray and a gamma of 1", 1, [20, 100, 180, 250], () => gammaProfile("GRAY", 1)],
  ["gray, alpha and a gamma of 2.2", 2, [20, 255, 100, 255, 180, 128, 250, 0], () => gammaProfile("GRAY", 2.2)],
  ["gray and a profile of colours", 1, [20, 100, 180, 250], () => profileOf("p3")],
])("png16-profile, relative: 16 bits decode as the same picture of 8 bits: %s", async (_what, channels, values, profile) => {
  const row = { width: 4, height: 1, channels, values, profile: await profile() };
  expectNear(await decode(plainPng({ ...row, depth: 16 }), 4, 1), await decode(plainPng({ ...row, depth: 8 }), 4, 1));
});

test("png16-profile, relative: the hash of near duplicates is that of 8 bits, for large pictures as well", async () => {
  const [width, height] = [1200, 800];
  const values = Array.from({ length: width * height * 3 }, (_, i) => (i % 3 === 0 ? (i / 7200) & 255 : (i / 30) & 255));
  const profile = gammaProfile("RGB ", 1);
  const [deep, plain] = await Promise.all(
    ([16, 8] as const).map(async (depth) =>
      inspectImage(plainPng({ width, height, channels: 3, depth, values, profile }), defaultImageLimits),
    ),
  );
  expect(deep).toEqual(plain);
});
