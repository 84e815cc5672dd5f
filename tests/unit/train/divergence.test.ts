import { describe, expect, test } from "vitest";
import { DivergenceWatch } from "../../../src/train/divergence.ts";
import { randomArray } from "../../helpers/random-array.ts";

/** The step at which a run with these losses would be stopped; -1 where it would not. */
function stoppedAt(losses: readonly number[], options: { classes?: number; warmupSteps?: number; stepsPerEpoch?: number } = {}): number {
  const watch = new DivergenceWatch({ classes: 2, warmupSteps: 0, stepsPerEpoch: 10, ...options });
  return losses.findIndex((loss, step) => watch.follow(loss, step));
}

const noise = randomArray(2000, 7, -1, 1);
const steps = (count: number, loss: (step: number) => number): number[] => Array.from({ length: count }, (_, step) => loss(step));

describe("a run is stopped as diverged", () => {
  test("when its loss stays far above that of guessing: after an epoch, at least 50 steps and at most 200", () => {
    const losses = steps(1000, () => 8);
    expect(stoppedAt(losses)).toBe(49);
    expect(stoppedAt(losses, { stepsPerEpoch: 120 })).toBe(119);
    expect(stoppedAt(losses, { stepsPerEpoch: 5000 })).toBe(199);
    expect(stoppedAt(losses, { warmupSteps: 300 })).toBe(349);
  });

  test("also when it was good before", () => {
    const at = stoppedAt(steps(1000, (step) => (step < 500 ? 0.3 : 12)));
    expect(at).toBeGreaterThan(549);
    expect(at).toBeLessThan(600);
  });

  test("also when its loss was next to nothing before", () => {
    const at = stoppedAt(steps(1000, (step) => (step < 500 ? 1e-12 : 12)));
    expect(at).toBeGreaterThan(549);
    expect(at).toBeLessThan(620);
  });
});

describe("a run is never stopped", () => {
  test.each([2, 10, 1000])("that learns nothing of %i classes, whatever label smoothing and mixup make of the targets", (classes) => {
    // The cross-entropy of any target against equal probabilities is ln(classes); batches scatter around it.
    expect(
      stoppedAt(
        steps(2000, (step) => Math.log(classes) * (1.1 + 0.5 * (noise[step] as number))),
        { classes },
      ),
    ).toBe(-1);
  });

  test("for a spike, or for many of them", () => {
    expect(stoppedAt(steps(2000, (step) => (step % 70 === 0 ? 40 : 0.5)))).toBe(-1);
  });

  test("for spikes, however high they are, while the losses between them are good", () => {
    // Seen with dead features: losses of 0.7, and every now and then one of a million.
    const spikes: Readonly<Record<number, number>> = { 500: 60, 520: 1e6, 560: 1e15, 561: 1e3, 700: 1e30 };
    const watch = new DivergenceWatch({ classes: 2, warmupSteps: 0, stepsPerEpoch: 10 });
    const losses = steps(1000, (step) => spikes[step] ?? 0.7);
    expect(losses.findIndex((loss, step) => watch.follow(loss, step))).toBe(-1);
    expect(watch.smoothed).toBeCloseTo(0.7);
  });

  test("while a high loss is still falling", () => {
    expect(stoppedAt(steps(600, (step) => 60 * 0.99 ** step))).toBe(-1);
  });

  test("in the warm-up", () => {
    expect(
      stoppedAt(
        steps(400, (step) => (step < 300 ? 20 : 0.5)),
        { warmupSteps: 300 },
      ),
    ).toBe(-1);
  });
});
