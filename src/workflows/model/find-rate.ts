import { basename, join, relative } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { loadParams, type Params } from "../../config/params.ts";
import { openShards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { writeFileAtomic } from "../../files.ts";
import { shardsDir } from "../../paths.ts";
import type { FindRateJob, RateSearch } from "../../train/find-rate.ts";
import { rangeSteps } from "../../train/rate-range.ts";
import { writeRateChart } from "../../train/run-charts.ts";
import { createRun, rangeTestFile } from "../../train/run-folder.ts";
import { checkConfig } from "../../train/train-plan.ts";
import { findRateInThread } from "../../train/training-thread.ts";
import { guardFolders } from "../guard-folders.ts";
import { silentReporter, type Reporter, type UseCaseOptions } from "../reporter.ts";
import { loadInitialWeights, loadNamedBackbone, trainingFolders, warnOfOldShards } from "./training-start.ts";

export interface RateReport {
  readonly run: string;
  /** Relative to the working repository. */
  readonly chart: string;
  readonly suggestion: number | null;
  readonly lowest: number;
  readonly steepest: number;
  readonly steps: number;
  readonly diverged: boolean;
}

export interface FindRateOptions extends UseCaseOptions {
  /** Default: params.yaml. */
  readonly params?: Params | undefined;
  /** Holds runs/. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

/**
 * Looks for a learning rate on data/processed by a range test, with the beginning that a training would have. Writes
 * find-lr.json, .png and .svg into a run folder: no checkpoint, no bundle.
 */
export async function findRate(options: FindRateOptions): Promise<RateReport> {
  const { cwd, reporter = silentReporter, signal = new AbortController().signal } = options;
  const params = options.params ?? (await loadParams(cwd));
  const stateDir = options.stateDir ?? loadSettings().stateDir;
  await guardFolders(cwd, options.followLink ?? [], trainingFolders(stateDir));
  const folder = join(cwd, shardsDir);
  const shards = await openShards(folder);
  shards.close();
  warnOfOldShards(params, shards, reporter);
  if (await loadNamedBackbone(params, cwd)) {
    throw params.train.strategy === undefined || params.train.strategy === "head"
      ? new ServalError("E_PARAMS", "--find-lr: a classifier on a backbone is fitted without a learning rate.", {
          hint: "Run `serval train`, or set `train.backbone: none`.",
        })
      : new ServalError("E_PARAMS", "--find-lr: fine-tuning begins where the loss is low, so the loss would not fall at any rate.", {
          hint: "Run `serval train`. Where it makes the validation accuracy worse, try a third of train.learningRate.",
        });
  }
  checkConfig({ config: params.train }, shards);
  const init = await loadInitialWeights(params, shards.labels, { cwd, reporter, signal });
  const { points, smoothed, ...facts } = await search({ config: params.train, init, shardsDir: folder }, reporter, signal);
  // Made only now, so that a test that was interrupted leaves nothing behind.
  const runDir = await createRun(cwd, stateDir);
  const rows = points.map((point, k) => ({ ...point, smoothed: smoothed[k] as number }));
  await writeFileAtomic(join(runDir, rangeTestFile), `${JSON.stringify({ ...facts, train: params.train, points: rows }, null, 2)}\n`);
  await writeRateChart(runDir, rows, facts.suggestion, facts.lowest);
  const { suggestion, lowest, steepest, diverged } = facts;
  const chart = relative(cwd, join(runDir, "find-lr.png"));
  return { run: basename(runDir), chart, suggestion, lowest, steepest, steps: points.length, diverged };
}

async function search(job: FindRateJob, reporter: Reporter, signal: AbortSignal): Promise<RateSearch> {
  const progress = reporter.progress("Learning rate", rangeSteps);
  try {
    return await findRateInThread(
      job,
      ({ step, learningRate, loss }) => progress.update(step, `rate ${learningRate.toExponential(1)}  loss ${loss.toFixed(3)}`),
      signal,
    );
  } finally {
    progress.end();
  }
}
