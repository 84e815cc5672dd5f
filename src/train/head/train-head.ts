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
import { loadFeatures } from "./cached-features.ts";
import { rootOf, type Features } from "./features.ts";
import { fitHead, type FittedHead } from "./fit-head.ts";
import { classify } from "./logistic-regression.ts";

export interface HeadJob {
  readonly config: Pick<TrainConfig, "cropSize" | "seed" | "threads">;
  readonly backbone: LoadedBackbone;
  readonly shards: Shards;
  /** Folder of this run: results.csv and penalties.json. */
  readonly runDir: string;
  /** Holds features between runs. */
  readonly cacheDir: string;
}

export type HeadEvent =
  | { readonly type: "features"; readonly split: "train" | "val"; readonly rows: number; readonly count: number }
  | { readonly type: "fit"; readonly share: number; readonly note: string }
  | { readonly type: "result"; readonly result: EpochResult; readonly head: FittedHead };

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
export async function trainHead(engine: Engine, job: HeadJob, hooks: HeadHooks): Promise<TrainOutcome> {
  const { config, backbone, shards, runDir, cacheDir } = job;
  checkHeadJob(job);
  const startedAt = performance.now();
  const threads = config.threads > 0 ? config.threads : availableParallelism();
  const stopIfAsked = (): void => {
    if (hooks.shouldStop())
      throw new ServalError(
        "E_INTERRUPTED",
        "Training stopped. The features computed so far are kept: the same command continues from there.",
      );
  };
  const featuresOf = async (split: "train" | "val"): Promise<Features> =>
    await loadFeatures({
      engine,
      backbone,
      shards,
      split,
      side: config.cropSize,
      threads,
      cacheDir,
      onProgress: (rows, count) => {
        stopIfAsked();
        hooks.onEvent({ type: "features", split, rows, count });
      },
    });
  const embed = (features: Features): Features => (backbone.network.nonNegative ? rootOf(features) : features);
  const train = embed(await featuresOf("train"));
  const val = embed(await featuresOf("val"));
  const featuresAt = performance.now();
  const classes = shards.labels.length;
  const truth = shards.splits.train.classIndex;
  const head = await fitHead({
    engine,
    features: train,
    truth,
    classes,
    seed: config.seed,
    threads,
    onProgress: (share, note) => {
      stopIfAsked();
      hooks.onEvent({ type: "fit", share, note });
    },
  });
  const classifier = { weight: Float64Array.from(head.weight), bias: Float64Array.from(head.bias) };
  const metricsOf = (features: typeof train, labels: Uint16Array) =>
    computeMetrics(shards.labels, labels, softenedProbabilities(classify(features, classifier), classes, 1));
  const [own, held] = [metricsOf(train, truth), metricsOf(val, shards.splits.val.classIndex)];
  const seconds = (performance.now() - startedAt) / 1000;
  const imagesPerSecond = (train.rows + val.rows) / Math.max((featuresAt - startedAt) / 1000, 1e-9);
  const result = resultOf({ own, held, seconds, imagesPerSecond });
  await (await openResults(runDir)).append(result);
  await writeFileAtomic(join(runDir, penaltiesFile), `${JSON.stringify({ chosen: head.penalty, tried: head.tried }, null, 2)}\n`);
  hooks.onEvent({ type: "result", result, head });
  const weights = { ...(backbone.kind === "network" && backbone.weights), "fc.weight": head.weight, "fc.bias": head.bias };
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

/** Fitting has no epochs: the only row of results.csv. */
function resultOf({
  own,
  held,
  seconds,
  imagesPerSecond,
}: {
  own: Metrics;
  held: Metrics;
  seconds: number;
  imagesPerSecond: number;
}): EpochResult {
  return {
    epoch: 1,
    timeSeconds: seconds,
    imagesPerSecond,
    learningRate: 0,
    trainLoss: own.loss,
    trainAccuracy: own.accuracy,
    valLoss: held.loss,
    valAccuracy: held.accuracy,
    valPrecision: held.macroPrecision,
    valRecall: held.macroRecall,
    valF1: held.macroF1,
  };
}
