import { resolve } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { resolveModel } from "../../model/resolve-model.ts";
import { defaultLimits, type ServeLimits } from "../../serve/inference/limits.ts";
import { fixedTarget, Predictor } from "../../serve/model/predictor.ts";
import { loadServedModel, type ServedModel } from "../../serve/model/served-model.ts";

/** What a timer of Node can wait for at most: 24 days. */
const longestTimerMs = 2 ** 31 - 1;

export interface LoadClassifierOptions {
  /** Threads that decode and run the model. Default: one for each core. */
  readonly workers?: number | undefined;
  /** Largest picture in bytes. Default: 16 MiB. */
  readonly maxBytes?: number | undefined;
  /** Largest picture in pixels. Default: 64 million. */
  readonly maxPixels?: number | undefined;
  /** Milliseconds after which an answer is given up (E_PREDICTION_TIMEOUT). Default: never. */
  readonly timeoutMs?: number | undefined;
}

export interface Classification {
  /** The most probable label. */
  readonly label: string;
  /** Probability of `label`, from 0 to 1. */
  readonly confidence: number;
  /** Probability of each label, in the order of `labels`. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** Whether the confidence is under the threshold that was measured for this model. */
  readonly unsure: boolean;
  /** Whether the picture is like none of the training. Then it is not called unsure as well. */
  readonly unknown: boolean;
}

export interface ClassifyOptions {
  /** Stops waiting for the answer when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** A model in threads of this process: what `POST /predict` does, as a function. */
export class LoadedClassifier implements AsyncDisposable {
  readonly #model: ServedModel;
  readonly #predictor: Predictor;

  constructor(model: ServedModel, limits: ServeLimits) {
    this.#model = model;
    this.#predictor = new Predictor(fixedTarget(model), limits);
  }

  get name(): string {
    return this.#model.name;
  }

  /** The start of the bundle's digest. */
  get version(): string {
    return this.#model.version;
  }

  get labels(): readonly string[] {
    return this.#model.bundle.manifest.labels;
  }

  /**
   * Classifies a picture: the bytes of a JPEG, PNG, WebP or GIF file, which must not change until the answer is there. Calls at
   * the same time share the threads. Throws `ServalError` with E_IMAGE_* for a picture that cannot be used, E_USAGE for what is
   * not bytes, E_PREDICTION_TIMEOUT, E_INFERENCE_STOPPED, or the signal's reason.
   */
  async classify(picture: Uint8Array | ArrayBuffer, { signal }: ClassifyOptions = {}): Promise<Classification> {
    const bytes = picture instanceof ArrayBuffer ? new Uint8Array(picture) : picture;
    if (!(bytes instanceof Uint8Array)) {
      throw new ServalError("E_USAGE", `classify: expected the bytes of a picture (a Buffer or Uint8Array), got ${typeof bytes}.`);
    }
    const { label, confidence, probabilities, doubt } = await this.#predictor.predict(bytes, signal === undefined ? {} : { signal });
    return { label, confidence, probabilities, unsure: doubt === "low_confidence", unknown: doubt === "unknown_input" };
  }

  /** Answers what was asked before, and ends the threads. Until then they keep the process. */
  async close(): Promise<void> {
    await this.#model.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Loads a model for a program of your own: a bundle folder, the model.onnx in one, or the name of a released model below
 * models/. It is checked as a service checks it, with its hashes and known answers. Throws E_BUNDLE_MISSING, E_BUNDLE_CORRUPT,
 * E_BUNDLE_CHECKS or E_ENGINE_MODEL.
 */
export async function loadClassifier(path: string, options: LoadClassifierOptions = {}): Promise<LoadedClassifier> {
  const limits: ServeLimits = {
    ...defaultLimits,
    maxBodyBytes: options.maxBytes ?? defaultLimits.maxBodyBytes,
    maxPixels: options.maxPixels ?? defaultLimits.maxPixels,
    requestTimeoutMs: options.timeoutMs ?? longestTimerMs,
    // How much may wait is for the program to decide.
    queueLimit: Infinity,
  };
  const { dir } = await resolveModel(path, resolve("."));
  const model = await loadServedModel(dir, { limits, ...(options.workers !== undefined && { workers: options.workers }) });
  return new LoadedClassifier(model, limits);
}
