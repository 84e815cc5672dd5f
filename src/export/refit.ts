import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Shards } from "../data/shards.ts";
import { ServalError } from "../errors/serval-error.ts";
import { softenedProbabilities } from "../evaluate/temperature.ts";
import { readIfThere } from "../files.ts";
import { weightsFile, writeBundle, type Bundle } from "../model/bundle.ts";
import { cardFile, provenanceFile, validationFile } from "../model/manifest.ts";
import { featureSpaceFile } from "../model/feature-space.ts";
import { parseSafetensors } from "../model/safetensors.ts";
import type { Inference } from "../runtime/inference.ts";
import { answerSplits, readReading } from "./answer-rows.ts";
import { fitFeatureSpace } from "./fit-feature-space.ts";
import { computeReference } from "./reference.ts";

export interface RefitOptions {
  readonly bundle: Bundle;
  /** `bundle.model`, which is not closed. */
  readonly inference: Inference;
  readonly shards: Shards;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Adds the outlier score, the projection and the reference to a bundle, or replaces them, from its model and the data that it was
 * trained on. The model and its answers stay as they are. Throws E_MODEL_DATA for other data.
 */
export async function refitBundle({ bundle, inference, shards, signal, onProgress }: RefitOptions): Promise<Bundle> {
  const { dir, manifest } = bundle;
  assertSameData(bundle, shards);
  const { files: known, formatVersion: _, outlierScore: __, embeddingProjection: ___, ...kept } = manifest;
  const names = Object.keys(known).filter((name) => name !== featureSpaceFile);
  const files = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(dir, name))] as const)));
  const { crop } = manifest.preprocess;
  const weights = files[weightsFile];
  const reading = readReading(bundle.model, weights && parseSafetensors(weights).metadata["embedding"]);
  const { logits, training, validation } = await answerSplits({ inference, shards, size: crop ?? shards, reading, signal, onProgress });
  const space = reading && fitFeatureSpace({ ...reading, training, validation });
  if (space === undefined) {
    throw new ServalError(
      "E_MODEL_DATA",
      `The features of the model in ${dir} are the same for all pictures, or are not numbers: nothing can be fitted on them.`,
    );
  }
  const temperature = manifest.metrics["temperature"] ?? 1;
  const validationProbabilities = softenedProbabilities(logits, manifest.labels.length, temperature);
  const lines = await readIfThere(join(dir, validationFile));
  return await writeBundle(dir, {
    manifest: { ...kept, ...space.manifest, reference: { ...computeReference({ shards, crop, validationProbabilities }) } },
    files: { ...files, [featureSpaceFile]: space.file },
    card: (await readIfThere(join(dir, cardFile))) ?? "",
    provenance: JSON.parse((await readIfThere(join(dir, provenanceFile))) ?? "{}") as Record<string, unknown>,
    ...(lines !== undefined && { validation: lines }),
  });
}

/** A threshold that is chosen on pictures that the model learned from would be too low. */
function assertSameData({ dir, manifest }: Bundle, shards: Shards): void {
  const differs = (what: string, own: unknown, got: unknown): void => {
    if (JSON.stringify(own) === JSON.stringify(got)) return;
    throw new ServalError(
      "E_MODEL_DATA",
      `The model in ${dir} was trained with ${what} ${JSON.stringify(own)}, but the prepared data has ${JSON.stringify(got)}.`,
      { hint: "Run this where the data of its training is prepared, with the same parameters." },
    );
  };
  const { preprocess, split } = manifest;
  differs("the data version", manifest.dataVersion, shards.dataVersion);
  differs("the labels", manifest.labels, shards.labels);
  for (const key of ["width", "height", "fit", "kernel", "orient"] as const) differs(key, preprocess[key], shards[key]);
  if (split === undefined) return;
  const { train, val, test } = shards.shares;
  differs(
    "the split",
    [split.seed, split.dedupe, split.shares.train, split.shares.val, split.shares.test],
    [shards.seed, shards.dedupe, train, val, test],
  );
}
