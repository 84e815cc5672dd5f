import { confusionMatrix } from "../charts/confusion-matrix.ts";
import { rateRange, type RateRangePoint } from "../charts/rate-range.ts";
import { trainingCurves } from "../charts/training-curves.ts";
import { describeBestEpoch, type EpochSelection } from "../evaluate/best-epoch.ts";
import { writeChart } from "../evaluate/chart-files.ts";
import type { EpochResult } from "./results.ts";

/** Draws a run's results.csv: results.png and results.svg. `select` is that of the training. */
export async function writeResultsChart(runDir: string, rows: readonly EpochResult[], select?: EpochSelection): Promise<void> {
  await writeChart(runDir, "results", trainingCurves(rows, describeBestEpoch(rows, select)));
}

/** Draws a learning-rate range test: find-lr.png and find-lr.svg. */
export async function writeRateChart(
  runDir: string,
  points: readonly RateRangePoint[],
  suggestion: number | null,
  lowest: number,
): Promise<void> {
  await writeChart(runDir, "find-lr", rateRange(points, suggestion, lowest));
}

/** Draws a confusion matrix ([true][predicted]) into a run folder: confusion-matrix.png and .svg. */
export async function writeConfusionChart(
  runDir: string,
  labels: readonly string[],
  confusion: readonly (readonly number[])[],
): Promise<void> {
  await writeChart(runDir, "confusion-matrix", confusionMatrix(labels, confusion));
}
