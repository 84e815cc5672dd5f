import { access, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import type { RateReport } from "../../../src/workflows/model/find-rate.ts";
import { rangeRate, rangeSteps, RangeEnd, suggestRate } from "../../../src/train/rate-range.ts";
import { makeColourRepository, type ColourRepository } from "../../helpers/colour-repository.ts";
import { randomArray } from "../../helpers/random-array.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

const noise = randomArray(rangeSteps, 3, -1, 1);
const steps = Array.from({ length: rangeSteps }, (_, step) => step);

/** Guessing up to 1e-4, then down to a fifth of it at 1e-2, then up again as steeply. */
function valley(step: number): number {
  const decades = Math.abs(Math.log10(rangeRate(step)) + 2);
  return Math.max(0.14, 0.7 * Math.min(1, 0.2 + 0.4 * decades)) * (1 + 0.1 * (noise[step] as number));
}

describe("a learning rate is suggested", () => {
  test("that is a tenth of the one where the loss is lowest, in spite of the noise and of single huge losses", () => {
    const points = steps.map((step) => ({ learningRate: rangeRate(step), loss: step % 50 === 20 ? 1e3 : valley(step) }));
    const { suggestion, lowest, steepest } = suggestRate(points);
    expect(Math.abs(Math.log10(lowest) + 2)).toBeLessThan(0.25);
    expect(suggestion).toBeCloseTo(lowest / 10, 4);
    expect(steepest).toBeGreaterThan(1e-4);
    expect(steepest).toBeLessThan(1e-2);
  });

  test("without being misled by a lucky or an unlucky batch at either end", () => {
    const points = steps.map((step) => ({ learningRate: rangeRate(step), loss: valley(step) }));
    const ends = { 0: 2, 1: 0.1, 2: 0.01, 298: 0.01, 299: 0.001 } as Readonly<Record<number, number>>;
    const odd = points.map((point, step) => ({ ...point, loss: ends[step] ?? point.loss }));
    expect(suggestRate(odd).lowest).toBe(suggestRate(points).lowest);
    expect(suggestRate(odd).steepest).toBe(suggestRate(points).steepest);
  });

  test("by no means where the loss does not fall", () => {
    const flat = steps.map((step) => ({ learningRate: rangeRate(step), loss: 0.7 + 0.01 * (noise[step] as number) + step / 1000 }));
    expect(suggestRate(flat).suggestion).toBeNull();
  });

  test("from rates whose logarithms rise in equal steps, from a millionth to ten", () => {
    expect([rangeRate(0), rangeRate(rangeSteps - 1)]).toEqual([1e-6, expect.closeTo(10, 9)]);
    expect(rangeRate(101) / rangeRate(100)).toBeCloseTo(rangeRate(1) / rangeRate(0), 9);
  });
});

describe("a range test ends", () => {
  const endOf = (losses: readonly number[]): number => {
    const end = new RangeEnd();
    return losses.findIndex((loss) => end.follow(loss));
  };

  test("soon after the loss has risen far above its lowest value, or is not a number", () => {
    const rising = steps.map((step) => (step < 200 ? valley(150) : 0.14 * 1.2 ** (step - 200)));
    expect(endOf(rising)).toBeGreaterThan(205);
    expect(endOf(rising)).toBeLessThan(225);
    expect(endOf([0.7, 0.6, Number.NaN])).toBe(2);
    expect(endOf([0.7, 0.6, Infinity])).toBe(2);
  });

  test("not before its last step where the loss only goes back to that of guessing", () => {
    expect(endOf(steps.map((step) => (step < 200 ? 0.3 : 0.7) * (1 + 0.3 * (noise[step] as number))))).toBe(-1);
  });
});

describe("serval train --find-lr", () => {
  let data: ColourRepository;
  beforeAll(async () => {
    data = await makeColourRepository({ counts: { red: 40, blue: 40 }, prepare: { shares: { train: 0.6, val: 0.2, test: 0.2 } } });
  });
  afterAll(() => data.remove());

  const sets = ["train.channels=[8,16,16,16]", "train.batchSize=16", "train.cropSize=16", "train.sizes=[16]"];
  const serval = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const context = recordedContext(data.cwd);
    const code = await runCli([...args, "--set", ...sets], context);
    return { code, stdout: context.stdout.text, stderr: context.stderr.text };
  };

  test("suggests a rate that trains well, draws it, and leaves neither a checkpoint nor a model", async () => {
    const { stdout, code } = await serval("train", "--find-lr", "--json");
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as RateReport;
    const runDir = join(data.cwd, ".serval", "runs", report.run);
    expect((await readdir(runDir)).sort()).toEqual(["find-lr.json", "find-lr.png", "find-lr.svg"]);
    await expect(access(join(data.cwd, "artifacts"))).rejects.toThrow("ENOENT");
    const file = JSON.parse(await readFile(join(runDir, "find-lr.json"), "utf8")) as {
      suggestion: number;
      points: { learningRate: number; loss: number; smoothed: number }[];
    };
    expect(file.points).toHaveLength(report.steps);
    expect(file.points[0]?.learningRate).toBe(1e-6);
    expect(file.suggestion).toBe(report.suggestion);
    const smoothed = file.points.map((point) => point.smoothed);
    // Without the ends, where hardly anything is smoothed.
    const lowest = Math.min(...smoothed.slice(15, -15));
    expect(file.points[smoothed.indexOf(lowest)]?.learningRate).toBe(report.lowest);
    expect(Math.min(...smoothed)).toBeLessThan(0.6 * (smoothed[0] as number));

    const trained = await serval("train", "--json", "--set", `train.learningRate=${report.suggestion}`, "train.epochs=12");
    expect(trained.code).toBe(0);
    expect((JSON.parse(trained.stdout) as { best: { accuracy: number } }).best.accuracy).toBeGreaterThan(0.9);
  });

  test("says in words what it suggests and why", async () => {
    const { stdout, stderr } = await serval("train", "--find-lr");
    expect(stderr).toContain(
      "data/processed was prepared with other parameters than are given now: width 20, not 112; height 16, not 112; shares ",
    );
    expect(stdout).toMatch(
      /^Suggested learning rate: [\d.]+, a tenth of the one at which the loss was lowest \([\d.]+; it fell fastest at [\d.e-]+; /,
    );
    expect(stdout).toContain("Next: serval train --set train.learningRate=");
  });

  test("does not go together with --resume", async () => {
    const { code, stderr } = await serval("train", "--find-lr", "--resume");
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_USAGE: option '--find-lr' cannot be used with option '--resume [RUN]'")]);
  });
});
