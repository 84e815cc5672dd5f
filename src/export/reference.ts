import type { Shards } from "../data/shards.ts";
import { type Size, centerCrop } from "../image/preprocess.ts";
import { imageStatistics, type ImageStatistics } from "../image/statistics.ts";
import { topLabels } from "../evaluate/metrics.ts";

/** Equal-width bins from `low` to `high`; values outside count in the outer bins. */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: readonly number[];
}

/** One number of an image, over many images. */
export interface Distribution {
  readonly mean: number;
  readonly standardDeviation: number;
  /** At 1, 5, 25, 50, 75, 95 and 99 %. */
  readonly quantiles: readonly number[];
  readonly histogram: Histogram;
}

/** What the model's world looked like when it was trained; a service compares what it sees with this to notice drift. */
export interface Reference {
  readonly formatVersion: 1;
  /** Training images, in the size and crop that the model sees. */
  readonly images: { readonly count: number } & Readonly<Record<keyof ImageStatistics, Distribution>>;
  /** Share of each label among the training images. */
  readonly labels: Readonly<Record<string, number>>;
  /** Answers on validation images: those it was not trained on. */
  readonly answers: {
    readonly count: number;
    /** Of the top label. */
    readonly confidence: Distribution;
    /** Share of each label among the answers. */
    readonly predicted: Readonly<Record<string, number>>;
  };
}

export interface ReferenceInput {
  readonly shards: Shards;
  /** Of the bundle's preprocessing; null means no crop. */
  readonly crop: Size | null;
  /** Of the validation split, [count, K] row-major, K = shards.labels.length. */
  readonly validationProbabilities: Float32Array;
  /** At most this many training images are looked at, evenly spaced. Default 2000: quantiles to about one per cent. */
  readonly maxImages?: number;
}

const referenceQuantiles: readonly number[] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

/** The value range that each histogram covers; photographs hardly exceed these for contrast and sharpness. */
const ranges: Readonly<Record<keyof ImageStatistics, readonly [low: number, high: number]>> = {
  brightness: [0, 1],
  contrast: [0, 0.5],
  sharpness: [0, 0.5],
  saturation: [0, 1],
};

const binCount = 20;

/** Evenly spaced training rows and all validation answers -> a compact record for bundle.json; the same input gives the same record. */
export function computeReference({ shards, crop, validationProbabilities, maxImages = 2000 }: ReferenceInput): Reference {
  const { width, height, labels, splits } = shards;
  const size = crop ?? { width, height };
  const count = Math.min(maxImages, splits.train.count);
  const row = new Uint8Array(height * width * 3);
  const seen = Array.from({ length: count }, (_, i) => {
    shards.readRow("train", Math.floor((i * splits.train.count) / count), row, 0);
    return imageStatistics(centerCrop(row, { width, height }, size), size.width, size.height);
  });
  const statistic = (key: keyof ImageStatistics): Distribution =>
    describeDistribution(
      seen.map((values) => values[key]),
      ranges[key],
    );
  const { predicted, confidence } = topLabels(
    { length: validationProbabilities.length / labels.length },
    validationProbabilities,
    labels.length,
  );
  return {
    formatVersion: 1,
    images: {
      count,
      brightness: statistic("brightness"),
      contrast: statistic("contrast"),
      sharpness: statistic("sharpness"),
      saturation: statistic("saturation"),
    },
    labels: shares(labels, splits.train.classIndex),
    answers: { count: confidence.length, confidence: describeDistribution([...confidence], [0, 1]), predicted: shares(labels, predicted) },
  };
}

/** Mean, deviation, quantiles (linear between neighbours) and histogram, rounded to six digits so that the record stays small. */
export function describeDistribution(values: readonly number[], [low, high]: readonly [low: number, high: number]): Distribution {
  const counts = Array.from({ length: binCount }, () => 0);
  for (const value of values) {
    const bin = Math.min(binCount - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * binCount)));
    counts[bin] = (counts[bin] as number) + 1;
  }
  const sorted = [...values].sort((a, b) => a - b);
  const mean = values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.length === 0 ? 0 : values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return {
    mean: round(mean),
    standardDeviation: round(Math.sqrt(variance)),
    quantiles: values.length === 0 ? [] : referenceQuantiles.map((q) => round(quantile(sorted, q))),
    histogram: { low, high, counts },
  };
}

function quantile(sorted: readonly number[], q: number): number {
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const lower = sorted[below] as number;
  return lower + (position - below) * ((sorted[below + 1] ?? lower) - lower);
}

function shares(labels: readonly string[], classIndex: Uint16Array): Record<string, number> {
  const counts = labels.map(() => 0);
  for (const k of classIndex) counts[k] = (counts[k] as number) + 1;
  return Object.fromEntries(
    labels.map((label, k) => [label, classIndex.length === 0 ? 0 : round((counts[k] as number) / classIndex.length)]),
  );
}

function round(value: number): number {
  return Number(value.toPrecision(6));
}
