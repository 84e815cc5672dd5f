import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import type { ServeLimits } from "../../serve/inference/limits.ts";
import { fixedTarget, Predictor } from "../../serve/model/predictor.ts";
import { loadServedModel } from "../../serve/model/served-model.ts";
import { findModel } from "../find-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";

export interface PredictImagesOptions extends UseCaseOptions {
  /** Image files, relative to `cwd`. */
  readonly images: readonly string[];
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: SERVAL_MODEL, else the released model. */
  readonly model?: string | undefined;
}

export type PredictedImage =
  | { readonly file: string; readonly label: string; readonly confidence: number; readonly probabilities: Readonly<Record<string, number>> }
  | { readonly file: string; readonly error: { readonly code: string; readonly message: string; readonly hint: string } };

/** Answers for each file, in the order of `images`; a file that cannot be used has its error in its place. */
export async function predictImages(options: PredictImagesOptions): Promise<PredictedImage[]> {
  const { cwd, images, reporter = silentReporter, signal } = options;
  const { model: usualModel, maxBodyBytes, maxPixels, maxDecodeMs } = loadSettings();
  const { dir } = await findModel(options.model ?? usualModel ?? undefined, { cwd, reporter, signal });
  const limits: ServeLimits = { maxBodyBytes, maxPixels, maxDecodeMs, queueLimit: Infinity, requestTimeoutMs: 2 ** 31 - 1 };
  const model = await loadServedModel(dir, { limits, workers: Math.min(images.length, availableParallelism()) });
  const progress = reporter.progress("Predicting", images.length, "images");
  try {
    const predictor = new Predictor(fixedTarget(model), limits);
    const answers: PredictedImage[] = [];
    const waiting = images.entries();
    let done = 0;
    // Each lane takes the next image when it is through with one, so that all cores decode.
    const lane = async (): Promise<void> => {
      for (const [i, file] of waiting) {
        signal?.throwIfAborted();
        answers[i] = await predictFile(predictor, cwd, file);
        progress.update(++done);
      }
    };
    await Promise.all(Array.from({ length: availableParallelism() }, lane));
    return answers;
  } finally {
    progress.end();
    await model.close();
  }
}

async function predictFile(predictor: Predictor, cwd: string, file: string): Promise<PredictedImage> {
  try {
    const { label, confidence, probabilities } = await predictor.predict(await readImage(resolve(cwd, file)));
    return { file, label, confidence, probabilities };
  } catch (error) {
    const failure = toServalError(error);
    // A file's fault is one line of the table; anything else concerns every file.
    if (!failure.code.startsWith("E_IMAGE_") && failure.code !== "E_FILE_NOT_FOUND") throw error;
    return { file, error: { code: failure.code, message: failure.message, hint: failure.hint } };
  }
}

async function readImage(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new ServalError("E_FILE_NOT_FOUND", `${path} does not exist.`, { cause: error });
    if (code === "EISDIR") throw new ServalError("E_FILE_NOT_FOUND", `${path} is a folder; expected an image file.`, { cause: error });
    if (code === "EACCES") throw new ServalError("E_FILE_NOT_FOUND", `${path} may not be read.`, { cause: error });
    throw error;
  }
}
