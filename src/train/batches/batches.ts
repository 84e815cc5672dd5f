import type { Shards, Split } from "../../data/shards.ts";
import {
  addNoise,
  blend,
  colourMap,
  createResampler,
  eraseWindow,
  exchangeWindow,
  meanBrightness,
  type ColourFactors,
  type Resampler,
  type Window,
} from "../../image/augment.ts";
import { type Size, centerCrop } from "../../image/preprocess.ts";
import { Random } from "../../random.ts";
import type { TrainConfig } from "../train-job.ts";

/** Streams of the seed: epoch e shuffles with shuffleStream + e, step s (of the whole training) draws with batchStream + s. */
const shuffleStream = 1000;
const batchStream = 0x1000_0000;
/** Stream of the noise that pictures get pieces of. */
const noiseStream = 1;

/** Blurred pictures are blurred over up to this share of their longer side, to each side. */
const widestBlur = 0.04;
/** Noisy pictures get a deviation of up to this, of 255. */
const loudestNoise = 40;

export type Augmentation = Pick<
  TrainConfig,
  "flip" | "labelSmoothing" | "cropScale" | "colorJitter" | "blur" | "noise" | "erasing" | "mixup" | "cutmix" | "mixProbability"
>;

/** What a training step reads. */
export interface Batch {
  /** uint8 [N, side, side, 3]. */
  readonly images: Uint8Array;
  /** [N, K], each row sums to 1. */
  readonly targets: Float32Array;
  /** The label with the largest share of each picture. */
  readonly classIndex: Uint16Array;
}

/** The rows of the training split in the order of an epoch. */
export function epochOrder(seed: number, epoch: number, rows: number): Uint32Array {
  return new Random(seed, shuffleStream + epoch).permutation(rows);
}

/** Makes batches of one size; what is in a batch depends on the seed, the order and the step alone. */
export class BatchMaker {
  readonly #shards: Shards;
  readonly #seed: number;
  readonly #side: number;
  readonly #options: Augmentation;
  readonly #resampler: Resampler;
  readonly #row: Uint8Array;
  readonly #normals: Float32Array;

  constructor(shards: Shards, seed: number, side: number, options: Augmentation) {
    this.#shards = shards;
    this.#seed = seed;
    this.#side = side;
    this.#options = options;
    this.#resampler = createResampler(side, shards);
    this.#row = new Uint8Array(shards.width * shards.height * 3);
    const random = new Random(seed, noiseStream);
    // A prime length, so that rows of pictures do not repeat it.
    this.#normals = Float32Array.from({ length: options.noise > 0 ? 131_071 : 0 }, () => random.normal());
  }

