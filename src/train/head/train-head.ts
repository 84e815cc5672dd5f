import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { LoadedBackbone } from "../../backbones/load-backbone.ts";
import type { Shards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { writeFileAtomic } from "../../files.ts";
import type { Engine } from "../../runtime/engine.ts";
import { computeMetrics, type Metrics } from "../../evaluate/metrics.ts";
import { openResults, type EpochResult } from "../results.ts";
import { softenedProbabilities } from "../../evaluate/temperature.ts";
import type { TrainConfig, TrainOutcome } from "../train-job.ts";
import { loadHeadFeatures } from "./cached-features.ts";
import type { Features } from "./features.ts";
import { fitHead, type FittedHead } from "./fit-head.ts";
import { classify } from "./logistic-regression.ts";

export interface HeadJob {
  readonly config: Pick<TrainConfig, "cropSize" | "seed" | "threads">;
  readonly backbone: LoadedBackbone;
  readonly shards: Shards;
  /** Holds features between runs. */
  readonly cacheDir: string;
}

export type HeadEvent =
  | { readonly type: "features"; readonly split: "train" | "val"; readonly rows: number; readonly count: number }
  | { readonly type: "fit"; readonly share: number; readonly note: string };

/** A classifier on the features of a backbone that stays as it is. */
export interface TrainedHead {
  readonly head: FittedHead;
  /** Those of the backbone, where it is not an ONNX file, and of the classifier. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly result: EpochResult;
  readonly threads: number;
}

export interface HeadHooks {
  readonly onEvent: (event: HeadEvent) => void;
  /** Asked after every batch and every fit; true stops with E_INTERRUPTED. Features that are computed stay in the cache. */
  readonly shouldStop: () => boolean;
}

/** What the search for the penalty saw. */
const penaltiesFile = "penalties.json";

/** Checks that the prepared pictures fit the backbone. Throws E_PARAMS and E_TOO_FEW_IMAGES. */
export function checkHeadJob({ config, backbone, shards }: Pick<HeadJob, "config" | "backbone" | "shards">): void {
  const { name, sizeMultiple, side } = backbone.network;
  const { cropSize } = config;
  if (backbone.kind === "onnx" && cropSize !== side) {
    throw new ServalError("E_PARAMS", `train.cropSize: the backbone ${name} takes pictures of ${side}x${side} pixels; got ${cropSize}.`, {
      hint: `Set train.cropSize, prepare.width and prepare.height to ${side} in params.yaml, and run \`serval prepare\`.`,
    });
  }
  if (cropSize % sizeMultiple !== 0) {
    throw new ServalError(
      "E_PARAMS",
      `train.cropSize: the backbone ${name} takes pictures with sides that are a multiple of ${sizeMultiple} (it was trained with ${side}); got ${cropSize}.`,
    );
  }
  const smaller = Math.min(shards.width, shards.height);
  if (cropSize > smaller) {
    throw new ServalError(
      "E_PARAMS",
      `train.cropSize: the pictures in data/processed are ${shards.width}x${shards.height} pixels, and the backbone ${name} gets ${cropSize}x${cropSize} of them.`,
      { hint: `Set prepare.width and prepare.height to ${cropSize} in params.yaml, and run \`serval prepare\`.` },
    );
  }
  const { train, val } = shards.splits;
  if (train.count < 2 || val.count < 1) {
    throw new ServalError(
      "E_TOO_FEW_IMAGES",
      `There are ${train.count} training and ${val.count} validation pictures; expected at least 2 and 1.`,
    );
  }
}

/** Fits a classifier on the features of a backbone that stays as it is. The same job gives the same weights. */
export async function trainHead(engine: Engine, job: HeadJob, hooks: HeadHooks): Promise<TrainedHead> {
  const { config, backbone, shards } = job;
  checkHeadJob(job);
  const startedAt = performance.now();
  const threads = config.threads > 0 ? config.threads : availableParallelism();
  const train = await featuresOf("train", engine, job, hooks, threads);
  const val = await featuresOf("val", engine, job, hooks, threads);
  const featureSeconds = (performance.now() - startedAt) / 1000;
  const head = await fitHead({
    engine,
    features: train,
    truth: shards.splits.train.classIndex,
    classes: shards.labels.length,
    seed: config.seed,
    threads,
    onProgress: (share, note) => {
      stopIfAsked(hooks);
      hooks.onEvent({ type: "fit", share, note });
    },
  });
  const measured = measureHead(shards, head, { train, val });
  const seconds = (performance.now() - startedAt) / 1000;
  const imagesPerSecond = (train.rows + val.rows) / Math.max(featureSeconds, 1e-9);
  const result: EpochResult = { epoch: 1, timeSeconds: seconds, imagesPerSecond, learningRate: 0, ...measured };
  const weights = { ...(backbone.kind === "network" && backbone.weights), "fc.weight": head.weight, "fc.bias": head.bias };
  return { head, weights, result, threads };
}

/** Makes a classifier the outcome of the run in `runDir`: writes its results.csv and penalties.json. */
export async function finishHeadRun(runDir: string, { head, weights, result, threads }: TrainedHead): Promise<TrainOutcome> {
  await (await openResults(runDir)).append(result);
  await writeFileAtomic(join(runDir, penaltiesFile), `${JSON.stringify({ chosen: head.penalty, tried: head.tried }, null, 2)}\n`);
  const { timeSeconds: seconds, imagesPerSecond } = result;
  return {
    best: weights,
    final: weights,
    bestEpoch: 1,
    epochs: 1,
    seconds,
    imagesPerSecond,
    stepSeconds: seconds,
    waitShare: 0,
    lowering: "portable",
    blockSize: 0,
    threads,
  };
}

function stopIfAsked({ shouldStop }: HeadHooks): void {
  if (!shouldStop()) return;
  throw new ServalError("E_INTERRUPTED", "Training stopped. The features computed so far are kept: the same command continues from there.");
}

/** The features of a split as the classifier takes them, from the cache or computed. */
async function featuresOf(
  split: "train" | "val",
  engine: Engine,
  { config, backbone, shards, cacheDir }: HeadJob,
  hooks: HeadHooks,
  threads: number,
): Promise<Features> {
  return await loadHeadFeatures({
    engine,
    backbone,
    shards,
    split,
    side: config.cropSize,
    threads,
    cacheDir,
    onProgress: (rows, count) => {
      stopIfAsked(hooks);
      hooks.onEvent({ type: "features", split, rows, count });
    },
  });
}

/** How a classifier does on both splits. */
function measureHead(
  { labels, splits }: Shards,
  head: FittedHead,
  features: Readonly<Record<"train" | "val", Features>>,
): Omit<EpochResult, "epoch" | "timeSeconds" | "imagesPerSecond" | "learningRate"> {
  const classifier = { weight: Float64Array.from(head.weight), bias: Float64Array.from(head.bias) };
  const [own, held] = (["train", "val"] as const).map((split) => {
    const probabilities = softenedProbabilities(classify(features[split], classifier), labels.length, 1);
    return computeMetrics(labels, splits[split].classIndex, probabilities);
  }) as [Metrics, Metrics];
  return {
    trainLoss: own.loss,
    trainAccuracy: own.accuracy,
    valLoss: held.loss,
    valAccuracy: held.accuracy,
    valPrecision: held.macroPrecision,
    valRecall: held.macroRecall,
    valF1: held.macroF1,
  };
}
