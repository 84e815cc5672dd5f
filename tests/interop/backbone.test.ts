import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadBackbone } from "../../src/backbones/load-backbone.ts";
import { openSource } from "../../src/data/sources/open-source.ts";
import { readEntry } from "../../src/data/sources/source.ts";
import { defaultImageLimits } from "../../src/image/check-image.ts";
import { preprocessImage } from "../../src/image/preprocess-image.ts";
import { parseSafetensors, safetensorNumbers } from "../../src/model/safetensors.ts";
import { efficientNetLite0 } from "../../src/nn/architectures/efficientnet-lite0.ts";
import { buildFeatureModel } from "../../src/nn/feature-model.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { onnxruntime } from "../../src/runtime/onnxruntime.ts";
import { python } from "./python.ts";

const root = join(import.meta.dirname, "../..");
const weightsPath = join(root, "models/backbones/efficientnet-lite0/weights.safetensors");
const [count, side, width] = [64, 224, 1280];

let dir: string;
/** uint8 [count, side, side, 3] */
let images: Uint8Array;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-backbone-"));
  images = await readPhotographs();
  await writeFile(join(dir, "images.bin"), images);
});
afterAll(async () => await rm(dir, { recursive: true, force: true }));

/** Every 300th photograph of the set, as the service would see it. */
async function readPhotographs(): Promise<Uint8Array> {
  const photographs = process.env["SERVAL_TEST_PHOTOS"];
  if (photographs === undefined) throw new Error("SERVAL_TEST_PHOTOS has to name a zip of photographs.");
  const preprocess = { orient: true, width: side, height: side, fit: "squash", kernel: "cubic", crop: null } as const;
  const rows: Uint8Array[] = [];
  const source = await openSource(photographs, { cwd: root });
  let k = 0;
  for await (const entry of source.entries()) {
    if (k++ % 300 !== 0) continue;
    const row = await preprocessImage(await readEntry(entry, defaultImageLimits.maxBytes), preprocess, defaultImageLimits).catch(
      () => undefined,
    );
    if (row) rows.push(row);
    if (rows.length === count) break;
  }
  await source.close();
  expect(rows).toHaveLength(count);
  return Buffer.concat(rows);
}

async function peer(...args: string[]): Promise<Float32Array> {
  const out = join(dir, "out.bin");
  await promisify(execFile)(python, [join(import.meta.dirname, "backbone_peer.py"), ...args, out], { maxBuffer: 1 << 24 });
  return new Float32Array(Uint8Array.from(await readFile(out)).buffer);
}

async function ours(weights: Readonly<Record<string, Float32Array>>, blockSize: number, rows = count): Promise<Float32Array> {
  const batch = 8;
  const model = buildFeatureModel(efficientNetLite0, weights, { height: side, width: side, blockSize, batch });
  const session = await onnxruntime.createSession(encodeModel(model));
  const result = new Float32Array(rows * width);
  const bytes = side * side * 3;
  for (let start = 0; start < rows; start += batch) {
    const data = images.subarray(start * bytes, (start + batch) * bytes);
    const outputs = await session.run({ images: { dtype: "uint8", shape: [batch, side, side, 3], data } }, {}, ["embedding"]);
    result.set(outputs["embedding"]?.data as Float32Array, start * width);
  }
  await session.close();
  return result;
}

/** The largest distance of two rows, as a share of the length of the expected one. */
function largestShare(actual: Float32Array, expected: Float32Array): number {
  expect(actual).toHaveLength(expected.length);
  let worst = 0;
  for (let row = 0; row < expected.length / width; row++) {
    let [distance, length] = [0, 0];
    for (let k = row * width; k < (row + 1) * width; k++) {
      distance += (actual[k]! - expected[k]!) ** 2;
      length += expected[k]! ** 2;
    }
    worst = Math.max(worst, Math.sqrt(distance / length));
  }
  return worst;
}

async function shippedWeights(): Promise<Readonly<Record<string, Float32Array>>> {
  const backbone = await loadBackbone("efficientnet-lite0", root);
  if (backbone.kind !== "network") throw new Error("The shipped backbone is not a network of ours.");
  return backbone.weights;
}

async function readWeights(path: string): Promise<Record<string, Float32Array>> {
  const { tensors } = parseSafetensors(await readFile(path));
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, safetensorNumbers(name, tensor)]));
}

describe("the shipped backbone, on 64 photographs", () => {
  test("gives the features of the PyTorch implementation with the same rounded weights, in both lowerings", async () => {
    const theirs = await peer("features", weightsPath, join(dir, "images.bin"), String(count), String(side));
    const weights = await shippedWeights();
    for (const blockSize of [0, await onnxruntime.probeBlockSize()])
      expect(largestShare(await ours(weights, blockSize), theirs)).toBeLessThan(1e-4);
  });

  test("differs from the published float32 weights by less than one percent", async () => {
    const theirs = await peer("published", join(dir, "images.bin"), String(count), String(side));
    const weights = await shippedWeights();
    const share = largestShare(await ours(weights, 0), theirs);
    expect(share).toBeLessThan(0.01);
    expect(share).toBeGreaterThan(1e-4);
  });
});

test("random weights that timm made load by timm's names, and give timm's features", async () => {
  const path = join(dir, "timm.safetensors");
  const theirs = await peer("timm", path, join(dir, "images.bin"), String(count), String(side));
  expect(largestShare(await ours(await readWeights(path), 0), theirs)).toBeLessThan(1e-4);
});
