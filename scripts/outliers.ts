/**
 * How well pictures are told from those that a model learned from: `npm run long:outliers -- PROJECT [MODEL]`, where PROJECT is a folder
 * with data/processed and MODEL a bundle that was trained on that data (default: models/cats-dogs). Draws pictures that show nothing of
 * what the model was taught (documents, screenshots, textures, noise, scenes), fits each score on training pictures, and prints for each
 * the area under the ROC curve against the validation split and the share that would be answered at the threshold that keeps 98 % of
 * that split. Then what the score costs. `--own` takes the bundle's own score and reference instead, in less than a minute. The table of docs/notes/outliers.md; about five minutes.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openShards } from "../src/data/shards.ts";
import { rocAuc } from "../src/evaluate/roc.ts";
import { answerRows, readReading } from "../src/export/answer-rows.ts";
import { evenlySpaced, keepingThreshold } from "../src/export/fit-feature-space.ts";
import { defaultImageLimits } from "../src/image/check-image.ts";
import { preprocessImage } from "../src/image/preprocess-image.ts";
import { loadBundle, weightsFile } from "../src/model/bundle.ts";
import {
  embeddingSize,
  placeInSpace,
  poolFeatures,
  randomSigns,
  readFeatureSpace,
  readReferencePlaces,
  scoreOutlier,
  unitRows,
} from "../src/model/feature-space.ts";
import { parseSafetensors } from "../src/model/safetensors.ts";
import { Random } from "../src/random.ts";
import { startInference } from "../src/runtime/inference.ts";
import { farKinds, nearKinds } from "./outliers/far-pictures.ts";
import { fitScores, type NamedScore } from "./outliers/scores.ts";

const root = join(import.meta.dirname, "..");
const { values, positionals } = parseArgs({
  options: {
    each: { type: "string", default: "100" },
    train: { type: "string", default: "2000" },
    seed: { type: "string", default: "1" },
    own: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const [project = ".", modelDir = join(root, "models", "cats-dogs")] = positionals;
const [each, trainCount, seed] = [Number(values.each), Number(values.train), Number(values.seed)];

const shards = await openShards(join(project, "data", "processed"));
const bundle = await loadBundle(modelDir);
const { preprocess, labels } = bundle.manifest;
const size = preprocess.crop ?? preprocess;
const inference = await startInference(bundle.model, { imageShape: [size.height, size.width] });
const reading = readReading(bundle.model, parseSafetensors(await readFile(join(bundle.dir, weightsFile))).metadata["embedding"]);
if (reading === undefined) throw new Error(`${modelDir} does not say how many features it has.`);
const { channels, pooling } = reading;

console.log(`Model ${bundle.manifest.name} ${bundle.digest.slice(0, 12)}; features of pictures are computed.`);
interface Kind {
  readonly name: string;
  readonly far: boolean;
  readonly rows: { readonly features: Float32Array; readonly logits: Float32Array };
}
const kinds: Kind[] = [];
for (const [far, drawers] of [
  [true, farKinds],
  [false, nearKinds],
] as const) {
  for (const [name, draw] of Object.entries(drawers)) kinds.push({ name, far, rows: await drawnRows(draw, kinds.length) });
}

const scores = values.own ? await readOwnScore() : await fitAllScores();
console.log(`\n${scores[0]?.validation.length} validation pictures, ${each} drawn pictures of each kind, seed ${seed}.`);
console.log(`AUROC, and the share that is answered at the threshold that keeps 98 % of the validation pictures.\n`);
console.log(`| score | all far | ${kinds.map(({ name }) => name).join(" | ")} |`);
console.log(`|---|---:|${kinds.map(() => "---:|").join("")}`);
for (const { name, score, validation: own, threshold } of scores) {
  const cell = (others: readonly number[]): string => {
    const area = rocAuc([...own, ...others], [...own.map(() => false), ...others.map(() => true)]) ?? NaN;
    const answered = others.filter((one) => one <= threshold).length / others.length;
    return `${area.toFixed(4)}, ${(100 * answered).toFixed(1)} %`;
  };
  const of = kinds.map(({ rows, far }) => ({ far, scores: scoreAll(score, rows) }));
  console.log(
    `| ${name} | ${cell(of.filter(({ far }) => far).flatMap((kind) => kind.scores))} | ${of.map((kind) => cell(kind.scores)).join(" | ")} |`,
  );
}
await timeScore();
await inference.close();
shards.close();

interface ComparedScore extends NamedScore {
  /** Of the validation pictures. */
  readonly validation: readonly number[];
  readonly threshold: number;
}

