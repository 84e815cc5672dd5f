import type { Shards } from "../data/shards.ts";
import { type Size, centerCrop } from "../image/preprocess.ts";
import { estimateStatistics, type ImageStatistics } from "../image/statistics.ts";
import type { Reference } from "../model/reference.ts";
import { describeDistribution, roundDigits, type Distribution } from "../statistics/distribution.ts";
import { topLabels } from "../evaluate/metrics.ts";

export interface ReferenceInput {
  readonly shards: Shards;
  /** Of the bundle's preprocessing; null means no crop. */
  readonly crop: Size | null;
  /** Of the validation split, [count, K] row-major, K = shards.labels.length. */
  readonly validationProbabilities: Float32Array;
  /** At most this many training images are looked at, evenly spaced. Default 2000: quantiles to about one per cent. */
  readonly maxImages?: number;
}

/** The value range that each histogram covers; photographs hardly exceed these for contrast and sharpness. */
const ranges: Readonly<Record<keyof ImageStatistics, readonly [low: number, high: number]>> = {
  brightness: [0, 1],
  contrast: [0, 0.5],
  sharpness: [0, 0.5],
  saturation: [0, 1],
};

/** Evenly spaced training rows and all validation answers -> a compact record for bundle.json; the same input gives the same record. */
export function computeReference({ shards, crop, validationProbabilities, maxImages = 2000 }: ReferenceInput): Reference {
  const { width, height, labels, splits } = shards;
  const size = crop ?? { width, height };
  const count = Math.min(maxImages, splits.train.count);
  const row = new Uint8Array(height * width * 3);
  const seen = Array.from({ length: count }, (_, i) => {
    shards.readRow("train", Math.floor((i * splits.train.count) / count), row, 0);
    return estimateStatistics(centerCrop(row, { width, height }, size), size.width, size.height);
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

function shares(labels: readonly string[], classIndex: Uint16Array): Record<string, number> {
  const counts = labels.map(() => 0);
  for (const k of classIndex) counts[k] = (counts[k] as number) + 1;
  return Object.fromEntries(
    labels.map((label, k) => [label, classIndex.length === 0 ? 0 : roundDigits((counts[k] as number) / classIndex.length)]),
  );
}
