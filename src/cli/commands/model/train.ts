import { readFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { Option } from "commander";
import { stringify as stringifyYaml } from "yaml";
import { loadBackbone, type LoadedBackbone } from "../../../backbones/load-backbone.ts";
import { defaultStateDir } from "../../../config/env.ts";
import { loadSettings, type Settings } from "../../../config/settings.ts";
import { loadParams, paramsHash, type Params } from "../../../config/params.ts";
import { drawCheckImages } from "../../../data/check-images.ts";
import { recipeOf, type ShardRecipe } from "../../../data/shard-index.ts";
import { openShards, type Shards } from "../../../data/shards.ts";
import { ServalError, toServalError } from "../../../errors/serval-error.ts";
import { readIfThere, writeFileAtomic } from "../../../files.ts";
import { copyBundle, loadBundle, shortDigest } from "../../../model/bundle.ts";
import { describeCautions, findCautions, type Caution } from "../../../evaluate/cautions.ts";
import { exportBundle } from "../../../export/export.ts";
import { readInitialWeights } from "../../../train/initial-weights.ts";
import type { Metrics } from "../../../evaluate/metrics.ts";
import { headNetwork } from "../../../train/head/head-network.ts";
import { checkHeadJob } from "../../../train/head/train-head.ts";
import { writeConfusionChart, writeResultsChart } from "../../../train/report.ts";
import { readResults, resultsFile } from "../../../train/results.ts";
import { createRun, findRun } from "../../../train/run-folder.ts";
import type { InitialWeights, TrainEvent, TrainOutcome } from "../../../train/train-job.ts";
import { checkConfig, scratchNetwork } from "../../../train/train-plan.ts";
import { trainInThread } from "../../../train/training-thread.ts";
import type { TrackingClient } from "../../../tracking/client/tracking-client.ts";
import type { Configure } from "../../command.ts";
import { fitHeadWithProgress } from "../../fit-head.ts";
import { findModel } from "../../find-model.ts";
import { describeRate, findRate, type RateReport } from "../../find-rate.ts";
import { addFollowLinkFlag, guardFolders, type FollowLinkFlag } from "../../follow-link.ts";
import { formatDuration, type Output, type Progress } from "../../output.ts";
import { connectTracking } from "../../tracking-connection.ts";
import { describeTracking, trackTraining, type TrainingTracker, type TrainingTracking } from "../../track-training.ts";
import { shardRecipe } from "../data/prepare.ts";

export interface TrainCommandOptions {
  /** The working repository. */
  readonly cwd: string;
  readonly params: Params;
  /** true: the latest run; text: that run. */
  readonly resume?: boolean | string | undefined;
  readonly checkpointEverySteps?: number | undefined;
  /** Holds runs/. Default: .serval. */
  readonly stateDir?: string | undefined;
  /** Where the run is logged; without it nowhere but in its folder. */
  readonly tracking?: TrackingClient | undefined;
  /** Stands first on the model card. */
  readonly notice?: string;
}

export interface TrainReport {
  readonly run: string;
  readonly best: {
    readonly dir: string;
    readonly version: string;
    readonly epoch: number;
    readonly accuracy: number;
    readonly loss: number;
  };
  readonly final: {
    readonly dir: string;
    readonly version: string;
    readonly epoch: number;
    readonly accuracy: number;
    readonly loss: number;
  };
  readonly seconds: number;
  readonly imagesPerSecond: number;
  readonly waitShare: number;
  readonly lowering: string;
  readonly threads: number;
  /** Null where the run was not logged. */
  readonly tracking: TrainingTracking | null;
  /** Reasons not to trust the result yet. */
  readonly cautions: readonly Caution[];
}

const initHint = "Name a bundle folder or a released model (`serval models list`) in train.init, or leave it empty.";
const shardsFolder = "data/processed";
const argsFile = "args.yaml";
const checkpointEverySeconds = 60;

interface TrainFlags extends FollowLinkFlag {
  readonly resume?: boolean | string;
  readonly checkpointEvery?: number;
  readonly findLr?: boolean;
  readonly set?: string[];
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command)
    .option("--resume [RUN]", "go on from the last checkpoint of a run, by default the latest one")
    .option("--checkpoint-every <STEPS>", "save a checkpoint after so many steps as well as every minute", parseSteps)
    .addOption(
      new Option("--find-lr", "suggest a learning rate by a range test, and train nothing that is kept").conflicts([
        "resume",
        "checkpointEvery",
      ]),
    )
    .option("--set <KEY=VALUE...>", "override a parameter, such as train.epochs=3")
    .option("--json", "print the result as JSON")
    .action(async (options: TrainFlags) => {
      const params = await loadParams(context.cwd, options.set ?? []);
      const output = context.output(options);
      const settings = loadSettings();
      const results = ["artifacts/best", "artifacts/final", "artifacts/training"];
      await guardFolders(context.cwd, options, [...results, join(settings.stateDir, "runs")]);
      if (options.findLr) {
        const found = await suggestLearningRate({ cwd: context.cwd, params, stateDir: settings.stateDir }, output, context.signal);
        output.result(found, describeRate(found));
        return;
      }
      const report = await trainModel(
        {
          cwd: context.cwd,
          params,
          resume: options.resume,
          checkpointEverySteps: options.checkpointEvery,
          stateDir: settings.stateDir,
          tracking: await openTracking(context.cwd, settings, output),
        },
        output,
        context.signal,
      );
      output.result(report, describeTraining(report));
    });
};