async function fitAllScores(): Promise<ComparedScore[]> {
  const ask = { inference, shards, size, reading };
  const rows = evenlySpaced(shards.splits.train.count, trainCount);
  const train = await answerRows({ ...ask, split: "train", rows });
  const validation = await answerRows({ ...ask, split: "val" });
  const classIndex = rows.map((row) => shards.splits.train.classIndex[row] as number);
  const fitted = fitScores({ channels, classes: labels.length, train: train.features, logits: train.logits, classIndex });
  return fitted.map(({ name, score }) => {
    const scored = scoreAll(score, validation);
    return { name, score, validation: scored, threshold: keepingThreshold(scored, 0.98) };
  });
}

async function readOwnScore(): Promise<ComparedScore[]> {
  const [space, places] = await Promise.all([readFeatureSpace(bundle), readReferencePlaces(bundle)]);
  const outliers = space?.outliers;
  if (!outliers || !places) throw new Error(`${modelDir} has no score.`);
  const score = (row: Float32Array): number => scoreOutlier(outliers, row);
  return [{ name: "the bundle's own", score, validation: [...places.outlierScores], threshold: outliers.threshold }];
}

async function drawnRows(draw: (random: Random, index: number) => Promise<Uint8Array>, kind: number): Promise<Kind["rows"]> {
  const features = new Float32Array(each * channels);
  const logits = new Float32Array(each * labels.length);
  for (let i = 0; i < each; i++) {
    const pixels = await preprocessImage(await draw(new Random(seed, 1000 * kind + i), i), preprocess, defaultImageLimits);
    const answer = await inference.run(pixels, 1, { features: true });
    features.set(poolFeatures(answer.features ?? new Float32Array(), channels, pooling), i * channels);
    logits.set(answer.logits, i * labels.length);
  }
  return { features, logits };
}

function scoreAll(score: (row: Float32Array, logits: Float32Array) => number, { features, logits }: Kind["rows"]): number[] {
  const k = labels.length;
  return Array.from({ length: logits.length / k }, (_, i) =>
    score(features.subarray(i * channels, (i + 1) * channels), logits.subarray(i * k, (i + 1) * k)),
  );
}

/** What a service does for each picture beyond the model, against the model and the decoding of a photograph. */
async function timeScore(): Promise<void> {
  const one = await startInference(bundle.model, { imageShape: [size.height, size.width], threads: 1 });
  const pixels = new Uint8Array(size.width * size.height * 3);
  shards.readRow("val", 0, pixels, 0);
  const { features = new Float32Array() } = await one.run(pixels, 1, { features: true });
  const random = new Random(1);
  const training = Float32Array.from({ length: 500 * channels }, () => random.uniform());
  const outliers = { neighbours: unitRows(training, channels), k: 5, threshold: 0 };
  const space = { channels, pooling, centre: new Float32Array(channels), signs: randomSigns(1, channels), scale: embeddingSize, outliers };
  const [plain, mapped, placed]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < 200; i++) {
    plain.push((await one.run(pixels, 1)).durationMs);
    mapped.push((await one.run(pixels, 1, { features: true })).durationMs);
    const startedAt = performance.now();
    placeInSpace(space, features);
    placed.push(performance.now() - startedAt);
  }
  await one.close();
  const quartile = (times: number[]): number => times.sort((a, b) => a - b)[times.length / 4] as number;
  const [model, withMaps, place] = [quartile(plain), quartile(mapped), quartile(placed)];
  const share = (100 * (withMaps - model + place)) / model;
  console.log(
    `\nOne thread, lower quartile of 200: the model ${model.toFixed(2)} ms, with its features ${withMaps.toFixed(2)} ms, score and ` +
      `embedding ${place.toFixed(2)} ms: ${share.toFixed(1)} % of the model's time.`,
  );
}
