import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openShards } from "../../src/data/shards.ts";
import { centerCrop } from "../../src/image/preprocess.ts";
import { loadBundle, type Bundle } from "../../src/model/bundle.ts";
import { startInference, type InferenceResult } from "../../src/runtime/inference.ts";
import { trainPatterns } from "../helpers/pattern-project.ts";
import { python } from "./python.ts";

/** Python and we add up the same numbers in another order. */
const tolerance = 1e-4;

let dir: string;
let bundle: Bundle;
let ours: InferenceResult;
let peerArgs: string[];

async function runPeer<Answer>(script: string, file: string): Promise<Answer> {
  const args = [join(import.meta.dirname, script), join(bundle.dir, file), ...peerArgs];
  const { stdout } = await promisify(execFile)(python, args, { maxBuffer: 1 << 26 }).catch((error: Error & { stderr?: string }) => {
    throw new Error(`${python} ${script} failed. Does it have tests/interop/requirements.txt installed?\n${error.stderr ?? error.message}`);
  });
  return JSON.parse(stdout) as Answer;
}

function largestDifference(theirs: readonly (readonly number[])[], own: Float32Array): number {
  const flat = theirs.flat();
  expect(flat).toHaveLength(own.length);
  return Math.max(...flat.map((value, i) => Math.abs(value - (own[i] ?? Number.NaN))));
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-interop-"));
  await trainPatterns(dir, 6);
  bundle = await loadBundle(join(dir, "artifacts/best"));
  const { width, height, crop } = bundle.manifest.preprocess;
  const size = crop ?? { width, height };
  const shards = await openShards(join(dir, "data/processed"));
  const { count } = shards.splits.train;
  const pixels = new Uint8Array(count * size.width * size.height * 3);
  const row = new Uint8Array(width * height * 3);
  for (let i = 0; i < count; i++) {
    shards.readRow("train", i, row, 0);
    pixels.set(centerCrop(row, { width, height }, size), i * size.width * size.height * 3);
  }
  shards.close();
  await writeFile(join(dir, "images.bin"), pixels);
  peerArgs = [join(dir, "images.bin"), String(count), String(size.height), String(size.width)];
  const inference = await startInference(bundle.model, { imageShape: [size.height, size.width] });
  ours = await inference.run(pixels, count, { features: true });
  await inference.close();
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe("a trained bundle", () => {
  test("is a valid model of standard operators for onnx.checker, and gives the same numbers in onnxruntime for Python", async () => {
    const theirs = await runPeer<{
      checker: string;
      domains: string[];
      inputs: unknown[];
      outputs: string[];
      logits: number[][];
      probabilities: number[][];
      features_shape: number[];
    }>("onnx_peer.py", "model.onnx");
    expect(theirs.checker).toBe("passed");
    expect(theirs.domains).toEqual([""]);
    expect(theirs.inputs).toEqual([["images", "tensor(uint8)", ["N", 48, 48, 3]]]);
    expect(theirs.outputs).toEqual(["logits", "probabilities", "features"]);
    expect(largestDifference(theirs.logits, ours.logits)).toBeLessThan(tolerance);
    expect(largestDifference(theirs.probabilities, ours.probabilities)).toBeLessThan(tolerance);
    expect(theirs.features_shape).toEqual([Number(peerArgs[1]), 32, 3, 3]);
  });

  test("has weights that load into the same network in PyTorch, and give the same logits", async () => {
    const theirs = await runPeer<{ channels: number[]; metadata: Record<string, string>; logits: number[][] }>(
      "torch_peer.py",
      "weights.safetensors",
    );
    expect(theirs.channels).toEqual([16, 16, 32, 32]);
    expect(JSON.parse(theirs.metadata["labels"] ?? "")).toEqual(bundle.manifest.labels);
    expect(largestDifference(theirs.logits, ours.logits)).toBeLessThan(tolerance);
  });

  test("gives logits that tell the classes apart, so that equal numbers mean something", async () => {
    const spread = Math.max(...ours.logits) - Math.min(...ours.logits);
    expect(spread).toBeGreaterThan(2);
    expect(ours.logits.every(Number.isFinite)).toBe(true);
    const params = await readFile(join(dir, "params.yaml"), "utf8");
    expect(params).toContain("epochs: 6");
  });
});
