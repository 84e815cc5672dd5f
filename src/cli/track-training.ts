import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Params } from "../config/params.ts";
import type { ServalError } from "../errors.ts";
import { toServalError } from "../errors.ts";
import { readCommit } from "../pipeline/git.ts";
import type { TrackingClient } from "../tracking/client.ts";
import { sendKeptRuns } from "../tracking/kept-runs.ts";
import { TrackedRun, type TrackingOutcome } from "../tracking/run.ts";
import type { Metrics } from "../train/metrics.ts";
import type { EpochResult } from "../train/results.ts";
import type { TrainOutcome } from "../train/train-job.ts";
import type { Output } from "./output.ts";

export interface TrackTrainingOptions {
  readonly client: TrackingClient;
  /** The working repository: its Git commit becomes a tag. */
  readonly cwd: string;
  readonly runDir: string;
  readonly params: Params;
  readonly dataVersion: string;
}

/** A training as the tracking server sees it. Only `finish` and `abandon` wait for the server, and not for long. */
export interface TrainingTracker {
  logEpoch(result: EpochResult): void;
  /** Measures and files of one of the two bundles. */
  logModel(role: "best" | "final", dir: string, epoch: number, metrics: Metrics): Promise<void>;
  /** After the last file of the run folder was written. */
  finish(outcome: TrainOutcome): Promise<TrackingOutcome>;
  abandon(status: "FAILED" | "KILLED"): Promise<void>;
}

/** Long enough for two bundles over a slow line; a server that refuses connections is given up at once. */
const finishWithinMs = 20_000;
/** Whoever pressed Ctrl-C is waiting. */
const abandonWithinMs = 3_000;
const runFiles = ["args.yaml", "results.csv", "results.png", "confusion-matrix.png"];

/** Begins to log a training, and sends in the background what earlier ones could not. */
export async function trackTraining(options: TrackTrainingOptions, output: Output): Promise<TrainingTracker> {
  const { client, cwd, runDir, params, dataVersion } = options;
  const run = basename(runDir);
  const told = new Set<string>();
  const onTrouble = (error: ServalError): void => {
    if (told.has(error.code)) return;
    told.add(error.code);
    output.warn(
      `${error.code}: ${error.message}\n  Training goes on. What is logged is kept in the run's folder; the next \`serval train\` sends it if this one cannot.`,
    );
  };
  const tracked = await TrackedRun.start({
    client,
    runDir,
    experiment: params.model.name,
    run,
    tags: await describeOrigin(cwd, dataVersion),
    onTrouble,
  });
  tracked.logParams(flattenParams(params));

  const abort = new AbortController();
  const kept = sendKeptRuns({
    client,
    runsDir: dirname(runDir),
    exceptRun: run,
    signal: abort.signal,
    onSent: (earlier, info) => output.warn(`Sent the kept run ${earlier} to ${client.pageOf(info)}`),
    onRefused: onTrouble,
  }).catch((error: unknown) => onTrouble(toServalError(error)));
  const end = async (status: "FINISHED" | "FAILED" | "KILLED", withinMs: number): Promise<TrackingOutcome> => {
    const deadline = setTimeout(() => abort.abort(), withinMs);
    const [outcome] = await Promise.all([tracked.finish(status, withinMs), kept]);
    clearTimeout(deadline);
    return outcome;
  };

  return {
    logEpoch: (result) => tracked.logMetrics(epochMetrics(result), result.epoch),
    async logModel(role, dir, epoch, metrics) {
      tracked.logMetrics(modelMetrics(role, epoch, metrics), epoch);
      for (const path of await filesIn(dir)) await tracked.logArtifact(`models/${role}/${path}`, join(dir, path));
    },
    async finish(outcome) {
      const { lowering, threads, seconds, imagesPerSecond } = outcome;
      tracked.setTags({ "serval.lowering": lowering, "serval.threads": String(threads) });
      tracked.logMetrics({ training_seconds: seconds, images_per_second: imagesPerSecond }, outcome.epochs);
      for (const file of runFiles) await tracked.logArtifact(file, join(runDir, file));
      return await end("FINISHED", finishWithinMs);
    },
    async abandon(status) {
      await end(status, abandonWithinMs);
    },
  };
}

/** The lines about tracking below a training's result. */
export function describeTracking(run: string, tracking: TrackingOutcome | null): string[] {
  if (tracking === null) return [];
  if (tracking.delivered) return [`  logged to ${tracking.page ?? tracking.server}`];
  return [`  not all of run ${run} has reached ${tracking.server}: it is kept, and the next \`serval train\` sends it`];
}

/** `train.epochs: "14"`; lists as JSON. */
export function flattenParams(params: Params): Record<string, string> {
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

/** Tags with a leading `mlflow.` are those that MLflow's own clients set and its pages show. */
async function describeOrigin(cwd: string, dataVersion: string): Promise<Record<string, string>> {
  const commit = await readCommit(cwd);
  return {
    "mlflow.source.name": "serval train",
    "mlflow.source.type": "LOCAL",
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
