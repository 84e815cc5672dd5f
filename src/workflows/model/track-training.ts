import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Params } from "../../config/params.ts";
import type { ServalError } from "../../errors/serval-error.ts";
import { toServalError } from "../../errors/serval-error.ts";
import { loadBundle } from "../../model/bundle.ts";
import { mlflowModelFiles } from "../../model/mlflow-model.ts";
import { exists } from "../../model/replace-folder.ts";
import { paramsFile, rawDir } from "../../paths.ts";
import { readCommit } from "../../pipeline/dvc-files/git.ts";
import type { DatasetInput, TrackingClient } from "../../tracking/client/tracking-client.ts";
import { sendKeptRuns } from "../../tracking/logging/kept-runs.ts";
import { TrackedRun, type TrackedModel, type TrackingOutcome } from "../../tracking/logging/run.ts";
import { startSystemMetrics } from "../../tracking/logging/system-metrics.ts";
import type { Metrics } from "../../evaluate/metrics.ts";
import type { EpochResult } from "../../train/results.ts";
import type { TrainEvent, TrainOutcome } from "../../train/train-job.ts";
import type { Reporter } from "../reporter.ts";

export interface TrackTrainingOptions {
  readonly client: TrackingClient;
  /** The working repository: its Git commit becomes a tag. */
  readonly cwd: string;
  readonly runDir: string;
  readonly params: Params;
  readonly data: TrainingData;
  /** The model that the training begins with. */
  readonly init?: { readonly digest: string } | undefined;
}

/** What is known of the prepared data. */
export interface TrainingData {
  readonly dataVersion: string;
  readonly width: number;
  readonly height: number;
  readonly labels: readonly string[];
  readonly splits: Readonly<Record<string, { readonly count: number }>>;
}

/** The outcome of a training's tracking, with what it cost. */
export interface TrainingTracking extends TrackingOutcome {
  /** Time inside logging calls over the time of the training steps; null where there were none. */
  readonly loggingShare: number | null;
}

/** A training as the tracking server sees it. Only `finish` and `abandon` wait for the server, and not for long. */
export interface TrainingTracker {
  logStep(event: Extract<TrainEvent, { type: "step" }>): void;
  logEpoch(result: EpochResult): void;
  /** Measures and files of one of the two bundles. */
  logModel(role: "best" | "final", dir: string, epoch: number, metrics: Metrics): Promise<void>;
  /** After the last file of the run folder was written. */
  finish(outcome: TrainOutcome): Promise<TrainingTracking>;
  abandon(status: "FAILED" | "KILLED"): Promise<void>;
}

/** Long enough for two bundles over a slow line; a server that refuses connections is given up at once. */
const finishWithinMs = 20_000;
/** The user pressed Ctrl-C and is waiting. */
const abandonWithinMs = 3_000;
/** MLflow's column for the digest of a data set has 36 characters; a short form of 12 is what Serval shows elsewhere. */
const mlflowDigestLength = 32;
const runFilePattern = /^args\.yaml$|\.(csv|png|svg|jpg)$/;
/** The interval of MLflow's own client. */
const sampleEveryMs = 10_000;

/** Begins to log a training, and sends in the background what earlier ones could not. */
export async function trackTraining(options: TrackTrainingOptions, reporter: Reporter): Promise<TrainingTracker> {
  const { client, cwd, runDir, params, data, init } = options;
  const run = basename(runDir);
  const told = new Set<string>();
  const onTrouble = (error: ServalError): void => {
    if (told.has(error.code)) return;
    told.add(error.code);
    reporter.warn(
      `${error.code}: ${error.message}\n  Training continues. What is logged is kept in the run's folder; the next \`serval train\` sends it if this one cannot.`,
    );
  };
  const tracked = await TrackedRun.start({
    client,
    runDir,
    experiment: params.model.name,
    run,
    tags: { ...(await describeOrigin(cwd, data.dataVersion)), ...(init && { "serval.init": init.digest }) },
    onTrouble,
  });
  tracked.logParams(flattenParams(params));
  const input = describeData(params.model.name, data);
  tracked.logInput(input);
  const stopSampling = startSystemMetrics(sampleEveryMs, (metrics, step) => tracked.logMetrics(metrics, step));

  const abort = new AbortController();
  const kept = sendKeptRuns({
    client,
    runsDir: dirname(runDir),
    exceptRun: run,
    signal: abort.signal,
    onSent: (earlier, info) => reporter.warn(`Sent the kept run ${earlier} to ${client.pageOf(info)}`),
    onRefused: onTrouble,
  }).catch((error: unknown) => onTrouble(toServalError(error)));
  const end = async (status: "FINISHED" | "FAILED" | "KILLED", withinMs: number): Promise<TrackingOutcome> => {
    stopSampling();
    const deadline = setTimeout(() => abort.abort(), withinMs);
    const [outcome] = await Promise.all([tracked.finish(status, withinMs), kept]);
    clearTimeout(deadline);
    return outcome;
  };

  return {
    logStep({ stepsDone, stepLoss, stepImagesPerSecond }) {
      tracked.logMetrics({ "step/train_loss": stepLoss, "step/images_per_second": stepImagesPerSecond }, stepsDone);
    },
    logEpoch: (result) => tracked.logMetrics(epochMetrics(result), result.epoch),
    logModel: async (role, dir, epoch, metrics) => await tracked.logModel(await describeModel(role, dir, epoch, metrics, input)),
    async finish(outcome) {
      const { lowering, threads, seconds, imagesPerSecond, stepSeconds } = outcome;
      tracked.setTags({ "serval.lowering": lowering, "serval.threads": String(threads) });
      tracked.logMetrics({ training_seconds: seconds, images_per_second: imagesPerSecond }, outcome.epochs);
      for (const file of await filesIn(runDir)) {
        if (runFilePattern.test(file) && !file.includes("/")) await tracked.logArtifact(file, join(runDir, file));
      }
      if (await exists(join(cwd, paramsFile))) await tracked.logArtifact(paramsFile, join(cwd, paramsFile));
      const { loggingSeconds } = tracked;
      tracked.logMetrics({ step_seconds: stepSeconds, logging_seconds: loggingSeconds }, outcome.epochs);
      const ended = await end("FINISHED", finishWithinMs);
      return { ...ended, loggingShare: stepSeconds > 0 ? ended.loggingSeconds / stepSeconds : null };
    },
    async abandon(status) {
      await end(status, abandonWithinMs);
    },
  };
}

