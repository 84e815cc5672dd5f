import { describe, expect, test } from "vitest";
import { onnxruntime } from "../../../../src/runtime/onnxruntime.ts";
import type { Features } from "../../../../src/train/head/features.ts";
import { fitHead, type FittedHead } from "../../../../src/train/head/fit-head.ts";
import { classify, LogisticRegression } from "../../../../src/train/head/logistic-regression.ts";
import { minimize } from "../../../../src/train/head/minimize.ts";
import { Random } from "../../../../src/random.ts";

/** Rows of `classes` clouds around corners that lie `distance` apart, in columns of very different size; class k has `counts[k]` rows. */
function clouds(counts: readonly number[], width: number, distance: number, seed: number): { features: Features; truth: number[] } {
  const random = new Random(seed);
  const truth = counts.flatMap((count, label) => Array.from({ length: count }, () => label));
  const values = new Float32Array(truth.length * width);
  for (const [row, label] of truth.entries())
    for (let k = 0; k < width; k++) values[row * width + k] = (random.normal() + (k === label ? distance : 0)) * 10 ** (k % 4) + 5;
  return { features: { rows: truth.length, width, values }, truth };
}

async function fit(features: Features, truth: readonly number[], classes: number): Promise<FittedHead> {
  return await fitHead({ engine: onnxruntime, features, truth, classes, seed: 1, threads: 1, onProgress: () => undefined });
}

function accuracy(logits: Float32Array, truth: readonly number[], classes: number): number {
  const right = truth.filter((label, row) => {
    const own = logits.subarray(row * classes, (row + 1) * classes);
    return own.indexOf(Math.max(...own)) === label;
  });
  return right.length / truth.length;
}

describe("minimize", () => {
  test("finds the minimum of Rosenbrock's valley, where steepest descent creeps", async () => {
    const evaluate = async (point: Float64Array) => {
      const [x, y] = point as unknown as [number, number];
      const gradient = Float64Array.of(-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x));
      return await Promise.resolve({ value: (1 - x) ** 2 + 100 * (y - x * x) ** 2, gradient });
    };
    const found = await minimize(evaluate, Float64Array.of(-1.2, 1), { maxIterations: 100, gradientTolerance: 1e-9, valueTolerance: 0 });
    expect(found.converged).toBe(true);
    expect(found.iterations).toBeLessThan(60);
    expect([...found.point].map((value) => Number(value.toFixed(6)))).toEqual([1, 1]);
  });

  test("says so when it runs out of iterations", async () => {
    const evaluate = async ([x = 0]: Float64Array) => await Promise.resolve({ value: x ** 4, gradient: Float64Array.of(4 * x ** 3) });
    const found = await minimize(evaluate, Float64Array.of(3), { maxIterations: 2, gradientTolerance: 1e-12, valueTolerance: 0 });
    expect(found).toMatchObject({ iterations: 2, converged: false });
  });
});

describe("a logistic regression", () => {
  test("ends where the gradient of loss and penalty is zero, computed here in float64", async () => {
    const { features, truth } = clouds([40, 25, 15], 6, 1, 3);
    const [classes, penalty] = [3, 0.05];
    const scaled = { ...features, values: features.values.map((value, k) => (value - 5) / 10 ** ((k % 6) % 4)) };
    const regression = await LogisticRegression.open(onnxruntime, scaled, truth, classes, 1);
    const { weight, bias, loss, converged } = await regression.fit(penalty);
    await regression.close();
    expect(converged).toBe(true);
    const logits = classify(scaled, { weight, bias });
    const gradient = weight.map((value) => penalty * value);
    const biasGradient = new Float64Array(classes);
    let expectedLoss = 0;
    for (const [row, label] of truth.entries()) {
      const powers = [...logits.subarray(row * classes, (row + 1) * classes)].map(Math.exp);
      const total = powers.reduce((sum, power) => sum + power);
      expectedLoss -= Math.log(powers[label]! / total) / truth.length;
      for (let c = 0; c < classes; c++) {
        const error = (powers[c]! / total - (c === label ? 1 : 0)) / truth.length;
        biasGradient[c]! += error;
        for (let k = 0; k < 6; k++) gradient[c * 6 + k]! += error * scaled.values[row * 6 + k]!;
      }
    }
    expect(Math.max(...gradient.map(Math.abs), ...biasGradient.map(Math.abs))).toBeLessThan(2e-4);
    expect(loss).toBeCloseTo(expectedLoss, 5);
  });
});

describe("a head on features", () => {
  test("classifies rows that it has not seen, whatever the scale of the columns", async () => {
    const seen = clouds([60, 60, 60], 8, 4, 5);
    const unseen = clouds([200, 200, 200], 8, 4, 6);
    const head = await fit(seen.features, seen.truth, 3);
    const logits = classify(unseen.features, { weight: Float64Array.from(head.weight), bias: Float64Array.from(head.bias) });
    expect(accuracy(logits, unseen.truth, 3)).toBeGreaterThan(0.97);
  });

  test("takes a stronger penalty where the labels are noise, and does not claim to know them", async () => {
    const random = new Random(9);
    const { features, truth } = clouds([50, 50], 40, 0, 7);
    const noise = truth.map(() => random.below(2));
    const head = await fit(features, noise, 2);
    expect(head.penalty).toBe(3);
    const best = Math.min(...head.tried.map(({ loss }) => loss));
    expect(best).toBeGreaterThan(0.6);
    const clear = clouds([50, 50], 40, 4, 7);
    expect((await fit(clear.features, clear.truth, 2)).penalty).toBeLessThan(1);
  });

  test("is the same again, bit for bit", async () => {
    const { features, truth } = clouds([30, 20], 5, 2, 11);
    const [first, second] = [await fit(features, truth, 2), await fit(features, truth, 2)];
    expect(Buffer.from(first.weight.buffer).equals(Buffer.from(second.weight.buffer))).toBe(true);
  });

  test("with a class of one row there is nothing to hold out, and it is fitted anyway", async () => {
    const { features, truth } = clouds([10, 1], 4, 6, 13);
    const head = await fit(features, truth, 2);
    expect(head.tried).toEqual([]);
    const logits = classify(features, { weight: Float64Array.from(head.weight), bias: Float64Array.from(head.bias) });
    expect(accuracy(logits, truth, 2)).toBe(1);
  });
});
