import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rocAuc, rocCurve } from "../../../src/evaluate/roc.ts";

/** Scores in eighths, so that ties are common, with a label each. */
const rows = fc.array(fc.tuple(fc.integer({ min: -8, max: 8 }), fc.boolean()), { minLength: 1, maxLength: 40 });
const split = (data: readonly (readonly [number, boolean])[]): [number[], boolean[]] => [
  data.map(([score]) => score / 8),
  data.map(([, positive]) => positive),
];

/** The definition itself, pair by pair: the oracle. */
function areaByPairs(scores: readonly number[], positive: readonly boolean[]): number | null {
  let wins = 0;
  let pairs = 0;
  scores.forEach((score, i) =>
    scores.forEach((other, j) => {
      if (!positive[i] || positive[j]) return;
      pairs++;
      wins += score > other ? 1 : score === other ? 0.5 : 0;
    }),
  );
  return pairs === 0 ? null : wins / pairs;
}

describe("rocAuc", () => {
  it("is 1 for a perfect order, 0 for the reverse and 1/2 where all scores are equal", () => {
    expect(rocAuc([0.1, 0.2, 0.8], [false, false, true])).toBe(1);
    expect(rocAuc([0.9, 0.2, 0.1], [false, false, true])).toBe(0);
    expect(rocAuc([0.5, 0.5, 0.5], [false, true, true])).toBe(0.5);
  });

  it("is not defined without positives or without negatives", () => {
    expect(rocAuc([0.1, 0.2], [true, true])).toBeNull();
    expect(rocAuc([0.1, 0.2], [false, false])).toBeNull();
    expect(rocAuc([], [])).toBeNull();
  });

  it("equals the count of ordered pairs, ties as one half", () => {
    fc.assert(
      fc.property(rows, (data) => {
        const [scores, positive] = split(data);
        expect(rocAuc(scores, positive)).toBe(areaByPairs(scores, positive));
      }),
    );
  });

  it("does not change under a monotone transform of the scores", () => {
    fc.assert(
      fc.property(rows, (data) => {
        const [scores, positive] = split(data);
        expect(
          rocAuc(
            scores.map((s) => Math.exp(3 * s) - 7),
            positive,
          ),
        ).toBe(rocAuc(scores, positive));
      }),
    );
  });

  it("turns into its complement when the scores are negated", () => {
    fc.assert(
      fc.property(rows, (data) => {
        const [scores, positive] = split(data);
        const area = rocAuc(scores, positive);
        const negated = rocAuc(
          scores.map((s) => -s),
          positive,
        );
        expect(negated ?? 0.5).toBeCloseTo(1 - (area ?? 0.5), 12);
      }),
    );
  });
});

describe("rocCurve", () => {
  it("steps through the thresholds and drops points on a straight line", () => {
    // Falling scores: + + - (tie: + -) -. Rates: (0,0) (0,1/3) (0,2/3) (1/3,2/3) (2/3,1) (1,1); (0,1/3) lies on a line.
    const curve = rocCurve([0.9, 0.8, 0.7, 0.5, 0.5, 0.1], [true, true, false, true, false, false]);
    expect(curve).toEqual([
      { falsePositiveRate: 0, truePositiveRate: 0, threshold: Number.POSITIVE_INFINITY },
      { falsePositiveRate: 0, truePositiveRate: 2 / 3, threshold: 0.8 },
      { falsePositiveRate: 1 / 3, truePositiveRate: 2 / 3, threshold: 0.7 },
      { falsePositiveRate: 2 / 3, truePositiveRate: 1, threshold: 0.5 },
      { falsePositiveRate: 1, truePositiveRate: 1, threshold: 0.1 },
    ]);
  });

  it("is empty where the area is not defined", () => {
    expect(rocCurve([0.1, 0.2], [true, true])).toEqual([]);
  });

  it("rises from (0, 0) to (1, 1), and its trapezoids sum up to the area", () => {
    fc.assert(
      fc.property(rows, (data) => {
        const [scores, positive] = split(data);
        const area = rocAuc(scores, positive);
        fc.pre(area !== null);
        const curve = rocCurve(scores, positive);
        expect(curve[0]).toMatchObject({ falsePositiveRate: 0, truePositiveRate: 0 });
        expect(curve.at(-1)).toMatchObject({ falsePositiveRate: 1, truePositiveRate: 1 });
        let sum = 0;
        for (let i = 1; i < curve.length; i++) {
          const [a, b] = [curve[i - 1], curve[i]] as [(typeof curve)[number], (typeof curve)[number]];
          expect(b.falsePositiveRate).toBeGreaterThanOrEqual(a.falsePositiveRate);
          expect(b.truePositiveRate).toBeGreaterThanOrEqual(a.truePositiveRate);
          sum += ((b.falsePositiveRate - a.falsePositiveRate) * (a.truePositiveRate + b.truePositiveRate)) / 2;
        }
        expect(sum).toBeCloseTo(area, 12);
      }),
    );
  });
});
