import type { Shards, Split } from "../data/shards.ts";
import { cropFlipInto } from "../image/augment.ts";
import { centerCrop, type Size } from "../image/preprocess.ts";
import type { Random } from "./random.ts";

export interface BatchOptions {
  readonly batchSize: number;
  /** Side of the square window in pixels. */
  readonly cropSize: number;
  readonly flip: boolean;
  readonly labelSmoothing: number;
}

/** Buffers that a training step reads; filled again for each step. */
export interface Batch {
  /** uint8 [N, crop, crop, 3]. */
  readonly images: Uint8Array;
  /** [N, K], each row sums to 1. */
  readonly targets: Float32Array;
  readonly classIndex: Uint16Array;
}

export function allocateBatch(classes: number, { batchSize, cropSize }: Pick<BatchOptions, "batchSize" | "cropSize">): Batch {
  return {
    images: new Uint8Array(batchSize * cropSize * cropSize * 3),
    targets: new Float32Array(batchSize * classes),
    classIndex: new Uint16Array(batchSize),
  };
}

/** Fills a batch with the rows that `order` names from `start` on, each cut at random and mirrored at random. */
export function fillTrainingBatch(
  batch: Batch,
  shards: Shards,
  order: Uint32Array,
  start: number,
  random: Random,
  options: BatchOptions,
): void {
  const { batchSize, cropSize, flip, labelSmoothing } = options;
  const classes = shards.labels.length;
  const row = new Uint8Array(shards.width * shards.height * 3);
  const crop = { width: cropSize, height: cropSize };
  for (let i = 0; i < batchSize; i++) {
    const index = order[start + i] as number;
    shards.readRow("train", index, row, 0);
    const window = {
      top: random.below(shards.height - cropSize + 1),
      left: random.below(shards.width - cropSize + 1),
      flip: random.uniform() < 0.5 && flip,
    };
    cropFlipInto(batch.images, i * cropSize * cropSize * 3, row, shards, crop, window);
    const label = shards.splits.train.classIndex[index] as number;
    batch.classIndex[i] = label;
    batch.targets.fill(labelSmoothing / classes, i * classes, (i + 1) * classes);
    batch.targets[i * classes + label] = 1 - labelSmoothing + labelSmoothing / classes;
  }
}

/** Rows [start, start+count) of a split, cut at the centre: what the service would feed for these pictures. */
export function readCentered(shards: Shards, split: Split, start: number, count: number, crop: Size): Uint8Array {
  const imageBytes = crop.width * crop.height * 3;
  const images = new Uint8Array(count * imageBytes);
  const row = new Uint8Array(shards.width * shards.height * 3);
  for (let i = 0; i < count; i++) {
    shards.readRow(split, start + i, row, 0);
    images.set(centerCrop(row, shards, crop), i * imageBytes);
  }
  return images;
}
