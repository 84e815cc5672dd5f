import { availableParallelism } from "node:os";
import { ServalError } from "../../errors/serval-error.ts";
import { checkImage, type CheckedImage, type ImageLimits } from "../../image/check-image.ts";
import type { DecoderProcesses } from "../../image/decoder-processes.ts";
import type { Size } from "../../image/preprocess.ts";
import { sharedDecoder } from "../../image/shared-decoder.ts";
import { loadBundle, shortDigest, type Bundle } from "../../model/bundle.ts";
import { readFeatureShape } from "../../model/feature-shape.ts";
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
  /** Of the output `features`; -1 where a size is open. */
  readonly featureShape: readonly number[];
}

/** A bundle that is loaded, checked and ready to answer. */
export interface ServedModel extends ServableBundle {
  readonly pool: PredictPool;
  readonly name: string;
  /** Size of the pictures that the model itself takes, after preprocessing. */
  readonly inputSize: Size;
  /** Whether what is asked now can be expected to be answered. */
  readonly answering: boolean;
  /** Checks an image against the limits of the service. Throws as `checkImage` does. */
  look(image: Uint8Array): CheckedImage;
  /** Decodes a costly image, as `decodePicture` does. */
  decode(image: Uint8Array, options: DecodeOptions): Promise<Picture>;
  /** Runs the known-answer images again; calls at the same time share one run. */
  check(): Promise<CheckResult[]>;
  /** Answers what was asked before. */
  close(): Promise<void>;
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
  const [checkImages, classifier] = await Promise.all([readCheckImages(bundle), readClassifier(bundle)]);
  return { bundle, version: version ?? shortDigest(bundle), checkImages, classifier, featureShape: readFeatureShape(bundle.model) };
}

/** A model whose threads are being started. */
export interface StartingModel {
  readonly model: ServedModel;
  /**
   * Settles when the first thread is there and has given the known answers, which also warms the model up. Throws
   * E_ENGINE_MODEL, E_BUNDLE_CORRUPT or E_BUNDLE_CHECKS, and has ended the threads then.
   */
  readonly ready: Promise<void>;
}

/** Returns at once: what is asked of the model before it is ready waits, and what does not need an answer of it can be done meanwhile. */
export function beginServedModel(servable: ServableBundle, options: ServedModelOptions = {}): StartingModel {
  const { bundle, classifier, checkImages } = servable;
  const { preprocess, name } = bundle.manifest;
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
    decoder = sharedDecoder(),
  } = options;
  const pool = new PredictPool(
    bundle.model,
    { preprocess, limits: imageLimits(limits), classifier, aloneThreads: threads },
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
  const predict = async (image: Uint8Array): Promise<Float32Array> => {
    const { costly, work } = checkImage(image, checkLimits);
    const picture = costly ? await decodePicture(decoder, image, preprocess, checkLimits, { work }) : { encoded: image };
    return (await pool.run({ kind: "check", picture })).probabilities;
  };
  let running: Promise<CheckResult[]> | undefined;
  const model: ServedModel = {
    ...servable,
    pool,
    name,
    inputSize: preprocess.crop ?? preprocess,
    get answering() {
      return pool.alive && !pool.stuck;
    },
    look: (image) => checkImage(image, imageLimits(limits)),
    decode: async (image, how) => await decodePicture(decoder, image, preprocess, imageLimits(limits), how),
    async check() {
      running ??= runChecks(bundle, predict, checkImages).finally(() => (running = undefined));
      return await running;
    },
    close: async () => await pool.close(),
  };
  const begin = async (): Promise<void> => {
    try {
      await pool.ready;
      assertChecks(bundle, await model.check());
    } catch (error) {
      await pool.close();
      throw error;
    }
  };
  const ready = begin();
  // Whoever starts a model may look at this later, when a refusal has long come.
  ready.catch(() => undefined);
  return { model, ready };
}

/** Resolves when the model is ready. Throws as `StartingModel.ready` does. */
export async function startServedModel(servable: ServableBundle, options: ServedModelOptions = {}): Promise<ServedModel> {
  const { model, ready } = beginServedModel(servable, options);
  await ready;
  return model;
}

/** Both in one. */
export async function loadServedModel(path: string, options: ServedModelOptions = {}): Promise<ServedModel> {
  return await startServedModel(await readServable(path), options);
}

function imageLimits({ maxBodyBytes, maxPixels, maxDecodeMs }: ServeLimits): ImageLimits {
  return { maxBytes: maxBodyBytes, maxPixels, maxDecodeMs };
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
