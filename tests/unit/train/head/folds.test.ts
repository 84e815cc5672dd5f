import fc from "fast-check";
import { expect, test } from "vitest";
import { dealFolds } from "../../../../src/train/head/cross-validation.ts";

test("no group is in two folds, every row is in one, and every fold leaves each class something to learn from", () => {
  const sets = fc.array(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 4 })), { minLength: 1, maxLength: 60 }).map((groups) => {
    const rows = groups.flatMap(([label, size], group) => Array.from({ length: size }, () => ({ label, group })));
    const first = new Map<number, number>();
    for (const [row, { group }] of rows.entries()) if (!first.has(group)) first.set(group, row);
    return { truth: rows.map(({ label }) => label), groups: rows.map(({ group }) => first.get(group) as number) };
  });
  fc.assert(
    fc.property(sets, fc.nat(1000), ({ truth, groups }, seed) => {
      const folds = dealFolds({ truth, classes: 3, seed, groups });
      if (folds.length === 0) return;
      expect(folds.flat().sort((a, b) => a - b)).toEqual(truth.map((_, row) => row));
      const foldOf = new Map(folds.flatMap((fold, k) => fold.map((row) => [row, k] as const)));
      for (const [row, first] of groups.entries()) expect(foldOf.get(row)).toBe(foldOf.get(first));
      for (const fold of folds) {
        const left = new Set(truth.filter((_, row) => !fold.includes(row)));
        expect(left).toEqual(new Set(truth));
      }
    }),
  );
});
