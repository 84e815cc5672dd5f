import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openShards, type Shards } from "../../../src/data/shards.ts";
import { centerCrop } from "../../../src/image/preprocess.ts";
import { imageStatistics, type ImageStatistics } from "../../../src/image/statistics.ts";
import { computeReference } from "../../../src/export/reference.ts";
import { describeDistribution } from "../../../src/statistics/distribution.ts";
import { makeColourRepository, type ColourRepository } from "../../helpers/colour-repository.ts";

describe("describeDistribution", () => {
  it("has mean, deviation, quantiles and a histogram that counts every value", () => {
    const values = Array.from({ length: 101 }, (_, i) => i / 100);
    const { mean, standardDeviation, quantiles, histogram } = describeDistribution(values, [0, 1]);
    expect(mean).toBe(0.5);
    expect(standardDeviation).toBeCloseTo(0.291548, 6);
    expect(quantiles).toEqual([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]);
    expect(histogram.counts.length).toBe(20);
    expect(histogram.counts.reduce((a, b) => a + b, 0)).toBe(101);
    expect(histogram.counts.at(-1)).toBe(6);
  });

  it("counts what lies outside in the outer bins", () => {
    const { histogram } = describeDistribution([-1, 0.5, 7], [0, 0.5]);
    expect([histogram.counts[0], histogram.counts.at(-1)]).toEqual([1, 2]);
  });

  it("takes quantiles linearly between neighbours, and has none of nothing", () => {
    expect(describeDistribution([0, 1], [0, 1]).quantiles[3]).toBe(0.5);
    expect(describeDistribution([], [0, 1])).toMatchObject({ mean: 0, quantiles: [] });
  });
});

describe("computeReference", () => {
  const size = { width: 20, height: 16 };
  const validationProbabilities = Float32Array.of(0.9, 0.1, 0.2, 0.8, 0.6, 0.4, 0.7, 0.3);
  let repository: ColourRepository;
  let shards: Shards;
  beforeAll(async () => {
    repository = await makeColourRepository({ counts: { blue: 20, red: 10 }, prepare: { shares: { train: 0.5, val: 0.5, test: 0 } } });
    shards = await openShards(join(repository.cwd, "data", "processed"));
  });
  afterAll(async () => {
    shards.close();
    await repository.remove();
  });
  const statisticsOf = (index: number, crop = size): ImageStatistics => {
    const row = new Uint8Array(size.width * size.height * 3);
    shards.readRow("train", index, row, 0);
    return imageStatistics(centerCrop(row, size, crop), crop.width, crop.height);
  };
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

  it("describes the training images and the answers on validation, in a few kilobytes", () => {
    const { count, classIndex } = shards.splits.train;
    const reference = computeReference({ shards, crop: null, validationProbabilities });
    expect(reference.images.count).toBe(count);
    const seen = Array.from({ length: count }, (_, i) => statisticsOf(i));
    for (const key of ["brightness", "contrast", "sharpness", "saturation"] as const) {
      expect(reference.images[key].mean).toBeCloseTo(mean(seen.map((values) => values[key])), 5);
    }
    expect(reference.labels["red"]).toBeCloseTo(classIndex.filter((k) => k === 1).length / count, 5);
    expect(reference.answers).toMatchObject({ count: 4, predicted: { blue: 0.75, red: 0.25 }, confidence: { mean: 0.75 } });
    expect(JSON.stringify(reference).length).toBeLessThan(3000);
  });

  it("looks at the crop that the model sees", () => {
    const crop = { width: 6, height: 6 };
    const reference = computeReference({ shards, crop, validationProbabilities });
    const expected = mean(Array.from({ length: shards.splits.train.count }, (_, i) => statisticsOf(i, crop).contrast));
    expect(reference.images.contrast.mean).toBeCloseTo(expected, 5);
    expect(expected).not.toBeCloseTo(computeReference({ shards, crop: null, validationProbabilities }).images.contrast.mean, 5);
  });

  it("samples a large split evenly", () => {
    const { count } = shards.splits.train;
    const reference = computeReference({ shards, crop: null, validationProbabilities, maxImages: 3 });
    const rows = [0, Math.floor(count / 3), Math.floor((2 * count) / 3)];
    expect(reference.images.count).toBe(3);
    expect(reference.images.brightness.mean).toBeCloseTo(mean(rows.map((i) => statisticsOf(i).brightness)), 5);
  });
});
