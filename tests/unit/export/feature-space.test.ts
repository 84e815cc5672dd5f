import { expect, test } from "vitest";
import { fitFeatureSpace, keepingThreshold } from "../../../src/export/fit-feature-space.ts";
import { poolFeatures, scoreOutlier, unitRows } from "../../../src/model/feature-space.ts";
import { Random } from "../../../src/random.ts";

function randomRows(count: number, channels: number, seed: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count * channels }, () => random.normal() + 1);
}

test.each([1, 3, 5])("the score is the distance to neighbour number %i, for channels that fill no whole block of four", (k) => {
  const [count, channels] = [40, 11];
  const training = randomRows(count, channels, 1);
  const row = randomRows(1, channels, 2);
  const unit = (values: Float32Array): number[] => [...values].map((value) => value / Math.hypot(...values));
  const distances = Array.from({ length: count }, (_, r) => {
    const other = unit(training.subarray(r * channels, (r + 1) * channels));
    return Math.hypot(...unit(row).map((value, c) => value - (other[c] as number)));
  }).sort((a, b) => a - b);
  const score = scoreOutlier({ neighbours: unitRows(training, channels), k, threshold: 0 }, row);
  expect(score).toBeCloseTo(distances[k - 1] as number, 6);
});

test("features that are all 0 are as far as can be from everything else", () => {
  const training = randomRows(40, 8, 1).map(Math.abs);
  expect(scoreOutlier({ neighbours: unitRows(training, 8), k: 5, threshold: 0 }, new Float32Array(8))).toBe(Math.SQRT2);
});

test("maps become the mean of their places, or its root; a vector stays as it is", () => {
  const maps = Float32Array.of(1, 3, 5, 7, 0, 0, 2, 2);
  expect([...poolFeatures(maps, 2, "mean")]).toEqual([4, 1]);
  expect([...poolFeatures(maps, 2, "root")]).toEqual([2, 1]);
  expect([...poolFeatures(Float32Array.of(4, 9), 2, "root")]).toEqual([4, 9]);
});

test("the threshold keeps 98 of 100, and all of fewer than 50", () => {
  const scores = Array.from({ length: 100 }, (_, i) => 99 - i);
  const kept = (of: number[]): number => of.filter((score) => score <= keepingThreshold(of, 0.98)).length;
  expect(kept(scores)).toBe(98);
  expect(kept(scores.slice(0, 49))).toBe(49);
});

test("with fewer than 50 validation pictures there is a projection and no score", () => {
  const [training, channels] = [randomRows(30, 8, 1), 8];
  const fit = (count: number) =>
    fitFeatureSpace({ channels, pooling: "mean", training, validation: randomRows(count, channels, 2) })?.manifest;
  expect(fit(49)).toEqual({ embeddingProjection: expect.objectContaining({ channels: 8 }) as object });
  expect(fit(50)).toMatchObject({ outlierScore: { neighbours: 30 } });
});

test.each([
  ["the same for all pictures", new Float32Array(80).fill(2)],
  ["no numbers", new Float32Array(80).fill(NaN)],
])("nothing is fitted on features that are %s", (_, training) => {
  expect(fitFeatureSpace({ channels: 8, pooling: "mean", training, validation: randomRows(60, 8, 2) })).toBeUndefined();
});
