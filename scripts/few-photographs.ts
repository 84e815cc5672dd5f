/**
 * How accurate a classifier on the shipped backbone is with few photographs: for each number of photographs a class, five draws from the
 * training split, each trained as `serval train` does it and measured on another split.
 *
 *     npm run long:few-photographs -- PROJECT [--split val|test] [--perClass 10,50,200,1000] [--draws 5] [--strategy head|finetune]
 *       [--set KEY=VALUE …] [--peer PYTHON]
 *
 * PROJECT is a working folder whose data/processed has pictures of 224x224 pixels. Features are computed once and kept in its .serval.
 * Look at the test split once, for the table in docs. With --strategy finetune all layers learn, which takes minutes a draw; --set is that
 * of `serval train`. With --peer, a Python that has scikit-learn, its logistic regression is fitted to
 * the same features of the same draws, its penalty by cross-validation as well.
 */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { loadBackbone } from "../src/backbones/load-backbone.ts";
import { loadParams } from "../src/config/params.ts";
import { indexName, readShardIndex, type ShardIndex } from "../src/data/shard-index.ts";
import { openShards, type Shards } from "../src/data/shards.ts";
import { evaluateBundle } from "../src/evaluate/evaluate.ts";
import { sha256 } from "../src/files.ts";
import { loadBundle } from "../src/model/bundle.ts";
import { shardsDir } from "../src/paths.ts";
import { trainModel } from "../src/workflows/model/train-model.ts";
import { computeMetrics, type Metrics } from "../src/evaluate/metrics.ts";
import { Random } from "../src/random.ts";
import { startInference } from "../src/runtime/inference.ts";
import { onnxruntime } from "../src/runtime/onnxruntime.ts";
import { loadHeadFeatures } from "../src/train/head/cached-features.ts";
import { selectRows, type Features } from "../src/train/head/features.ts";
import { fitHead } from "../src/train/head/fit-head.ts";
import { classify } from "../src/train/head/logistic-regression.ts";
import { softenedProbabilities } from "../src/evaluate/temperature.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    split: { type: "string", default: "val" },
    perClass: { type: "string", default: "10,50,200,1000" },
    draws: { type: "string", default: "5" },
    strategy: { type: "string", default: "head" },
    set: { type: "string", multiple: true, default: [] },
    backbone: { type: "string", default: "efficientnet-lite0" },
    side: { type: "string", default: "224" },
    threads: { type: "string", default: "2" },
    peer: { type: "string" },
  },
});
const [project = "."] = positionals;
const draws = Number(values.draws);
const split = values.split === "test" ? "test" : "val";
const threads = Number(values.threads);
const shards = await openShards(join(resolve(project), "data/processed"));
const backbone = await loadBackbone(values.backbone, resolve(project));
const cacheDir = join(resolve(project), ".serval/features");
const classes = shards.labels.length;

async function featuresOf(part: "train" | "val" | "test"): Promise<Features> {
  let shown = 0;
  return await loadHeadFeatures({
    engine: onnxruntime,
    backbone,
    shards,
    split: part,
    side: Number(values.side),
    threads,
    cacheDir,
    onProgress(rows, count) {
      if (rows - shown < 2000 && rows < count) return;
      shown = rows;
      process.stderr.write(`features of ${part}: ${rows} of ${count}\n`);
    },
  });
}

const none: Features = { rows: 0, width: 0, values: new Float32Array() };
const isHead = values.strategy === "head";
const [train, held] = isHead ? [await featuresOf("train"), await featuresOf(split)] : [none, none];

