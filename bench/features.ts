/**
 * How fast `serval train` computes the features of a backbone, against onnxruntime alone on the same graph, batch and threads:
 *
 *     npm run bench:features -- PROJECT [--split test] [--rounds N]
 *
 * PROJECT is a working folder with data/processed. Each round computes the features of the split as training does, into an empty cache, and runs
 * the same graph as many times on one batch that lies in memory.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { encodeFeatureModel } from "../src/backbones/feature-model.ts";
import { loadBackbone } from "../src/backbones/load-backbone.ts";
import { openShards } from "../src/data/shards.ts";
import { onnxruntime } from "../src/runtime/onnxruntime.ts";
import { readCentered } from "../src/train/batches/batches.ts";
import { featureBatchSize, loadFeatures } from "../src/train/head/cached-features.ts";
import { printReport, summarize } from "./report.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    split: { type: "string", default: "test" },
    backbone: { type: "string", default: "efficientnet-lite0" },
    side: { type: "string", default: "224" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
  },
});
const project = resolve(positionals[0] ?? ".");
const split = values.split === "val" || values.split === "train" ? values.split : "test";
const [side, threads, rounds] = [Number(values.side), Number(values.threads), Number(values.rounds)];
const shards = await openShards(join(project, "data/processed"));
const backbone = await loadBackbone(values.backbone, project);
const { count } = shards.splits[split];
const session = await onnxruntime.createSession(encodeFeatureModel(backbone, side), { threads });
const data = readCentered(shards, split, 0, featureBatchSize, { width: side, height: side });
const images = { dtype: "uint8", shape: [featureBatchSize, side, side, 3], data } as const;

async function ratesOfRound(): Promise<{ serval: number; onnxruntime: number }> {
  const cacheDir = await mkdtemp(join(tmpdir(), "serval-features-"));
  try {
    const started = performance.now();
    await loadFeatures({ engine: onnxruntime, backbone, shards, split, side, threads, cacheDir, onProgress: () => undefined });
    const middle = performance.now();
    for (let done = 0; done < count; done += featureBatchSize) await session.run({ images }, {}, ["embedding"]);
    const ended = performance.now();
    return { serval: (1000 * count) / (middle - started), onnxruntime: (1000 * count) / (ended - middle) };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

await session.run({ images }, {}, ["embedding"]);
const results = [];
for (let round = 0; round < rounds; round++) results.push(await ratesOfRound());
await session.close();
shards.close();
const ratio = summarize(results.map(({ serval, onnxruntime: alone }) => serval / alone));
printReport(
  `Features of ${count} pictures, ${backbone.record.name}, ${side} px, ${threads} threads (images per second)`,
  ["round", "serval", "onnxruntime alone", "ratio"],
  results.map(({ serval, onnxruntime: alone }, round) => [
    String(round + 1),
    serval.toFixed(1),
    alone.toFixed(1),
    (serval / alone).toFixed(3),
  ]),
  { ratio: ratio.median, rounds: results },
);