/** The server that runs are logged to. A store of our own that cannot be opened keeps nobody from training. */
export async function openTracking(
  cwd: string,
  { mlflowTrackingUri, stateDir }: Pick<Settings, "mlflowTrackingUri" | "stateDir">,
  output: Output,
): Promise<TrackingClient | undefined> {
  try {
    return (await connectTracking(cwd, mlflowTrackingUri, stateDir)).tracking;
  } catch (error) {
    const { code, message } = toServalError(error);
    if (code === "E_ENV") throw error;
    output.warn(`${code}: ${message}\n  This run is kept in its folder only.`);
    return undefined;
  }
}

/** Looks for a learning rate on data/processed, with the beginning that a training would have. */
export async function suggestLearningRate(
  { cwd, params, stateDir }: Pick<TrainCommandOptions, "cwd" | "params" | "stateDir">,
  output: Output,
  signal: AbortSignal,
): Promise<RateReport> {
  const shardsDir = join(cwd, shardsFolder);
  const shards = await openShards(shardsDir);
  shards.close();
  warnOfOldShards(params, shards, output);
  if (await loadNamedBackbone(params, cwd)) {
    throw new ServalError("E_PARAMS", "--find-lr: a classifier on a backbone is fitted without a learning rate.", {
      hint: "Run `serval train`, or set `train.backbone: none`.",
    });
  }
  checkConfig(params.train, shards);
  const init = await loadInitialWeights(params, cwd, shards.labels, output);
  return await findRate({ cwd, params, stateDir, config: params.train, init, shardsDir }, output, signal);
}

