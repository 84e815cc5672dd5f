import { join, relative, resolve } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { predictionsFile } from "../../paths.ts";
import { openExistingStore } from "../../predictions/open-store.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { openPredictions } from "./prediction-place.ts";

export interface ImportPredictionsOptions extends UseCaseOptions {
  /** The SQLite file; default: predictions.db of the state folder. */
  readonly file?: string | undefined;
}

export interface ImportedPredictions {
  readonly file: string;
  readonly predictions: number;
  readonly withFeedback: number;
}

/**
 * Brings the predictions of an SQLite file and their feedback into the PostgreSQL of SERVAL_PREDICTIONS_URL. What is there
 * already stays, so it can be done while a service runs, and again after it was stopped. Throws E_USAGE, E_ENV and E_PREDICTION_LOG.
 */
export async function importPredictions(options: ImportPredictionsOptions): Promise<ImportedPredictions> {
  const { cwd, reporter = silentReporter, signal } = options;
  const { stateDir, predictionsUrl } = loadSettings();
  if (predictionsUrl === null) {
    throw new ServalError("E_USAGE", "SERVAL_PREDICTIONS_URL is not set, so there is nothing to import into.", {
      hint: "Set it to postgres://USER:PASSWORD@HOST/DATABASE, the same as for the service.",
    });
  }
  const file = options.file === undefined ? join(resolve(cwd, stateDir), predictionsFile) : resolve(cwd, options.file);
  const source = await openExistingStore(file);
  const store = await openPredictions(cwd).catch(async (error: unknown) => {
    await source.close();
    throw error;
  });
  const progress = reporter.progress(`importing ${relative(cwd, file)}`, 0, "predictions");
  let [predictions, withFeedback] = [0, 0];
  try {
    for await (const rows of source.read(0)) {
      signal?.throwIfAborted();
      await store.addPredictions(rows);
      predictions += rows.length;
      withFeedback += rows.filter(({ feedback }) => feedback !== null).length;
      progress.update(predictions);
    }
  } finally {
    progress.end();
    await source.close();
    await store.close();
  }
  return { file, predictions, withFeedback };
}
