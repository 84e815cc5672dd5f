import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { groupNearDuplicates } from "../../../src/data/duplicates.ts";
import { assignSplits, splitNames } from "../../../src/data/split.ts";
import { sha256 } from "../../../src/files.ts";

interface Item {
  readonly sha256: string;
  readonly dhash: string;
  readonly label: string;
}

const shares = { train: 0.8, val: 0.1, test: 0.1 };

/** A distinct picture: its hash is far from all others. */
function item(name: string, label: string): Item {
  return { sha256: sha256(name), dhash: sha256(`look ${name}`).slice(0, 16), label };
}

function set(count: number, label: string, from = 0): Item[] {
  return Array.from({ length: count }, (_, i) => item(`${label} ${from + i}`, label));
}

/** Near duplicates of `original`, one flipped bit each. */
function copies(original: Item, count: number, label: string = original.label): Item[] {
  return Array.from({ length: count }, (_, i) => {
    const value = BigInt(`0x${original.dhash}`) ^ (1n << BigInt(i));
    return { sha256: sha256(`copy ${i} of ${original.sha256} ${label}`), dhash: value.toString(16).padStart(16, "0"), label };
  });
}

describe("assignSplits", () => {
  test("shares are near the target in every class", () => {
    const items = [...set(4000, "a"), ...set(2000, "b")];
    const splits = assignSplits(items, shares, 42);
    for (const label of ["a", "b"]) {
      const own = splits.filter((_, i) => items[i]!.label === label);
      for (const split of splitNames) {
        const share = own.filter((name) => name === split).length / own.length;
        // Four standard deviations of the binomial distribution.
        expect(Math.abs(share - shares[split])).toBeLessThan(4 * Math.sqrt((shares[split] * (1 - shares[split])) / own.length));
      }
    }
  });

  test("near duplicates are never in two splits, whatever else there is", () => {
    const arbitrary = fc.tuple(
      fc.integer({ min: 3, max: 60 }),
      fc.array(fc.tuple(fc.nat(59), fc.integer({ min: 1, max: 8 })), { maxLength: 8 }),
      fc.nat(),
    );
    fc.assert(
      fc.property(arbitrary, ([size, duplicated, seed]) => {
        const originals = [...set(size, "a"), ...set(size, "b")];
        const items = [...originals, ...duplicated.flatMap(([at, count]) => copies(originals[at % originals.length]!, count))];
        const splits = assignSplits(items, shares, seed);
        const groups = groupNearDuplicates(items.map((each) => each.dhash));
        const splitOf = new Map<number, string>();
        for (const [i, group] of groups.entries()) {
          expect(splits[i]).toBe(splitOf.get(group) ?? splits[i]);
          splitOf.set(group, splits[i]!);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("added pictures never move one that is there", () => {
    fc.assert(
      fc.property(fc.integer({ min: 200, max: 400 }), fc.integer({ min: 1, max: 300 }), fc.nat(), (size, more, seed) => {
        const before = [...set(size, "a"), ...set(size, "b")];
        const after = [...set(more, "b", size), ...before, ...set(more, "c"), ...set(more, "a", size)];
        const added = after.filter((each) => each.label !== "c" || more >= 30);
        const first = new Map(assignSplits(before, shares, seed).map((split, i) => [before[i]!.sha256, split]));
        const second = new Map(assignSplits(added, shares, seed).map((split, i) => [added[i]!.sha256, split]));
        for (const [hash, split] of first) expect(second.get(hash)).toBe(split);
      }),
      { numRuns: 25 },
    );
  });

  test("a new near duplicate moves at most the group that it joins", () => {
    const before = [...set(300, "a"), ...set(300, "b")];
    const first = assignSplits(before, shares, 42);
    for (let i = 0; i < 40; i++) {
      const second = assignSplits([...before, ...copies(before[i]!, 1)], shares, 42);
      expect(second.slice(0, -1).toSpliced(i, 1)).toEqual(first.toSpliced(i, 1));
      expect(second.at(-1)).toBe(second[i]);
    }
  });

  test("a group goes where its member with the smallest sha256 would go alone", () => {
    const items = [...set(300, "a"), ...set(300, "b")];
    const grouped = items.slice(0, 40).map((original) => [original, ...copies(original, 4)]);
    const splits = assignSplits([...items, ...grouped.flatMap((group) => group.slice(1))], shares, 42);
    const alone = grouped.map((group) => group.toSorted((a, b) => (a.sha256 < b.sha256 ? -1 : 1))[0]!);
    expect(splits.slice(0, 40)).toEqual(assignSplits([...alone, ...items.slice(40)], shares, 42).slice(0, 40));
    expect(new Set(splits.slice(0, 40)).size).toBe(3);
  });

  test("does not depend on the order of the pictures, and does on the seed", () => {
    const items = [...set(300, "a"), ...set(300, "b")];
    const forward = assignSplits(items, shares, 1);
    expect(assignSplits(items.toReversed(), shares, 1).toReversed()).toEqual(forward);
    expect(assignSplits(items, shares, 2)).not.toEqual(forward);
  });

  test("every class has a picture in every split, even with three", () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 12 }), fc.integer({ min: 3, max: 12 }), fc.nat(), (a, b, seed) => {
        const items = [...set(a, "a"), ...set(b, "b")];
        const splits = assignSplits(items, shares, seed);
        for (const label of ["a", "b"]) expect(new Set(splits.filter((_, i) => items[i]!.label === label)).size).toBe(3);
      }),
      { numRuns: 100 },
    );
  });

  test("a small class has five pictures in every split if its share is that large, and its share if it is smaller", () => {
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 120 }), fc.nat(), (size, seed) => {
        const items = [...set(size, "a"), ...set(400, "b")];
        const own = assignSplits(items, shares, seed).slice(0, size);
        for (const split of splitNames)
          expect(own.filter((name) => name === split).length).toBeGreaterThanOrEqual(Math.min(5, Math.floor(size / 10)));
      }),
      { numRuns: 60 },
    );
  });

  test("only what a class lacks is moved, and from the nearest place", () => {
    const items = [...set(50, "a"), ...set(50, "b")];
    for (let seed = 0; seed < 40; seed++) {
      const position = ({ sha256: hash }: Item): number => Number.parseInt(sha256(`${seed}:${hash}`).slice(0, 12), 16) / 2 ** 48;
      const byHash = (each: Item): string => (position(each) < 0.8 ? "train" : position(each) < 0.9 ? "val" : "test");
      const splits = assignSplits(items, shares, seed);
      for (const label of ["a", "b"]) {
        const own = items.map((each, i) => ({ each, split: splits[i]! })).filter(({ each }) => each.label === label);
        const moved = own.filter(({ each, split }) => byHash(each) !== split);
        const lacking = (["val", "test"] as const).reduce(
          (sum, split) => sum + Math.max(0, 5 - own.filter(({ each }) => byHash(each) === split).length),
          0,
        );
        expect(moved.length).toBeLessThanOrEqual(lacking);
      }
    }
  });

  test("a share of 0 leaves its split empty", () => {
    const items = [...set(40, "a"), ...set(40, "b")];
    expect(new Set(assignSplits(items, { train: 0.9, val: 0.1, test: 0 }, 42))).toEqual(new Set(["train", "val"]));
    expect(new Set(assignSplits(items, { train: 1, val: 0, test: 0 }, 42))).toEqual(new Set(["train"]));
    expect(new Set(assignSplits(items, { train: 0.7, val: 0, test: 0.3 }, 42))).toEqual(new Set(["train", "test"]));
  });

  test("a class with one picture is an error that names it and says how many are needed", () => {
    expect(() => assignSplits([...set(20, "cat"), ...set(1, "dog")], shares, 42)).toThrow(
      'The class "dog" has 1 picture; at least 3 different ones are needed, one for each of train, val, test.',
    );
  });

  test("copies of one picture do not make a class large enough", () => {
    const [only] = set(1, "dog");
    expect(() => assignSplits([...set(20, "cat"), only!, ...copies(only!, 5)], shares, 42)).toThrow(
      'The class "dog" has 6 pictures, 1 of them different; at least 3 different ones are needed',
    );
  });
});
