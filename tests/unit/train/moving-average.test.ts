import { expect, test } from "vitest";
import { MovingAverage } from "../../../src/train/moving-average.ts";

/** The average of one weight that is 1 after every step and was 0 before the first. */
function follow(decay: number, stepsPerEpoch: number, steps: number): number {
  const average = new MovingAverage(decay, stepsPerEpoch, { w: Float32Array.of(0) });
  for (let step = 1; step <= steps; step++) average.follow({ w: { dtype: "float32", shape: [1], data: Float32Array.of(1) } }, step);
  return average.snapshot()["w"]?.[0] as number;
}

test("takes in the last step of an epoch, however short that is, with the decay of the steps since the last update", () => {
  expect(follow(0.5, 5, 4)).toBe(0);
  // Step 5 of 5: (1 + 5) / (10 + 5) is below the decay asked for.
  expect(follow(0.5, 5, 5)).toBeCloseTo(1 - 0.4 ** 5, 5);
  // Step 8 follows 3 steps later, step 10 another two.
  expect(follow(0.5, 5, 10)).toBeCloseTo(1 - 0.4 ** 5 * 0.5 ** 5, 5);
});

test("is that of every eighth step in between", () => {
  expect(follow(0.9, 1000, 15)).toBeCloseTo(1 - (9 / 18) ** 8, 5);
  expect(follow(0.9, 1000, 16)).toBeCloseTo(1 - (9 / 18) ** 8 * (17 / 26) ** 8, 5);
});
