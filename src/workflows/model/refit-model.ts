import { join, relative } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { openShards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { refitBundle } from "../../export/refit.ts";
import { loadBundle, shortDigest } from "../../model/bundle.ts";
import { readFeatureSpace } from "../../model/feature-space.ts";
import { shardsDir } from "../../paths.ts";
import { startInference } from "../../runtime/inference.ts";
import { findModel } from "../find-model.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "../reporter.ts";

export interface RefitModelOptions extends UseCaseOptions {
  /** A bundle folder, its model.onnx or a released model's name; default: SERVAL_MODEL, else the released model. */
  readonly model?: string | undefined;
}

export interface RefittedModel {
  /** The bundle's folder, relative to the working folder. */
  readonly dir: string;
  readonly name: string;
  /** Versions of bundles without a registry: what they hold has changed. */
  readonly before: string;
  readonly version: string;
  /** Outlier score above which a picture is an unknown input; null where there are too few validation pictures. */
  readonly unknownAbove: number | null;
}

/**
 * Adds the outlier score, the projection and the reference to a bundle in its folder, from its model and the prepared data of its
 * training, without training. Throws E_MODEL_DATA for other data, and what reading either throws.
 */
export async function refitModel({ model, ...options }: RefitModelOptions): Promise<RefittedModel> {
  const { cwd, reporter = silentReporter, signal } = options;
  const found = await findModel(model ?? loadSettings().model ?? undefined, options);
  if (found.registered) {
    throw new ServalError("E_USAGE", "--refit changes the bundle in a folder; a registered version stays as it is.", {
      hint: "Name the bundle's folder with --model, and register it again afterwards.",
    });
  }
  const bundle = await loadBundle(found.dir);
  const { width, height } = bundle.manifest.preprocess.crop ?? bundle.manifest.preprocess;
  const shards = await openShards(join(cwd, shardsDir), { verify: ["train", "val"] });
  try {
    const inference = await startInference(bundle.model, { imageShape: [height, width] });
    try {
      let progress: Progress | undefined;
      const onProgress = (done: number, total: number): void => {
        progress ??= reporter.progress("Features", total, "pictures");
        progress.update(done);
      };
      const refitted = await refitBundle({ bundle, inference, shards, signal, onProgress });
      progress?.end();
      const space = await readFeatureSpace(refitted);
      return {
        dir: relative(cwd, found.dir) || ".",
        name: bundle.manifest.name,
        before: shortDigest(bundle),
        version: shortDigest(refitted),
        unknownAbove: space?.outliers?.threshold ?? null,
      };
    } finally {
      await inference.close();
    }
  } finally {
    shards.close();
  }
}
