import { resolve } from "node:path";
import { writeFileAtomic } from "../../files.ts";
import { encodePredictions } from "../../predictions/export-format.ts";
import type { StoredPrediction } from "../../predictions/prediction-store.ts";
import type { TableFormat } from "../../predictions/table-format.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { openPredictions } from "./prediction-place.ts";

export interface ExportPredictionsOptions extends UseCaseOptions {
  readonly format: TableFormat;
  /** The file that is written; default: predictions.FORMAT. */
  readonly out?: string | undefined;
  /** Only what was predicted from then on. */
  readonly since?: Date | undefined;
}

export interface ExportedPredictions {
  readonly file: string;
  readonly predictions: number;
  readonly withFeedback: number;
}

/** Writes what the service stored into one file, which is there when it is whole. Throws E_PREDICTION_LOG. */
export async function exportPredictions(options: ExportPredictionsOptions): Promise<ExportedPredictions> {
  const { cwd, format, out = `predictions.${format}`, since, reporter = silentReporter, signal } = options;
  const file = resolve(cwd, out);
  const store = await openPredictions(cwd);
  const progress = reporter.progress("exporting", 0, "predictions");
  let [predictions, withFeedback] = [0, 0];
  const counted = async function* (): AsyncIterable<readonly StoredPrediction[]> {
    for await (const rows of store.read(since?.getTime() ?? 0)) {
      signal?.throwIfAborted();
      predictions += rows.length;
      withFeedback += rows.filter(({ feedback }) => feedback !== null).length;
      progress.update(predictions);
      yield rows;
    }
  };
  try {
    // Names of keys and what was answered are for the owner alone.
    await writeFileAtomic(file, encodePredictions(format, counted()), 0o600);
  } finally {
    progress.end();
    await store.close();
  }
  return { file, predictions, withFeedback };
}
