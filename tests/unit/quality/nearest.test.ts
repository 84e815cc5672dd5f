import { expect, test } from "vitest";
import { findNearest } from "../../../src/quality/nearest.ts";

test("the nearest pictures are those in the same direction, whatever their length, without the picture itself", () => {
  const values = Float32Array.of(1, 0, 10, 1, 0, 3, -1, 0, 2, 2);
  const [first, second] = findNearest({ rows: 5, width: 2, values }, [0, 2], 2);
  expect(first?.map(({ row }) => row)).toEqual([1, 4]);
  expect(first?.[1]?.similarity).toBeCloseTo(Math.SQRT1_2, 6);
  expect(second?.map(({ row }) => row)).toEqual([4, 1]);
});
