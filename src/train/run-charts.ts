import { confusionMatrix } from "../charts/confusion-matrix.ts";
import { rateRange, type RateRangePoint } from "../charts/rate-range.ts";
import { trainingCurves } from "../charts/training-curves.ts";
import { describeBestEpoch, type EpochSelection } from "../evaluate/best-epoch.ts";
import { writeCharts } from "../evaluate/chart-files.ts";
import type { EpochResult } from "./results.ts";

export interface RunFigures {
  /** Of results.csv. */
  readonly epochs: readonly EpochResult[];
  /** That of the training. */
  readonly select?: EpochSelection | undefined;
  readonly labels: readonly string[];
  /** Of the best epoch on the validation split, [true][predicted]. */
  readonly confusion: readonly (readonly number[])[];
}

/** Draws a run's results and confusion-matrix, each as PNG and SVG, into its folder. Throws the signal's reason. */
export async function writeRunCharts(
  runDir: string,
  { epochs, select, labels, confusion }: RunFigures,
  signal?: AbortSignal,
): Promise<void> {
  const charts = {
    results: trainingCurves(epochs, describeBestEpoch(epochs, select)),
    "confusion-matrix": confusionMatrix(labels, confusion),
  };
  await writeCharts(runDir, charts, signal);
}

/** Draws a learning-rate range test: find-lr.png and find-lr.svg. */
export async function writeRateChart(
  runDir: string,
  points: readonly RateRangePoint[],
  suggestion: number | null,
  lowest: number,
): Promise<void> {
  await writeCharts(runDir, { "find-lr": rateRange(points, suggestion, lowest) });
}
