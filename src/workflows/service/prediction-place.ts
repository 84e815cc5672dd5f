import { join, resolve } from "node:path";
import { loadSettings, type Settings } from "../../config/settings.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere } from "../../files.ts";
import { predictionsFile, predictionSpoolFile } from "../../paths.ts";
import { openExistingStore } from "../../predictions/open-store.ts";
import type { PredictionStore } from "../../predictions/prediction-store.ts";

export interface PredictionPlace {
  /** The SQLite file; with a `url` the one where predictions wait while that cannot take them. */
  readonly file: string;
  /** PostgreSQL. */
  readonly url: string | undefined;
}

/** Where SERVAL_PREDICTIONS_URL says that predictions are kept, or else in the state folder. Throws E_ENV. */
export async function predictionPlace(
  cwd: string,
  { predictionsUrl, predictionsPasswordFile, stateDir }: Pick<Settings, "predictionsUrl" | "predictionsPasswordFile" | "stateDir">,
): Promise<PredictionPlace> {
  const state = resolve(cwd, stateDir);
  if (predictionsUrl === null) return { file: join(state, predictionsFile), url: undefined };
  if (!/^[a-z]+:\/\//i.test(predictionsUrl)) return { file: resolve(cwd, predictionsUrl), url: undefined };
  // Whatever else it is: it may have a password in it, so it is not repeated.
  if (!/^postgres(?:ql)?:\/\//.test(predictionsUrl) || !URL.canParse(predictionsUrl)) {
    throw new ServalError(
      "E_ENV",
      "SERVAL_PREDICTIONS_URL: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE or the path of a file, got another address.",
    );
  }
  const url = new URL(predictionsUrl);
  if (predictionsPasswordFile !== null) url.password = encodeURIComponent(await readPassword(resolve(cwd, predictionsPasswordFile)));
  return { file: join(state, predictionSpoolFile), url: url.href };
}

async function readPassword(path: string): Promise<string> {
  const text = await readIfThere(path);
  if (text === undefined) throw new ServalError("E_ENV", `SERVAL_PREDICTIONS_PASSWORD_FILE: there is no file ${path}.`);
  return text.trim();
}

/** Opens what the service has stored. Throws E_ENV and E_PREDICTION_LOG. */
export async function openPredictions(cwd: string): Promise<PredictionStore> {
  const { file, url } = await predictionPlace(cwd, loadSettings());
  return await openExistingStore(file, url);
}
