import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import { statIfThere } from "../../files.ts";
import type { ServeLimits } from "../../serve/inference/limits.ts";
import { fixedTarget, Predictor } from "../../serve/model/predictor.ts";
import { loadServedModel } from "../../serve/model/served-model.ts";
import { findModel } from "../find-model.ts";
import { mapStreaming } from "../map-streaming.ts";
import { readPictureFile } from "../read-picture-file.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { findPictures, type FoundPicture } from "./find-pictures.ts";

export interface PredictImagesOptions extends UseCaseOptions {
  /** Image files, folders, patterns such as `photos/*.jpg`, and `-` for the list in `input`; relative to `cwd`. */
  readonly images: readonly string[];
  /** File and folder names, one a line, for `-`. */
  readonly input?: AsyncIterable<Uint8Array> | undefined;
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: SERVAL_MODEL, else the released model. */
  readonly model?: string | undefined;
}

export type PredictedImage =
  | { readonly file: string; readonly label: string; readonly confidence: number; readonly probabilities: Readonly<Record<string, number>> }
  | { readonly file: string; readonly error: { readonly code: string; readonly message: string; readonly hint: string } };

/** Pictures in flight for each thread, so that reading a file does not wait for the model. */
const inFlightPerThread = 4;

/** Answers for each file, in the order of `images`; a file that cannot be used has its error in its place. */
export async function predictImages(options: PredictImagesOptions): Promise<PredictedImage[]> {
  return await Array.fromAsync(streamPredictions(options));
}

/** The same, each answer as soon as it and those before it are there: however many files there are, a few are in memory. */
export async function* streamPredictions(options: PredictImagesOptions): AsyncGenerator<PredictedImage, void, undefined> {
  const { cwd, images, input, reporter = silentReporter, signal } = options;
  const { model: usualModel, maxBodyBytes, maxPixels, maxDecodeMs } = loadSettings();
  const { dir } = await findModel(options.model ?? usualModel ?? undefined, { cwd, reporter, signal });
  const limits: ServeLimits = { maxBodyBytes, maxPixels, maxDecodeMs, queueLimit: Infinity, requestTimeoutMs: 2 ** 31 - 1 };
  const workers = (await isOnePicture(cwd, images)) ? 1 : availableParallelism();
  const model = await loadServedModel(dir, { limits, workers });
  const progress = reporter.progress("Predicting", 0, "images");
  let done = 0;
  try {
    const predictor = new Predictor(fixedTarget(model), limits);
    const answer = async (picture: FoundPicture): Promise<PredictedImage> => {
      signal?.throwIfAborted();
      return await predictFile(predictor, cwd, picture, maxBodyBytes);
    };
    for await (const predicted of mapStreaming(findPictures(cwd, images, input), workers * inFlightPerThread, answer)) {
      progress.update(++done);
      yield predicted;
    }
    if (done === 0) throw new ServalError("E_FILE_NOT_FOUND", "Standard input has no file names.", { hint: "Write one file name a line." });
  } finally {
    progress.end();
    await model.close();
  }
}

/** Which needs one thread. */
async function isOnePicture(cwd: string, [first = "", ...others]: readonly string[]): Promise<boolean> {
  return others.length === 0 && ((await statIfThere(resolve(cwd, first)).catch(() => undefined))?.isFile() ?? false);
}

async function predictFile(predictor: Predictor, cwd: string, { file, error }: FoundPicture, maxBytes: number): Promise<PredictedImage> {
  try {
    if (error !== undefined) throw error;
    const { label, confidence, probabilities } = await predictor.predict(await readPictureFile(resolve(cwd, file), maxBytes));
    return { file, label, confidence, probabilities };
  } catch (thrown) {
    const failure = toServalError(thrown);
    // A file's fault is one line of the table; anything else concerns every file.
    if (!failure.code.startsWith("E_IMAGE_") && failure.code !== "E_FILE_NOT_FOUND") throw thrown;
    return { file, error: { code: failure.code, message: failure.message, hint: failure.hint } };
  }
}
