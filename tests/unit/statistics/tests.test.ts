import { describe, expect, test } from "vitest";
import { chiSquareOfCounts, chiSquareSurvival } from "../../../src/statistics/chi-square.ts";
import { describeDistribution } from "../../../src/statistics/distribution.ts";
import { holmAdjusted } from "../../../src/statistics/holm.ts";
import { kolmogorovSmirnov, kolmogorovSurvival } from "../../../src/statistics/kolmogorov-smirnov.ts";
import { describeVectors, meanShift } from "../../../src/statistics/mean-shift.ts";

/** Evenly spaced between `low` and `high`. */
const spread = (count: number, low: number, high: number): number[] =>
  Array.from({ length: count }, (_, i) => low + ((high - low) * (i + 0.5)) / count);

describe("the chi-square distribution", () => {
  test.each([
    [3.841458820694124, 1, 0.05],
    [18.307038053275146, 10, 0.05],
    [0.5, 3, 0.9188914116546758],
    [120, 32, 4.168750718111e-12],
  ])("gives P(X > %f) with %i degrees of freedom", (x, degrees, p) => {
    expect(chiSquareSurvival(x, degrees) / p).toBeCloseTo(1, 4);
  });

  test("has all of its mass above 0", () => {
    expect([chiSquareSurvival(0, 4), chiSquareSurvival(-1, 4)]).toEqual([1, 1]);
  });
});

describe("the chi-square test of counts", () => {
  test("agrees with SciPy's chi2_contingency", () => {
    const { statistic, pValue } = chiSquareOfCounts([10, 20, 30], [6, 9, 17]);
    expect(statistic).toBeCloseTo(0.27157465150403504, 12);
    expect(pValue).toBeCloseTo(0.873028283380073, 10);
  });

  test("puts rare categories together: a label that was seen once changes nothing", () => {
    const { pValue } = chiSquareOfCounts([50, 49, 1, 0], [500, 500, 0, 3]);
    expect(pValue).toBeGreaterThan(0.5);
  });

  test("says nothing of an empty sample, or of one category", () => {
    expect(chiSquareOfCounts([0, 0], [5, 5]).pValue).toBe(1);
    expect(chiSquareOfCounts([9, 0], [5, 0]).pValue).toBe(1);
  });
});

describe("the Kolmogorov-Smirnov test against a summary", () => {
  test.each([
    [0.5, 0.9639452436648751],
    [1, 0.26999967167735456],
    [1.3580986393225505, 0.05],
    [2, 0.0006709252557796953],
  ])("knows P(K > %f)", (x, p) => {
    expect(kolmogorovSurvival(x)).toBeCloseTo(p, 10);
  });

  test("finds nothing between equal samples, and all of the distance between separate ones", () => {
    const reference = describeDistribution(spread(1000, 0, 1), [0, 1]);
    expect(kolmogorovSmirnov(spread(500, 0, 1), reference, 1000)).toEqual({ statistic: expect.closeTo(0, 2) as number, pValue: 1 });
    const { statistic, pValue } = kolmogorovSmirnov(spread(500, 2, 3), reference, 1000);
    expect(statistic).toBeCloseTo(0.99, 10);
    expect(pValue).toBeLessThan(1e-100);
  });

  test("sees a shift inside the last bin of the histogram by the quantiles", () => {
    const sure = describeDistribution(spread(1000, 0.99, 1), [0, 1]);
    expect(kolmogorovSmirnov(spread(300, 0.96, 0.98), sure, 1000).statistic).toBeCloseTo(0.99, 2);
  });

  test("takes equal values for what they are: half of a sample at 1 is like half of another at 1", () => {
    const half = [...spread(500, 0, 1), ...Array<number>(500).fill(1)];
    expect(kolmogorovSmirnov(half, describeDistribution(half, [0, 1]), 1000).statistic).toBeLessThan(0.005);
  });
});

describe("the test of a shifted mean", () => {
  const grid = spread(40, -1, 1).flatMap((x) => spread(40, -2, 2).map((y) => [x, y]));
  const reference = describeVectors(grid);

  test("is the squared distance in standard deviations, by the size of both samples", () => {
    const moved = grid.map(([x = 0, y = 0]) => [x + 0.1, y]);
    const variance = grid.reduce((sum, [x = 0]) => sum + x ** 2, 0) / grid.length;
    const { statistic, pValue } = meanShift(moved, reference);
    expect(statistic).toBeCloseTo((0.1 ** 2 / variance) * (grid.length / 2), 3);
    expect(pValue).toBeCloseTo(chiSquareSurvival(statistic, 2), 12);
  });

  test("finds nothing where nothing has moved, and none of it in numbers that are always the same", () => {
    expect(meanShift(grid, reference).pValue).toBeCloseTo(1, 10);
    const constant = describeVectors([
      [1, 2],
      [1, 3],
      [1, 4],
    ]);
    expect(meanShift([[1, 3]], constant).statistic).toBeCloseTo(0, 6);
  });

  test("refuses vectors of another length", () => {
    expect(() => meanShift([[1]], reference)).toThrow(RangeError);
  });
});

test("Holm's correction multiplies the smallest p value by the number of tests, and keeps their order", () => {
  expect(holmAdjusted([0.01, 0.04, 0.03, 0.005]).map((p) => Number(p.toFixed(6)))).toEqual([0.03, 0.06, 0.06, 0.02]);
  expect(holmAdjusted([])).toEqual([]);
});
