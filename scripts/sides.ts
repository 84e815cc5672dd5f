/**
 * What the side of the pictures costs and brings: `npm run long:sides -- PROJECT [MODEL...] [--sides 128,160,192,224,256]`, where PROJECT
 * is a folder with data/raw and data/processed and MODEL a bundle with a backbone (default: models/cats-dogs). Prints each model's
 * accuracy on the validation split with pictures of each side, and how long one picture takes in one thread: the lower quartile of 200.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openShards } from "../src/data/shards.ts";
import { computeMetrics } from "../src/evaluate/metrics.ts";
import { softenedProbabilities } from "../src/evaluate/temperature.ts";
import { defaultImageLimits } from "../src/image/check-image.ts";
import { preprocessImage } from "../src/image/preprocess-image.ts";
import { loadBundle, weightsFile, type Bundle } from "../src/model/bundle.ts";
import { parseSafetensors, safetensorNumbers } from "../src/model/safetensors.ts";
import { BACKBONES, withClassifier } from "../src/nn/architectures/backbones.ts";
import { buildInferenceModel } from "../src/nn/inference-model.ts";
import { encodeModel } from "../src/onnx/encode.ts";
import { onnxruntime } from "../src/runtime/onnxruntime.ts";

const root = join(import.meta.dirname, "..");
const { values, positionals } = parseArgs({
  options: { sides: { type: "string", default: "128,160,192,224,256" } },
  allowPositionals: true,
});
const [project = ".", ...named] = positionals;
const models = named.length > 0 ? named : [join(root, "models/cats-dogs")];
const samples = 200;
const batchSize = 32;

const shards = await openShards(join(project, "data/processed"));
const { val } = shards.splits;
const paths = new Map<string, string>();
for (const line of (await readFile(join(project, "data/raw/manifest.jsonl"), "utf8")).trim().split("\n")) {
  const { path, sha256 } = JSON.parse(line) as { readonly path: string; readonly sha256: string };
  paths.set(sha256, join(project, "data/raw", path));
}

console.log("| model | side | validation accuracy | loss | ms a picture, one thread |");
console.log("|---|---:|---:|---:|---:|");
for (const dir of models) {
  const bundle = await loadBundle(dir);
  for (const side of values.sides.split(",").map(Number)) {
    const model = await modelOf(bundle, side);
    const { accuracy, loss } = await validate(bundle, model, side);
    console.log(`| ${dir} | ${side} | ${(100 * accuracy).toFixed(2)} % | ${loss.toFixed(4)} | ${(await time(model, side)).toFixed(1)} |`);
  }
}
shards.close();

/** The same weights for pictures of another side. */
async function modelOf({ dir, manifest }: Bundle, side: number): Promise<Uint8Array> {
  const { tensors, metadata } = parseSafetensors(await readFile(join(dir, weightsFile)));
  const backbone = BACKBONES[metadata["architecture"] ?? ""];
  if (!backbone) throw new Error(`${dir}: expected a model with one of the backbones ${Object.keys(BACKBONES).join(", ")}`);
  const weights = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, safetensorNumbers(name, tensor)]));
  const options = { channels: [], blocks: 0, classes: manifest.labels.length, height: side, width: side, temperature: 1 };
  return encodeModel(buildInferenceModel(withClassifier(backbone), weights, options));
}

async function validate(bundle: Bundle, model: Uint8Array, side: number): Promise<{ accuracy: number; loss: number }> {
  const session = await onnxruntime.createSession(model, { threads: 2 });
  const preprocess = { ...bundle.manifest.preprocess, width: side, height: side, crop: null };
  const logits = new Float32Array(val.count * shards.labels.length);
  for (let start = 0; start < val.count; start += batchSize) {
    const rows = val.sha256.slice(start, start + batchSize);
    const pixels = await Promise.all(
      rows.map(async (sha256) => await preprocessImage(await readFile(paths.get(sha256) as string), preprocess, defaultImageLimits)),
    );
    const data = new Uint8Array(rows.length * side ** 2 * 3);
    pixels.forEach((picture, k) => data.set(picture, k * side ** 2 * 3));
    const outputs = await session.run({ images: { dtype: "uint8", shape: [rows.length, side, side, 3], data } });
    logits.set(outputs["logits"]?.data as Float32Array, start * shards.labels.length);
  }
  await session.close();
  return computeMetrics(shards.labels, val.classIndex, softenedProbabilities(logits, shards.labels.length, 1));
}

/** Milliseconds of one picture in one thread, of which other work on the machine only adds to some. */
async function time(model: Uint8Array, side: number): Promise<number> {
  const session = await onnxruntime.createSession(model, { threads: 1 });
  const images = { dtype: "uint8", shape: [1, side, side, 3], data: new Uint8Array(side ** 2 * 3).fill(100) } as const;
  const taken: number[] = [];
  for (let k = 0; k < samples; k++) {
    const startedAt = performance.now();
    await session.run({ images });
    taken.push(performance.now() - startedAt);
  }
  await session.close();
  return taken.sort((a, b) => a - b)[samples / 4] as number;
}
