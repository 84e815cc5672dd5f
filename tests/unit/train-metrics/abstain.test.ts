import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chooseAbstainBelow, fewestAnswers } from "../../../src/evaluate/abstain.ts";
import { wilsonInterval } from "../../../src/statistics/wilson-interval.ts";

/** Rows from the surest down: `[how many, how many of them are wrong, confidence]`. */
function rows(...groups: readonly (readonly [count: number, wrong: number, confidence: number])[]): [number[], boolean[]] {
  const all = groups.flatMap(([count, wrong, confidence]) => Array.from({ length: count }, (_, i) => [confidence, i >= wrong] as const));
  return [all.map(([confidence]) => confidence), all.map(([, right]) => right)];
}

describe("chooseAbstainBelow", () => {
  it("answers as much as it can while the lower end of the interval is at the target", () => {
    // 1,500 of 1,500, 1,996 of 2,000, 2,080 of 2,100: the lower ends are 99.74, 99.49 and 98.54 %.
    const pictures = rows([1500, 0, 0.99], [500, 4, 0.9], [100, 16, 0.6]);
    expect(chooseAbstainBelow(...pictures)).toBe(0.9);
    expect(chooseAbstainBelow(...pictures, 0.98)).toBe(0);
    expect(chooseAbstainBelow(...pictures, 0.996)).toBe(0.99);
  });

  it("does not take 20 right answers for proof, nor 380, but 381", () => {
    for (const count of [10, 20, 380]) expect(chooseAbstainBelow(...rows([count, 0, 0.9], [10, 10, 0.5]))).toBeNull();
    expect(chooseAbstainBelow(...rows([381, 0, 0.9], [10, 10, 0.5]))).toBe(0.9);
    expect(fewestAnswers(0.99)).toBe(381);
    expect(fewestAnswers(0.9)).toBe(35);
  });

  it("is 0 where all answers together are good enough, and null where there are none", () => {
    expect(chooseAbstainBelow(...rows([1000, 2, 0.9]))).toBe(0);
    expect(chooseAbstainBelow([], [])).toBeNull();
  });

  it("never parts rows of one confidence", () => {
    // Of the second confidence the first 100 rows are right: keeping only those would be luck of the order.
    expect(chooseAbstainBelow(...rows([400, 0, 0.9]))).toBe(0);
    const [confidence, correct] = rows([400, 0, 0.9], [200, 0, 0.8]);
    for (let i = 500; i < 600; i++) correct[i] = false;
    expect(chooseAbstainBelow(confidence, correct)).toBe(0.9);
  });

  it("keeps its promise: the answered rows reach the target, and no lower confidence does", () => {
    const row = fc.tuple(
      fc.integer({ min: 1, max: 10 }).map((n) => n / 10),
      fc.boolean(),
    );
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 60 }), fc.constantFrom(0.2, 0.5, 0.8), (data, target) => {
        const reaches = (threshold: number): boolean => {
          const answered = data.filter(([value]) => value >= threshold);
          return wilsonInterval(answered.filter(([, right]) => right).length, answered.length)[0] >= target;
        };
        const threshold = chooseAbstainBelow(
          data.map(([value]) => value),
          data.map(([, right]) => right),
          target,
        );
        const lower = data.map(([value]) => value).filter((value) => threshold === null || value < threshold);
        expect(threshold === null || reaches(threshold)).toBe(true);
        expect(lower.filter(reaches)).toEqual([]);
      }),
    );
  });
});
