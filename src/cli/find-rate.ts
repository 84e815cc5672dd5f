import { basename, join, relative } from "node:path";
import type { Params } from "../config/params.ts";
import { writeFileAtomic } from "../files.ts";
import { writeRateChart } from "../train/report.ts";
import { createRun, rangeTestFile } from "../train/run-folder.ts";
import type { FindRateJob, RateSearch } from "../train/find-rate.ts";
import { rangeSteps } from "../train/rate-range.ts";
import { findRateInThread } from "../train/training-thread.ts";
import type { Output } from "./output.ts";

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

export interface FindRateOptions extends FindRateJob {
  readonly cwd: string;
  readonly params: Params;
  readonly stateDir?: string | undefined;
}

/** Runs a learning-rate range test and writes find-lr.json, .png and .svg into a run folder of its own: no checkpoint, no bundle. */
export async function findRate(options: FindRateOptions, output: Output, signal: AbortSignal): Promise<RateReport> {
  const { cwd, params, config, init, shardsDir } = options;
  const progress = output.progress("Learning rate", rangeSteps);
  let search: RateSearch;
  try {
    search = await findRateInThread(
      { config, init, shardsDir },
      ({ step, learningRate, loss }) => progress.update(step, `rate ${learningRate.toExponential(1)}  loss ${loss.toFixed(3)}`),
      signal,
    );
  } finally {
    progress.end();
  }
  const { points, smoothed, ...facts } = search;
  // Made only now, so that a test that was interrupted leaves nothing behind.
  const runDir = await createRun(cwd, options.stateDir);
  const rows = points.map((point, k) => ({ ...point, smoothed: smoothed[k] as number }));
  await writeFileAtomic(join(runDir, rangeTestFile), `${JSON.stringify({ ...facts, train: params.train, points: rows }, null, 2)}\n`);
  await writeRateChart(runDir, rows, facts.suggestion, facts.lowest);
  const { suggestion, lowest, steepest, diverged } = facts;
  const chart = relative(cwd, join(runDir, "find-lr.png"));
  return { run: basename(runDir), chart, suggestion, lowest, steepest, steps: points.length, diverged };
}

export function describeRate(report: RateReport): string {
  const { suggestion, lowest, steepest, steps, chart, diverged } = report;
  const reach = diverged ? `stopped after ${steps} steps, when the loss rose` : `${steps} steps`;
  if (suggestion === null)
    return `No suggestion: the loss did not fall clearly at any rate (${reach}). Look at ${chart}; more images or a larger train.batchSize make it smoother.`;
  return [
    `Suggested learning rate: ${suggestion}, a tenth of the one at which the loss was lowest (${short(lowest)}; it fell fastest at ${short(steepest)}; ${reach}).`,
    `  ${chart}`,
    `Next: serval train --set train.learningRate=${suggestion}`,
  ].join("\n");
}

function short(rate: number): number {
  return Number(rate.toPrecision(2));
}
