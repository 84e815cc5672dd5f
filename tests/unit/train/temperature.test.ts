import { expect, test } from "vitest";
import { fitTemperature } from "../../../src/evaluate/temperature.ts";

test("the temperature undoes what logits were multiplied by, and stays at 1 where no answer is wrong", () => {
  // In 100 rows with the logits of 0.8 and 0.2, one in five is wrong: that is well calibrated.
  const row = Math.log(4);
  const logits = (factor: number): Float32Array => Float32Array.from({ length: 200 }, (_, k) => (k % 2 === 0 ? row * factor : 0));
  const truth = Array.from({ length: 100 }, (_, k) => (k % 5 === 0 ? 1 : 0));
  expect(fitTemperature(logits(1), truth, 2)).toBeCloseTo(1, 3);
  expect(fitTemperature(logits(3), truth, 2)).toBeCloseTo(3, 3);
  expect(fitTemperature(logits(0.5), truth, 2)).toBeCloseTo(0.5, 3);
  expect(fitTemperature(logits(1), truth.fill(0), 2)).toBeCloseTo(1, 3);
});
