import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { stringify as stringifyYaml } from "yaml";
import type { LoadedBackbone } from "../../backbones/load-backbone.ts";
import { loadParams, paramPaths, type Params } from "../../config/params.ts";
import { loadSettings } from "../../config/settings.ts";
import { parsePlainYaml } from "../../config/yaml.ts";
import { openShards, type Shards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import type { Caution } from "../../evaluate/cautions.ts";
import { readIfThere, writeFileAtomic } from "../../files.ts";
import { shardsDir, trainingDir } from "../../paths.ts";
import { firstOf } from "../../text.ts";
import type { TrackingClient } from "../../tracking/client/tracking-client.ts";
import { checkHeadJob, finishHeadRun } from "../../train/head/train-head.ts";
import { writeRunCharts } from "../../train/run-charts.ts";
import { readResults, resultsFile } from "../../train/results.ts";
import { argsFile, createRun, findRun } from "../../train/run-folder.ts";
import type { InitialWeights, TrainOutcome, TunedBackbone } from "../../train/train-job.ts";
import { checkConfig } from "../../train/train-plan.ts";
import { guardFolders } from "../guard-folders.ts";
import { silentReporter, type Reporter, type UseCaseOptions } from "../reporter.ts";
import { openTracking } from "../tracking-connection.ts";
import { chooseStrategy, type Strategy } from "./choose-strategy.ts";
import { exportModels, type ExportedModels } from "./export-models.ts";
import { fitHead } from "./fit-head.ts";
import { flattenParams, trackTraining, type TrainingTracker, type TrainingTracking } from "./track-training.ts";
import { trainNetwork, type TrainingWatch } from "./train-network.ts";
import { TrainingLock } from "./training-lock.ts";
import { loadInitialWeights, loadNamedBackbone, trainingFolders, warnOfOldShards } from "./training-start.ts";

export interface TrainModelOptions extends UseCaseOptions {
  /** Default: params.yaml. */
  readonly params?: Params | undefined;
  /** true: the latest run; text: that run. */
  readonly resume?: boolean | string | undefined;
  /** Saves a checkpoint after this number of steps as well as every minute. */
  readonly checkpointEverySteps?: number | undefined;
  /** Holds runs/. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
  /** Where the run is logged. Default: the server that MLFLOW_TRACKING_URI names, else the store in the state folder. null: nowhere but in its folder. */
  readonly tracking?: TrackingClient | null | undefined;
  /** Comes first on the model card. */
  readonly notice?: string | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

export interface TrainReport extends ExportedModels {
  readonly run: string;
  /** With head, the best model is also the final one. */
  readonly strategy: Strategy;
  /** With finetune: how much of the best model's weights is fine-tuned. */
  readonly averages?: TrainOutcome["averages"];
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

const checkpointEverySeconds = 60;
const mostDifferences = 5;

type FlatParams = ReturnType<typeof flattenParams>;

/** Trains on data/processed, logs the run, and writes the run folder, artifacts/best and artifacts/final. */
export async function trainModel(options: TrainModelOptions): Promise<TrainReport> {
  const { cwd, notice, reporter = silentReporter, signal = new AbortController().signal } = options;
  const params = options.params ?? (await loadParams(cwd));
  const { mlflowTrackingUri, stateDir: usualStateDir } = loadSettings();
  const stateDir = options.stateDir ?? usualStateDir;
  await guardFolders(cwd, options.followLink ?? [], trainingFolders(stateDir));
  const client = options.tracking === undefined ? await openTracking(cwd, { mlflowTrackingUri, stateDir }, reporter) : options.tracking;
  const shards = await openShards(join(cwd, shardsDir), { verify: ["train", "val"] });
  let lock: TrainingLock | undefined;
  let tracker: TrainingTracker | undefined;
  try {
    warnOfOldShards(params, shards, reporter);
    // Before a run folder is made: a mistake in the parameters leaves nothing behind.
    const start = await checkStart(params, shards, { cwd, reporter, signal });
    lock = await TrainingLock.take(cwd, stateDir);
    const runDir = await openRun(options, params, stateDir);
    const run = basename(runDir);
    await lock.name(run);
    if (client) tracker = await trackTraining({ client, cwd, runDir, params, data: shards, init: start.init }, reporter);
    const work = { ...start, options, params, shards, runDir, stateDir };
    const outcome = await train(work, { run, tracker, reporter, signal });
    // At a place that does not change with the run, for `dvc plots`.
    await writeFileAtomic(join(cwd, trainingDir, resultsFile), await readFile(join(runDir, resultsFile)));
    const { confusion, ...models } = await exportModels({ ...start, cwd, params, shards, runDir, outcome, notice, tracker });
    // Pictures come last: the models are there whatever becomes of them.
    const { select } = params.train;
    await writeRunCharts(runDir, { epochs: await readResults(runDir), select, labels: shards.labels, confusion }, signal);
    const { seconds, imagesPerSecond, waitShare, lowering, threads } = outcome;
    const tracking = (await tracker?.finish(outcome)) ?? null;
    const { strategy } = start;
    return { run, strategy, averages: outcome.averages, ...models, seconds, imagesPerSecond, waitShare, lowering, threads, tracking };
  } catch (error) {
    await tracker?.abandon(signal.aborted ? "KILLED" : "FAILED");
    throw error;
  } finally {
    shards.close();
    await lock?.release();
  }
}

/** What a training begins with: a backbone, the weights of another model, or neither. */
interface TrainingStart {
  readonly strategy: Strategy;
  readonly backbone: LoadedBackbone | undefined;
  readonly init: InitialWeights | undefined;
}

/** Throws E_PARAMS and its like where this data cannot be trained on as the parameters say. */
async function checkStart(
  params: Params,
  shards: Shards,
  options: { readonly cwd: string; readonly reporter: Reporter; readonly signal: AbortSignal },
): Promise<TrainingStart> {
  const backbone = await loadNamedBackbone(params, options.cwd);
  const { strategy, reason } = chooseStrategy(params.train, backbone, shards);
  if (reason !== undefined) options.reporter.line(reason);
  if (backbone) checkHeadJob({ config: params.train, backbone, shards });
  if (strategy !== "head") checkConfig({ config: params.train, backbone: tunedBackbone(backbone) }, shards);
  const init = backbone ? undefined : await loadInitialWeights(params, shards.labels, options);
  return { strategy, backbone, init };
}

/** What a training thread is told of a backbone whose layers all learn. */
function tunedBackbone(backbone: LoadedBackbone | undefined): TunedBackbone | undefined {
  if (!backbone) return undefined;
  const { name, mean, std } = backbone.network;
  return { name, mean, std };
}

function wantsResume({ resume }: TrainModelOptions): boolean {
  return resume !== undefined && resume !== false;
}

/** A run folder that says what the run was given; throws E_RESUME_MISMATCH where an earlier one was given something else. */
async function openRun(options: TrainModelOptions, { data, prepare, train, model }: Params, stateDir: string): Promise<string> {
  const { cwd, resume } = options;
  const args = stringifyYaml({ data, prepare, train, model });
  if (wantsResume(options)) {
    const runDir = await findRun(cwd, typeof resume === "string" ? resume : undefined, stateDir);
    await checkArgs(runDir, args);
    return runDir;
  }
  const runDir = await createRun(cwd, stateDir);
  await writeFileAtomic(join(runDir, argsFile), args);
  return runDir;
}

async function checkArgs(runDir: string, args: string): Promise<void> {
  const path = join(runDir, argsFile);
  const before = await readIfThere(path);
  if (before === args) return;
  if (before === undefined) throw new ServalError("E_RESUME_MISMATCH", `${path} is missing.`);
  const changed = firstOf(
    findDifferences(parsePlainYaml(before, path, "E_RESUME_MISMATCH"), parsePlainYaml(args, path, "E_RESUME_MISMATCH")),
    mostDifferences,
    "; ",
  );
  throw new ServalError("E_RESUME_MISMATCH", `The parameters differ from ${path}: ${changed}.`);
}

/** Such as "train.epochs is 4 there and 13 here". */
function findDifferences(before: unknown, now: unknown): string[] {
  const [there, here] = [flattenParams(before), flattenParams(now)];
  const shown = (params: FlatParams, key: string): string => (Object.hasOwn(params, key) ? (params[key] as string) || '""' : "not given");
  // In the order of the documentation, where what decides about other defaults comes first.
  const order = paramPaths();
  return [...new Set([...Object.keys(there), ...Object.keys(here)])]
    .sort((a, b) => order.indexOf(a) - order.indexOf(b))
    .filter((key) => shown(there, key) !== shown(here, key))
    .map((key) => `${key} is ${shown(there, key)} there and ${shown(here, key)} here`);
}

interface TrainingWork extends TrainingStart {
  readonly options: TrainModelOptions;
  readonly params: Params;
  readonly shards: Shards;
  readonly runDir: string;
  readonly stateDir: string;
}

async function train(
  { options, params, shards, runDir, stateDir, strategy, backbone, init }: TrainingWork,
  watch: TrainingWatch,
): Promise<TrainOutcome> {
  const { cwd, checkpointEverySteps = 0 } = options;
  const config = params.train;
  const resume = wantsResume(options);
  const job = { config, shardsDir: join(cwd, shardsDir), runDir, resume, checkpointEverySeconds, checkpointEverySteps };
  if (!backbone) return await trainNetwork({ ...job, init }, watch);
  const head = await fitHead({ config, backbone, shards, cacheDir: resolve(cwd, stateDir, "features") }, watch);
  if (strategy === "head") {
    watch.tracker?.logEpoch(head.result);
    return await finishHeadRun(runDir, head);
  }
  const fitted = { name: backbone.record.name, digest: backbone.digest, weights: head.weights, keepsHead: true };
  return await trainNetwork({ ...job, init: fitted, backbone: tunedBackbone(backbone) }, watch);
}