/** `train.epochs: "14"`; lists as JSON. */
export function flattenParams(params: unknown): Record<string, string> {
  const flat: Record<string, string> = {};
  const visit = (value: unknown, path: string): void => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [key, child] of Object.entries(value)) visit(child, path === "" ? key : `${path}.${key}`);
    } else flat[path] = typeof value === "string" ? value : JSON.stringify(value);
  };
  visit(params, "");
  return flat;
}

/** The names are those of results.csv. */
function epochMetrics(result: EpochResult): Record<string, number> {
  return {
    train_loss: result.trainLoss,
    train_accuracy: result.trainAccuracy,
    val_loss: result.valLoss,
    val_accuracy: result.valAccuracy,
    val_precision: result.valPrecision,
    val_recall: result.valRecall,
    val_f1: result.valF1,
    learning_rate: result.learningRate,
  };
}

/** Of the exported model, whose probabilities are calibrated: its loss differs from that of the epoch. */
function modelMetrics(role: string, epoch: number, metrics: Metrics): Record<string, number> {
  const values = {
    epoch,
    val_loss: metrics.loss,
    val_accuracy: metrics.accuracy,
    val_precision: metrics.macroPrecision,
    val_recall: metrics.macroRecall,
    val_f1: metrics.macroF1,
    val_ece: metrics.ece,
  };
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`${role}_${key}`, value]));
}

/** A bundle as a model of the run: MLflow loads it as ONNX, Serval as the bundle that it is. */
async function describeModel(
  role: "best" | "final",
  dir: string,
  epoch: number,
  metrics: Metrics,
  { name, digest: dataDigest }: DatasetInput,
): Promise<TrackedModel> {
  const bundle = await loadBundle(dir);
  const { manifest, digest } = bundle;
  const bundleFiles = (await filesIn(dir)).map((path) => [path, { copyOf: join(dir, path) }] as const);
  const mlflowFiles = Object.entries(mlflowModelFiles(bundle, new Date())).map(([path, text]) => [path, { text }] as const);
  return {
    name: role,
    digest,
    step: epoch,
    folder: `models/${role}`,
    files: Object.fromEntries([...bundleFiles, ...mlflowFiles]),
    tags: sourceTags,
    params: { labels: manifest.labels.join(", ").slice(0, 500), data_version: manifest.dataVersion, epoch: String(epoch) },
    metrics: modelMetrics(role, epoch, metrics),
    dataset: { name, digest: dataDigest },
  };
}

/** The prepared data as MLflow's pages show a data set. */
function describeData(name: string, { dataVersion, width, height, labels, splits }: TrainingData): DatasetInput {
  const counts = Object.entries(splits).map(([split, { count }]) => [`num_rows_${split}`, count] as const);
  const images = { type: "tensor", "tensor-spec": { dtype: "uint8", shape: [-1, height, width, 3] } };
  return {
    name,
    digest: dataVersion.slice(0, mlflowDigestLength),
    sourceType: "local",
    source: JSON.stringify({ uri: rawDir, data_version: dataVersion }),
    schema: JSON.stringify({ mlflow_tensorspec: { features: JSON.stringify([images]), targets: null } }),
    profile: JSON.stringify({
      num_rows: counts.reduce((sum, [, count]) => sum + count, 0),
      ...Object.fromEntries(counts),
      classes: labels.length,
    }),
    context: "training",
  };
}

/** Tags with a leading `mlflow.` are those that MLflow's own clients set and its pages show. */
const sourceTags = { "mlflow.source.name": "serval train", "mlflow.source.type": "LOCAL" };

async function describeOrigin(cwd: string, dataVersion: string): Promise<Record<string, string>> {
  const commit = await readCommit(cwd);
  return {
    ...sourceTags,
    ...(commit !== undefined && { "mlflow.source.git.commit": commit }),
    "serval.data_version": dataVersion,
    "serval.host": hostname(),
  };
}

async function filesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(dir.length + 1)
        .replaceAll("\\", "/"),
    )
    .sort();
}
