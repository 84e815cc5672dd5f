import fc from "fast-check";
import { expect, test } from "vitest";
import { bitCount, groupNearDuplicates } from "../../../src/data/duplicates.ts";

const toHex = (value: bigint): string => value.toString(16).padStart(16, "0");

function popcount(value: bigint): number {
  return value.toString(2).replaceAll("0", "").length;
}

/** All pairs, with big integers: slow and plain. */
function bruteForce(hashes: readonly bigint[]): number[] {
  const group = hashes.map((_, i) => i);
  for (let changed = true; changed;) {
    changed = false;
    for (let i = 0; i < hashes.length; i++) {
      for (let j = 0; j < hashes.length; j++) {
        if (popcount(hashes[i]! ^ hashes[j]!) > 2 || group[i] === group[j]) continue;
        group[i] = group[j] = Math.min(group[i]!, group[j]!);
        changed = true;
      }
    }
  }
  return group;
}

test("groups are those of comparing all pairs, whatever bits differ and however long the chains are", () => {
  // A few seeds and chains of flipped bits, so that near duplicates are common and cross every band.
  const chains = fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.array(fc.nat(63), { maxLength: 12 })), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(chains, (given) => {
      const hashes = given.flatMap(([start, flips]) => {
        let value = start;
        return [value, ...flips.map((bit) => (value ^= 1n << BigInt(bit)))];
      });
      expect([...groupNearDuplicates(hashes.map(toHex))]).toEqual(bruteForce(hashes));
    }),
    { numRuns: 200 },
  );
});

test("two bits apart is near, three is not, for every pair of bits", () => {
  for (let a = 0; a < 64; a++) {
    for (let b = a + 1; b < 64; b++) {
      const two = (1n << BigInt(a)) | (1n << BigInt(b));
      const third = 1n << BigInt([0, 1, 2].find((bit) => bit !== a && bit !== b)!);
      expect([...groupNearDuplicates([toHex(0n), toHex(two)])]).toEqual([0, 0]);
      expect([...groupNearDuplicates([toHex(0n), toHex(two | third)])]).toEqual([0, 1]);
    }
  }
});

test("bitCount counts the bits of 32", () => {
  expect([0, 1, 0x80000000, 0xffffffff, 0x0f0f0f0f].map(bitCount)).toEqual([0, 1, 1, 32, 16]);
});

test("hashes that all agree in one band are told apart by the others", () => {
  const hashes = Array.from({ length: 3000 }, (_, i) => toHex((BigInt(Math.imul(i, 0x9e3779b1) >>> 0) << 32n) | 0x5an));
  const groups = groupNearDuplicates(hashes);
  const near = hashes.filter((_, i) => groups[i] !== i).length;
  expect(near).toBeLessThan(100);
  expect(groups[0]).toBe(0);
});