/** Trains on data/processed, and writes the run folder, artifacts/best and artifacts/final. */
export async function trainModel(options: TrainCommandOptions, output: Output, signal: AbortSignal): Promise<TrainReport> {
  const { cwd, params } = options;
  const { data, prepare, train, model } = params;
  const shardsDir = join(cwd, shardsFolder);
  const shards = await openShards(shardsDir, { verify: ["train", "val"] });
  let tracker: TrainingTracker | undefined;
  try {
    warnOfOldShards(params, shards, output);
    // Before a run folder is made: a mistake in the parameters leaves nothing behind.
    const backbone = await loadNamedBackbone(params, cwd);
    if (backbone) checkHeadJob({ config: train, backbone, shards });
    else checkConfig(train, shards);
    const init = backbone ? undefined : await loadInitialWeights(params, cwd, shards.labels, output);
    const client = options.tracking;
    const resume = options.resume !== undefined && options.resume !== false;
    const named = typeof options.resume === "string" ? options.resume : undefined;
    const runDir = resume ? await findRun(cwd, named, options.stateDir) : await createRun(cwd, options.stateDir);
    const run = basename(runDir);
    const args = stringifyYaml({ data, prepare, train, model });
    if (resume) await checkArgs(runDir, args);
    else await writeFileAtomic(join(runDir, argsFile), args);
    if (client) tracker = await trackTraining({ client, cwd, runDir, params, data: shards, init }, output);

    const checkpointEverySteps = options.checkpointEverySteps ?? 0;
    const outcome = backbone
      ? await fitHeadWithProgress(
          { config: train, backbone, shards, runDir, cacheDir: resolve(cwd, options.stateDir ?? defaultStateDir, "features") },
          run,
          tracker,
          output,
          signal,
        )
      : await runWithProgress(
          { config: train, init, shardsDir, runDir, resume, checkpointEverySeconds, checkpointEverySteps },
          run,
          tracker,
          output,
          signal,
        );
    await writeResultsChart(runDir, await readResults(runDir));
    // At a place that does not change with the run, for `dvc plots`.
    await writeFileAtomic(join(cwd, "artifacts/training", resultsFile), await readFile(join(runDir, resultsFile)));
    const { cropSize, threads: wantedThreads, seed } = train;
    const shared = {
      ...model,
      network: backbone ? headNetwork(backbone, shards.labels.length) : scratchNetwork(train, shards),
      parameters: backbone ? { backbone: train.backbone, strategy: "head", cropSize, seed } : { ...train },
      cropSize,
      threads: wantedThreads,
      seed,
      init,
      shards,
      paramsHash: paramsHash(params),
      checkImages: await drawCheckImages(),
    };
    const provenance = {
      run,
      createdAt: new Date().toISOString(),
      seconds: outcome.seconds,
      lowering: outcome.lowering,
      threads: outcome.threads,
      ...(init && { init: { name: init.name, digest: init.digest } }),
    };
    const notice = options.notice === undefined ? {} : { notice: options.notice };
    let cautions: readonly Caution[] = [];
    const write = async (role: "best" | "final", epoch: number): Promise<TrainReport["best"]> => {
      const dir = join(cwd, "artifacts", role);
      const { bundle, metrics } = await exportBundle({
        ...shared,
        ...notice,
        dir,
        weights: outcome[role],
        epoch: { chosen: epoch, trained: outcome.epochs },
        provenance: { ...provenance, epoch },
      });
      if (role === "best") {
        cautions = findCautions({ split: "validation", metrics, epoch: { chosen: epoch, trained: outcome.epochs } });
        await writeConfusionChart(runDir, shards.labels, metrics.confusion);
      }
      await tracker?.logModel(role, bundle.dir, epoch, metrics);
      return summary(relative(cwd, dir), shortDigest(bundle), epoch, metrics);
    };
    const best = await write("best", outcome.bestEpoch);
    const final = backbone ? await copyBest(cwd, best) : await write("final", outcome.epochs);
    const { seconds, imagesPerSecond, waitShare, lowering, threads } = outcome;
    const tracking = (await tracker?.finish(outcome)) ?? null;
    return { run, best, final, seconds, imagesPerSecond, waitShare, lowering, threads, tracking, cautions };
  } catch (error) {
    await tracker?.abandon(signal.aborted ? "KILLED" : "FAILED");
    throw error;
  } finally {
    shards.close();
  }
}

/** The backbone that train.backbone names, where it names one. */
async function loadNamedBackbone({ train }: Params, cwd: string): Promise<LoadedBackbone | undefined> {
  return train.backbone === undefined || train.backbone === "none" ? undefined : await loadBackbone(train.backbone, cwd);
}

/** A classifier on a backbone has one optimum: the last model is the best one. */
async function copyBest(cwd: string, best: TrainReport["best"]): Promise<TrainReport["final"]> {
  const dir = join("artifacts", "final");
  await copyBundle(await loadBundle(join(cwd, best.dir)), join(cwd, dir));
  return { ...best, dir };
}

/** Says what of params.yaml is not in the shards, because it was changed after they were made. */
function warnOfOldShards(params: Params, shards: Shards, output: Output): void {
  const [wanted, made] = [recipeOf(shardRecipe(params)), recipeOf(shards)];
  const keys = (Object.keys(made) as (keyof ShardRecipe)[]).filter((key) => JSON.stringify(wanted[key]) !== JSON.stringify(made[key]));
  if (keys.length === 0) return;
  const said = keys.map((key) => `${key} ${JSON.stringify(made[key])}, not ${JSON.stringify(wanted[key])}`).join("; ");
  output.warn(`data/processed was prepared with other parameters than are given now: ${said}. \`serval prepare\` makes it anew.`);
}

/** The bundle that train.init names, where it names one, checked against the network to train. */
async function loadInitialWeights(
  { train }: Params,
  cwd: string,
  labels: readonly string[],
  output: Output,
): Promise<InitialWeights | undefined> {
  if (train.init === "") return undefined;
  const { dir } = await findModel(train.init, cwd, output).catch((error: unknown) => {
    if (!(error instanceof ServalError)) throw error;
    throw new ServalError(error.code, `train.init: ${error.message}`, { cause: error, hint: initHint });
  });
  return await readInitialWeights(await loadBundle(dir), train, labels);
}