console.log(
  `| photographs a class | accuracy on ${split} (${shards.splits[split].count}), mean of ${draws} draws | lowest | highest | loss | seconds |`,
);
console.log("|---:|---:|---:|---:|---:|---:|");
for (const text of [...values.perClass.split(","), "all"]) {
  const perClass = text === "all" ? Infinity : Number(text);
  const results: Metrics[] = [];
  const peers: number[] = [];
  const startedAt = performance.now();
  const count = text === "all" ? 1 : draws;
  for (let draw = 0; draw < count; draw++) {
    const rows = drawRows(shards, perClass, draw);
    if (!isHead) {
      results.push(await fineTune(rows, draw));
      continue;
    }
    const features = selectRows(train, rows);
    const truth = rows.map((row) => shards.splits.train.classIndex[row] as number);
    const head = await fitHead({ engine: onnxruntime, features, truth, classes, seed: draw, threads, onProgress: () => undefined });
    process.stderr.write(
      `${text}: penalty ${head.penalty}; ${head.tried.map(({ penalty, loss }) => `${penalty} ${loss.toFixed(4)}`).join(", ")}\n`,
    );
    if (values.peer !== undefined) peers.push(await accuracyOfPeer(values.peer, features, truth));
    const logits = classify(held, { weight: Float64Array.from(head.weight), bias: Float64Array.from(head.bias) });
    results.push(computeMetrics(shards.labels, shards.splits[split].classIndex, softenedProbabilities(logits, classes, 1)));
  }
  const seconds = (performance.now() - startedAt) / 1000 / count;
  const accuracies = results.map(({ accuracy }) => accuracy);
  const mean = (numbers: readonly number[]): number => numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const cells = [mean(accuracies), Math.min(...accuracies), Math.max(...accuracies)].map((share) => `${(100 * share).toFixed(2)} %`);
  console.log(`| ${text} | ${cells.join(" | ")} | ${mean(results.map(({ loss }) => loss)).toFixed(4)} | ${seconds.toFixed(1)} |`);
  if (peers.length > 0) console.log(`| ${text}, scikit-learn | ${(100 * mean(peers)).toFixed(2)} % | | | | |`);
}
shards.close();

/** Trains on these rows as `serval train` does, with the project's parameters, and measures the best model. */
async function fineTune(rows: readonly number[], draw: number): Promise<Metrics> {
  const cwd = await mkdtemp(join(tmpdir(), "serval-few-"));
  try {
    await writeRows(rows, join(cwd, shardsDir));
    const sets = ["train.strategy=finetune", `train.backbone=${values.backbone}`, `train.seed=${draw}`, ...values.set];
    const { best, averages } = await trainModel({ cwd, params: await loadParams(resolve(project), sets), tracking: null });
    process.stderr.write(`${rows.length} photographs, draw ${draw}: ${JSON.stringify(averages)}\n`);
    const bundle = await loadBundle(join(cwd, best.dir));
    const { width, height } = bundle.manifest.preprocess.crop ?? bundle.manifest.preprocess;
    const inference = await startInference(bundle.model, { imageShape: [height, width], threads });
    try {
      return (await evaluateBundle({ bundle, inference, shards, split })).metrics;
    } finally {
      await inference.close();
    }
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

/** The project's prepared pictures with these rows as their training split, and nothing in the test split. */
async function writeRows(rows: readonly number[], dir: string): Promise<void> {
  const from = join(resolve(project), shardsDir);
  const index = await readShardIndex(from);
  const name = "train-00000.bin";
  const bytes = shards.width * shards.height * 3;
  const drawn = Buffer.alloc(rows.length * bytes);
  rows.forEach((row, k) => shards.readRow("train", row, drawn, k * bytes));
  const train = {
    files: [{ name, rows: rows.length, sha256: sha256(drawn) }],
    rows: rows.map((row) => index.splits.train.rows[row] as ShardIndex["splits"]["train"]["rows"][number]),
  };
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, name), drawn);
  for (const file of index.splits.val.files) await symlink(join(from, file.name), join(dir, file.name));
  await writeFile(
    join(dir, indexName),
    JSON.stringify({ ...index, splits: { train, val: index.splits.val, test: { files: [], rows: [] } } }),
  );
}

/** scikit-learn's accuracy on the held-out split after a fit to the same features. */
async function accuracyOfPeer(python: string, features: Features, truth: readonly number[]): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "serval-few-"));
  try {
    const files: readonly (readonly [string, Float32Array | Int32Array])[] = [
      ["x", features.values],
      ["y", Int32Array.from(truth)],
      ["held-x", held.values],
      ["held-y", Int32Array.from(shards.splits[split].classIndex)],
    ];
    for (const [name, { buffer, byteOffset, byteLength }] of files) {
      await writeFile(join(folder, name), new Uint8Array(buffer, byteOffset, byteLength));
    }
    const script = join(import.meta.dirname, "../bench/peers/logistic_regression.py");
    return Number(execFileSync(python, [script, folder, String(features.width)], { encoding: "utf8" }));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Rows of the training split: `perClass` of each class, or all there are. */
function drawRows({ splits, labels }: Shards, perClass: number, draw: number): number[] {
  const order = [...new Random(draw, 77).permutation(splits.train.count)];
  return labels
    .flatMap((_, label) => order.filter((row) => splits.train.classIndex[row] === label).slice(0, perClass))
    .sort((a, b) => a - b);
}