  /** Fills `batch` with the rows that `order` names from `start` on. `step` counts from the start of the training. */
  make(batch: Batch, order: Uint32Array, start: number, step: number): void {
    const random = new Random(this.#seed, batchStream + step);
    const bytes = this.#side ** 2 * 3;
    const classes = this.#shards.labels.length;
    const { labelSmoothing } = this.#options;
    for (let i = 0; i < batch.classIndex.length; i++) {
      const index = order[start + i] as number;
      this.#shards.readRow("train", index, this.#row, 0);
      this.#augment(batch.images, i * bytes, random);
      const label = this.#shards.splits.train.classIndex[index] as number;
      batch.classIndex[i] = label;
      batch.targets.fill(labelSmoothing / classes, i * classes, (i + 1) * classes);
      batch.targets[i * classes + label] = 1 - labelSmoothing + labelSmoothing / classes;
    }
    this.#mix(batch, random);
  }

  #augment(target: Uint8Array, offset: number, random: Random): void {
    const { cropScale, colorJitter, blur, noise, erasing, flip } = this.#options;
    const window = randomCrop(random, this.#shards, cropScale);
    const mirrored = random.uniform() < 0.5 && flip;
    const colours = colourMap(randomColours(random, colorJitter), meanBrightness(this.#row, this.#shards, window));
    // Disabled augmentations consume no random numbers, so all other trainings see the same pictures as before.
    if (noise > 0 && random.uniform() < noise)
      addNoise(this.#row, this.#normals, random.below(this.#normals.length), loudestNoise * random.uniform());
    const softness = blur > 0 && random.uniform() < blur ? this.#randomBlur(random) : 1;
    this.#resampler.into(target, offset, this.#row, this.#shards, window, mirrored, colours, softness);
    if (random.uniform() < erasing) {
      const square = { width: this.#side, height: this.#side };
      const hole = randomWindow(random, square, 0.02 + 0.23 * random.uniform(), 0.3);
      eraseWindow(target, offset, this.#side, hole, [random.below(256), random.below(256), random.below(256)]);
    }
  }

  /** Whole pixels of the picture, 2 or more. */
  #randomBlur(random: Random): number {
    const most = Math.max(2, Math.round(widestBlur * Math.max(this.#shards.width, this.#shards.height)));
    return 2 + random.below(most - 1);
  }

  /** Mixes the first picture with the last, the second with the last but one, and so on. */
  #mix(batch: Batch, random: Random): void {
    const { mixup, cutmix, mixProbability } = this.#options;
    if (mixup === 0 && cutmix === 0) return;
    if (random.uniform() >= mixProbability) return;
    const cuts = mixup === 0 || (cutmix > 0 && random.uniform() < 0.5);
    const side = this.#side;
    const bytes = side ** 2 * 3;
    const count = batch.classIndex.length;
    for (let i = 0; i < Math.floor(count / 2); i++) {
      const j = count - 1 - i;
      let share = betaSymmetric(random, cuts ? cutmix : mixup);
      if (cuts) {
        const window = randomWindow(random, { width: side, height: side }, 1 - share, 1);
        exchangeWindow(batch.images, i * bytes, j * bytes, side, window);
        share = 1 - (window.width * window.height) / side ** 2;
      } else blend(batch.images, i * bytes, j * bytes, bytes, share);
      mixTargets(batch, i, j, share);
    }
  }
}

function mixTargets({ targets, classIndex }: Batch, i: number, j: number, share: number): void {
  const classes = targets.length / classIndex.length;
  for (let k = 0; k < classes; k++) {
    const [a, b] = [targets[i * classes + k] as number, targets[j * classes + k] as number];
    targets[i * classes + k] = share * a + (1 - share) * b;
    targets[j * classes + k] = share * b + (1 - share) * a;
  }
  if (share < 0.5) [classIndex[i], classIndex[j]] = [classIndex[j] as number, classIndex[i] as number];
}

/**
 * A window of `share` of the area of the largest square that fits, its shape between `narrowest`:1 and 1:`narrowest`, cut
 * down to what fits. Of a square, because what validation and the service see is one.
 */
function randomWindow(random: Random, { width, height }: Size, share: number, narrowest: number): Window {
  const shape = Math.exp((2 * random.uniform() - 1) * Math.log(narrowest));
  const side = Math.min(width, height);
  const inside = (length: number, limit: number): number => Math.max(1, Math.min(limit, Math.round(length)));
  const window = {
    width: inside(Math.sqrt(share * side * side * shape), width),
    height: inside(Math.sqrt((share * side * side) / shape), height),
  };
  return { ...window, top: random.below(height - window.height + 1), left: random.below(width - window.width + 1) };
}

/** Random resized crop: from `cropScale` to all of the area, between 3:4 and 4:3, less what does not fit. Szegedy et al. 2015, arXiv:1409.4842. */
function randomCrop(random: Random, size: Size, cropScale: number): Window {
  return randomWindow(random, size, cropScale + (1 - cropScale) * random.uniform(), 3 / 4);
}

/** Brightness, contrast and saturation by up to `strength`, white balance by up to a quarter of it. */
function randomColours(random: Random, strength: number): ColourFactors {
  const factor = (limit: number): number => 1 + (2 * random.uniform() - 1) * limit;
  return {
    brightness: factor(strength),
    contrast: factor(strength),
    saturation: factor(strength),
    balance: [factor(strength / 4), factor(strength / 4), factor(strength / 4)],
  };
}

/** Beta(alpha, alpha) for 0 < alpha <= 1, by Jöhnk's method. */
function betaSymmetric(random: Random, alpha: number): number {
  for (;;) {
    // By logarithms: for a small alpha the powers themselves are too small for a float. 1 - u is never zero.
    const [x, y] = [Math.log(1 - random.uniform()) / alpha, Math.log(1 - random.uniform()) / alpha];
    if (Math.exp(x) + Math.exp(y) <= 1) return 1 / (1 + Math.exp(y - x));
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