function summary(dir: string, version: string, epoch: number, metrics: Metrics): TrainReport["best"] {
  return { dir, version, epoch, accuracy: metrics.accuracy, loss: metrics.loss };
}

function parseSteps(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new ServalError("E_USAGE", `--checkpoint-every: expected a number of steps from 1 on, got ${JSON.stringify(text)}.`);
}

async function checkArgs(runDir: string, args: string): Promise<void> {
  const before = await readIfThere(join(runDir, argsFile));
  if (before === args) return;
  throw new ServalError(
    "E_RESUME_MISMATCH",
    before === undefined ? `${join(runDir, argsFile)} is missing.` : `The parameters differ from ${join(runDir, argsFile)}.`,
  );
}

async function runWithProgress(
  job: Parameters<typeof trainInThread>[0],
  run: string,
  tracker: TrainingTracker | undefined,
  output: Output,
  signal: AbortSignal,
): Promise<TrainOutcome> {
  let progress: Progress | undefined;
  let firstStep = 0;
  let total = 0;
  const onEvent = (event: TrainEvent): void => {
    switch (event.type) {
      case "start":
        output.line(
          `Run ${run}: ${event.parameters.toLocaleString("en")} parameters, ${event.epochs} epochs, ${event.lowering}, ${event.threads} threads`,
        );
        if (job.init) output.line(describeInit(job.init, Math.min(job.config.freezeEpochs, job.config.epochs)));
        [firstStep, total] = [event.stepsDone, event.steps];
        if (firstStep > 0) output.line(`Going on after step ${firstStep} of ${total}.`);
        progress = output.progress("Training", total - firstStep);
        break;
      case "step":
        tracker?.logStep(event);
        progress?.update(
          event.stepsDone - firstStep,
          `epoch ${event.epoch}/${job.config.epochs}  loss ${event.loss.toFixed(3)}  accuracy ${percent(event.accuracy)}  ${Math.round(event.imagesPerSecond)} images/s`,
        );
        break;
      case "epoch": {
        const { result, best } = event;
        tracker?.logEpoch(result);
        progress?.end(
          `epoch ${result.epoch}/${job.config.epochs}  loss ${result.trainLoss.toFixed(3)}  validation: loss ${result.valLoss.toFixed(3)}, accuracy ${percent(result.valAccuracy)}${best ? " (best so far)" : ""}  ${Math.round(result.imagesPerSecond)} images/s`,
        );
        break;
      }
      case "note":
        progress?.end();
        output.warn(event.text);
        break;
    }
  };
  try {
    return await trainInThread(job, onEvent, signal);
  } catch (error) {
    if (!(error instanceof ServalError) || error.code !== "E_DISK_FULL") throw error;
    // The same command again would begin a new run.
    throw new ServalError(error.code, error.message, {
      cause: error,
      hint: `Free some space, then go on with \`serval train --resume ${run}\`.`,
    });
  } finally {
    progress?.end();
  }
}

function describeInit({ name, digest, keepsHead }: InitialWeights, freezeEpochs: number): string {
  const head = keepsHead ? "with its classifier" : "with a new classifier";
  const frozen =
    freezeEpochs > 0 ? `; only the classifier learns in the first ${freezeEpochs === 1 ? "epoch" : `${freezeEpochs} epochs`}` : "";
  return `Fine-tuning ${name} version ${digest.slice(0, 12)}, ${head}${frozen}.`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** The summary that the command prints. */
export function describeTraining(report: TrainReport): string {
  const line = (role: string, { dir, epoch, accuracy, loss }: TrainReport["best"]): string =>
    `  ${role}  epoch ${epoch}, validation accuracy ${percent(accuracy)}, loss ${loss.toFixed(3)}  ${dir}`;
  return [
    `Trained in ${formatDuration(report.seconds)}, ${Math.round(report.imagesPerSecond)} images/s (${report.lowering}, ${report.threads} threads; ${percent(report.waitShare)} of the time spent waiting for batches).`,
    line("best ", report.best),
    line("final", report.final),
    ...describeTracking(report.run, report.tracking),
    ...describeCautions(report.cautions),
    `Next: serval evaluate, serval predict IMAGE, serval serve`,
  ].join("\n");
}
