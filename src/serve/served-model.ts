import type { ImageLimits } from "../image/preprocess.ts";
import { loadBundle, shortDigest, type Bundle } from "../model/bundle.ts";
import { assertChecks, runChecks, type CheckResult } from "../model/checks.ts";
import { startInference, type Inference } from "../runtime/inference.ts";

/** A bundle that is loaded, checked and ready to answer. */
export interface ServedModel {
  readonly bundle: Bundle;
  readonly inference: Inference;
  readonly name: string;
  /** The short digest of the bundle. */
  readonly version: string;
  /** Runs the known-answer images again; calls at the same time share one run. */
  check(): Promise<CheckResult[]>;
  close(): Promise<void>;
}

export interface ServedModelOptions {
  /** Threads inside one operator; default: all cores. */
  readonly threads?: number;
}

/**
 * Loads a bundle, starts its inference thread, and runs its known-answer images, which also warms the model up. Throws
 * E_BUNDLE_MISSING, E_BUNDLE_CORRUPT, E_ENGINE_MODEL or E_BUNDLE_CHECKS.
 */
export async function loadServedModel(path: string, options: ServedModelOptions = {}): Promise<ServedModel> {
  const bundle = await loadBundle(path);
  const { width, height } = inputSize(bundle);
  const inference = await startInference(bundle.model, { imageShape: [height, width], ...options });
  let running: Promise<CheckResult[]> | undefined;
  const model: ServedModel = {
    bundle,
    inference,
    name: bundle.manifest.name,
    version: shortDigest(bundle),
    async check() {
      running ??= runChecks(bundle, inference).finally(() => (running = undefined));
      return await running;
    },
    close: async () => await inference.close(),
  };
  try {
    assertChecks(bundle, await model.check());
    return model;
  } catch (error) {
    await inference.close();
    throw error;
  }
}

/** Size of the pictures that the model itself takes, after preprocessing. */
function inputSize(bundle: Bundle): { readonly width: number; readonly height: number } {
  return bundle.manifest.preprocess.crop ?? bundle.manifest.preprocess;
}

export function imageLimits(limits: { readonly maxBodyBytes: number; readonly maxPixels: number }): ImageLimits {
  return { maxBytes: limits.maxBodyBytes, maxPixels: limits.maxPixels };
}
