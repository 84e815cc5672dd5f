import { availableParallelism } from "node:os";
import { ServalError } from "../../errors/serval-error.ts";
import { checkImage, type CheckedImage, type ImageLimits } from "../../image/check-image.ts";
import type { DecoderProcesses } from "../../image/decoder-processes.ts";
import type { Size } from "../../image/preprocess.ts";
import { sharedDecoder } from "../../image/shared-decoder.ts";
import { loadBundle, shortDigest, type Bundle } from "../../model/bundle.ts";
import { readFeatureShape } from "../../model/feature-shape.ts";
import { readFeatureSpace, readReferencePlaces, type FeatureSpace, type ReferencePlaces } from "../../model/feature-space.ts";
import { assertChecks, readCheckImages, runChecks, type CheckResult } from "../../model/checks.ts";
import type { Classifier } from "../inference/class-activation.ts";
import { readClassifier } from "../inference/classifier.ts";
import { decodePicture, type DecodeOptions } from "../inference/decode-picture.ts";
import { checkLimits, defaultHangMs, defaultLimits, type ServeLimits } from "../inference/limits.ts";
import type { Picture } from "../inference/predict-call.ts";
import { PredictPool, type PoolOptions } from "../inference/predict-pool.ts";

/** A bundle with all that serving needs of its folder, so that the folder may change or go. */
export interface ServableBundle {
  readonly bundle: Bundle;
  /** The registry's version, or else the short digest of the bundle. */
  readonly version: string;
  readonly checkImages: ReadonlyMap<string, Uint8Array>;
  readonly classifier: Classifier | null;
  readonly space: FeatureSpace | null;
  /** Of the validation pictures, for the monitor. */
  readonly places: ReferencePlaces | null;
  /** Of the output `features`; -1 where a size is open. */
  readonly featureShape: readonly number[];
}

export interface ServedModelOptions extends Partial<PoolOptions> {
  readonly limits?: ServeLimits;
  /** Threads inside one operator for a request that has the machine for itself; default: all cores. */
  readonly threads?: number;
  /** Decodes what is costly; default: the one that the process shares. It stays open. */
  readonly decoder?: DecoderProcesses;
}

/** Reads a bundle. Throws E_BUNDLE_MISSING or E_BUNDLE_CORRUPT. */
export async function readServable(path: string, version?: string): Promise<ServableBundle> {
  const bundle = await loadBundle(path);
  const [checkImages, classifier, space, places] = await Promise.all([
    readCheckImages(bundle),
    readClassifier(bundle),
    readFeatureSpace(bundle),
    readReferencePlaces(bundle),
  ]);
  const featureShape = readFeatureShape(bundle.model);
  return { bundle, version: version ?? shortDigest(bundle), checkImages, classifier, space, places, featureShape };
}

/**
 * A bundle and the threads that answer with it, which are being started: what is asked before the first is ready waits, and
 * what does not need an answer can be done meanwhile.
 */
export class ServedModel implements ServableBundle {
  readonly bundle: Bundle;
  readonly version: string;
  readonly checkImages: ReadonlyMap<string, Uint8Array>;
  readonly classifier: Classifier | null;
  readonly space: FeatureSpace | null;
  readonly places: ReferencePlaces | null;
  readonly featureShape: readonly number[];
  readonly pool: PredictPool;
  /**
   * Settles when the first thread is there and has given the known answers, which also warms the model up. Throws
   * E_ENGINE_MODEL, E_BUNDLE_CORRUPT or E_BUNDLE_CHECKS, and has ended the threads then.
   */
  readonly ready: Promise<void>;
  readonly #limits: ImageLimits;
  readonly #decoder: DecoderProcesses;
  #checking: Promise<CheckResult[]> | undefined;

