import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { loadSettings } from "../../../config/settings.ts";
import { ServalError, toServalError } from "../../../errors/serval-error.ts";
import type { ImageLimits } from "../../../image/check-image.ts";
import type { ServeLimits } from "../../../serve/inference/limits.ts";
import { fixedTarget, Predictor } from "../../../serve/model/predictor.ts";
import { loadServedModel } from "../../../serve/model/served-model.ts";
import type { Configure } from "../../command.ts";
import { exitCodes } from "../../exit-codes.ts";
import { findModel } from "../../find-model.ts";
import type { Output } from "../../output.ts";

export interface PredictOptions {
  /** The working repository. */
  readonly cwd: string;
  /** Image files, relative to `cwd`. */
  readonly images: readonly string[];
  readonly model?: string | undefined;
  readonly limits: ImageLimits;
}

export type PredictedImage =
  | { readonly file: string; readonly label: string; readonly confidence: number; readonly probabilities: Readonly<Record<string, number>> }
  | { readonly file: string; readonly error: { readonly code: string; readonly message: string; readonly hint: string } };

export const configure: Configure = (command, context) => {
  command
    .argument("<IMAGE...>", "JPEG, PNG, WebP or GIF files")
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .option("--json", "print the result as JSON")
    .action(async (images: string[], options: { model?: string; json?: boolean }) => {
      const { model, maxBodyBytes, maxPixels, maxDecodeMs } = loadSettings();
      const output = context.output(options);
      const answers = await predictImages(
        {
          cwd: context.cwd,
          images,
          model: options.model ?? model ?? undefined,
          limits: { maxBytes: maxBodyBytes, maxPixels, maxDecodeMs },
        },
        output,
        context.signal,
      );
      output.result(answers, describeAnswers(answers));
      const refused = answers.filter((answer) => "error" in answer).length;
      if (refused > 0) throw new ServalError("E_FILES_REFUSED", `${refused} of ${answers.length} files could not be used.`);
    });
};

/** Answers for each file, in the order of `images`; a file that cannot be used has its error in its place. */
export async function predictImages(options: PredictOptions, output: Output, signal?: AbortSignal): Promise<PredictedImage[]> {
  const { cwd, images, limits } = options;
  const { dir } = await findModel(options.model, cwd, output, signal);
  const serveLimits: ServeLimits = {
    maxBodyBytes: limits.maxBytes,
    maxPixels: limits.maxPixels,
    maxDecodeMs: limits.maxDecodeMs,
    queueLimit: Infinity,
    requestTimeoutMs: 2 ** 31 - 1,
  };
  const model = await loadServedModel(dir, { limits: serveLimits, workers: Math.min(images.length, availableParallelism()) });
  const progress = output.progress("Predicting", images.length, "images");
  try {
    const predictor = new Predictor(fixedTarget(model), serveLimits);
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
    if (exitCodes[failure.code] !== 3 && failure.code !== "E_FILE_NOT_FOUND") throw error;
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

const barWidth = 20;

function describeAnswers(answers: readonly PredictedImage[]): string {
  const fileWidth = Math.max(...answers.map(({ file }) => file.length));
  const labelWidth = Math.max(0, ...answers.map((answer) => ("label" in answer ? answer.label.length : 0)));
  return answers
    .map((answer) => {
      const file = answer.file.padEnd(fileWidth);
      if ("error" in answer) return `${file}  ${answer.error.code}: ${answer.error.message}`;
      const filled = Math.round(answer.confidence * barWidth);
      const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
      return `${file}  ${answer.label.padEnd(labelWidth)}  ${bar} ${(100 * answer.confidence).toFixed(1).padStart(5)} %`;
    })
    .join("\n");
}
