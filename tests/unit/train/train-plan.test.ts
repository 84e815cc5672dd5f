import { expect, test } from "vitest";
import { epochSizes } from "../../../src/train/train-plan.ts";
import { TrainingPhases } from "../../../src/train/training-phases.ts";
import { parseParams } from "../../../src/config/params.ts";

test("each size has an equal share of the epochs; of more sizes than epochs the last ones are used", () => {
  const sizes = [64, 80, 96];
  expect(epochSizes({ sizes, cropSize: 96, epochs: 6 })).toEqual([64, 64, 80, 80, 96, 96]);
  expect(epochSizes({ sizes, cropSize: 96, epochs: 2 })).toEqual([80, 96]);
  expect(epochSizes({ sizes, cropSize: 96, epochs: 1 })).toEqual([96]);
  expect(epochSizes({ sizes: [64, 128, 128], cropSize: 112, epochs: 3 })).toEqual([64, 112, 112]);
});

test("a warm-up takes at most half of the steps, so that the rate comes down again", () => {
  const ratesOf = (set: string): number[] => {
    const phases = new TrainingPhases({ config: parseParams("", ["train.epochs=2", set]).train, init: undefined }, 10);
    return Array.from({ length: 20 }, (_, step) => phases.learningRate(step));
  };
  for (const [set, top] of [
    ["train.warmupEpochs=0.5", 4],
    ["train.warmupEpochs=2", 9],
  ] as const) {
    const rates = ratesOf(set);
    expect(rates.indexOf(Math.max(...rates)), set).toBe(top);
    expect(rates[top]).toBeCloseTo(0.002);
    expect(rates.at(-1)).toBeLessThan(0.0001);
  }
});
