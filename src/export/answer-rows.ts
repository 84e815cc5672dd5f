import type { Shards, Split } from "../data/shards.ts";
import { centerCrop, type Size } from "../image/preprocess.ts";
import { readFeatureShape } from "../model/feature-shape.ts";
import { poolFeatures, type Pooling } from "../model/feature-space.ts";
import type { Inference } from "../runtime/inference.ts";
import { evenlySpaced, mostNeighbours } from "./fit-feature-space.ts";

/** How the features of a model become one row of numbers. */
export interface Reading {
  readonly channels: number;
  readonly pooling: Pooling;
}

export interface RowsOfShards {
  readonly inference: Inference;
  readonly shards: Shards;
  /** What the model takes of a prepared picture, from its centre. */
  readonly size: Size;
  /** How its features become one row of numbers; undefined leaves them out. */
  readonly reading: Reading | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Answers {
  /** [count, classes] */
  readonly logits: Float32Array;
  /** [count, channels]; empty where they were left out. */
  readonly features: Float32Array;
}

const batchSize = 64;
/** The model's answers to rows of a split: to all, or to those with the given numbers. */
export async function answerRows(ask: RowsOfShards & { readonly split: Split; readonly rows?: readonly number[] }): Promise<Answers> {
  const { inference, shards, split, size, reading, signal, onProgress } = ask;
  const rows = ask.rows ?? [...shards.splits[split].sha256.keys()];
  const classes = shards.labels.length;
  const { channels, pooling } = reading ?? { channels: 0, pooling: "mean" };
  const logits = new Float32Array(rows.length * classes);
  const features = new Float32Array(rows.length * channels);
  const imageBytes = size.width * size.height * 3;
  const row = new Uint8Array(shards.width * shards.height * 3);
  for (let start = 0; start < rows.length; start += batchSize) {
    signal?.throwIfAborted();
    const batch = rows.slice(start, start + batchSize);
    const images = new Uint8Array(batch.length * imageBytes);
    for (const [i, index] of batch.entries()) {
      shards.readRow(split, index, row, 0);
      images.set(centerCrop(row, shards, size), i * imageBytes);
    }
    const answer = await inference.run(images, batch.length, { features: reading !== undefined });
    logits.set(answer.logits, start * classes);
    if (answer.features) {
      const length = answer.features.length / batch.length;
      for (let i = 0; i < batch.length; i++) {
        const own = answer.features.subarray(i * length, (i + 1) * length);
        features.set(poolFeatures(own, channels, pooling), (start + i) * channels);
      }
    }
    onProgress?.(start + batch.length, rows.length);
  }
  return { logits, features };
}

/** The answers to the validation split, and the features of training pictures that a score is fitted on. */
export async function answerSplits(ask: RowsOfShards): Promise<{ logits: Float32Array; training: Float32Array; validation: Float32Array }> {
  const { splits } = ask.shards;
  const rows = ask.reading ? evenlySpaced(splits.train.count, mostNeighbours) : [];
  const total = splits.val.count + rows.length;
  const after = (before: number) => (done: number) => ask.onProgress?.(before + done, total);
  const { logits, features: validation } = await answerRows({ ...ask, split: "val", onProgress: after(0) });
  const { features: training } = await answerRows({ ...ask, split: "train", rows, onProgress: after(splits.val.count) });
  return { logits, training, validation };
}

/** By the file of the model and what its weights say of the classifier; undefined where the model does not say how many features it has. */
export function readReading(model: Uint8Array, embedding: string | undefined): Reading | undefined {
  const [, channels = -1] = readFeatureShape(model);
  return channels > 0 ? { channels, pooling: embedding === "root" ? "root" : "mean" } : undefined;
}