  constructor(servable: ServableBundle, options: ServedModelOptions = {}) {
    const { bundle, classifier, space } = servable;
    const cores = availableParallelism();
    const {
      limits = defaultLimits,
      threads = cores,
      workers = cores,
      maxBatchSize = 1,
      maxDelayMs = 0,
      thread,
      othersAfter,
      onLost,
    } = options;
    this.bundle = bundle;
    this.version = servable.version;
    this.checkImages = servable.checkImages;
    this.classifier = classifier;
    this.space = space;
    this.places = servable.places;
    this.featureShape = servable.featureShape;
    this.#limits = { maxBytes: limits.maxBodyBytes, maxPixels: limits.maxPixels, maxDecodeMs: limits.maxDecodeMs };
    this.#decoder = options.decoder ?? sharedDecoder();
    this.pool = new PredictPool(
      bundle.model,
      { preprocess: bundle.manifest.preprocess, limits: this.#limits, classifier, space, aloneThreads: threads },
      {
        workers,
        maxBatchSize,
        maxDelayMs,
        hangMs: limits.hangMs ?? defaultHangMs,
        stuckMs: limits.requestTimeoutMs / 2,
        thread,
        othersAfter,
        onLost,
      },
    );
    this.ready = this.#begin();
    // It may be looked at later, when a refusal has long come.
    this.ready.catch(() => undefined);
  }

  get name(): string {
    return this.bundle.manifest.name;
  }

  /** Size of the pictures that the model itself takes, after preprocessing. */
  get inputSize(): Size {
    const { preprocess } = this.bundle.manifest;
    return preprocess.crop ?? preprocess;
  }

  /** Whether what is asked now can be expected to be answered. */
  get answering(): boolean {
    return this.pool.alive && !this.pool.stuck;
  }

  /** Checks an image against the limits of the service. Throws as `checkImage` does. */
  look(image: Uint8Array): CheckedImage {
    return checkImage(image, this.#limits);
  }

  /** Decodes a costly image, as `decodePicture` does. */
  async decode(image: Uint8Array, options: DecodeOptions): Promise<Picture> {
    return await decodePicture(this.#decoder, image, this.bundle.manifest.preprocess, this.#limits, options);
  }

  /** Runs the known-answer images again; calls at the same time share one run. */
  async check(): Promise<CheckResult[]> {
    const answer = async (image: Uint8Array): Promise<Float32Array> => await this.#answerCheck(image);
    this.#checking ??= runChecks(this.bundle, answer, this.checkImages).finally(() => (this.#checking = undefined));
    return await this.#checking;
  }

  /** Answers what was asked before. */
  async close(): Promise<void> {
    await this.pool.close();
  }

  async #begin(): Promise<void> {
    try {
      await this.pool.ready;
      assertChecks(this.bundle, await this.check());
    } catch (error) {
      await this.pool.close();
      throw error;
    }
  }

  async #answerCheck(image: Uint8Array): Promise<Float32Array> {
    const { costly, work } = checkImage(image, checkLimits);
    const { preprocess } = this.bundle.manifest;
    const picture = costly ? await decodePicture(this.#decoder, image, preprocess, checkLimits, { work }) : { encoded: image };
    return (await this.pool.run({ kind: "check", picture })).probabilities;
  }
}

/** Resolves when the model is ready. Throws as `ServedModel.ready` does. */
export async function startServedModel(servable: ServableBundle, options: ServedModelOptions = {}): Promise<ServedModel> {
  const model = new ServedModel(servable, options);
  await model.ready;
  return model;
}

/** Both in one. */
export async function loadServedModel(path: string, options: ServedModelOptions = {}): Promise<ServedModel> {
  return await startServedModel(await readServable(path), options);
}

/** What clients of a service rely on. Throws E_MODEL_SIGNATURE where `next` would answer with other labels. */
export function assertSameSignature(served: ServableBundle, next: ServableBundle): void {
  const [expected, got] = [served.bundle.manifest.labels, next.bundle.manifest.labels];
  if (expected.length === got.length && expected.every((label, k) => label === got[k])) return;
  throw new ServalError(
    "E_MODEL_SIGNATURE",
    `Version ${next.version} answers with the labels ${got.join(", ")}; clients of this service expect ${expected.join(", ")}.`,
  );
}
