import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { Random } from "../../src/random.ts";
import { chiSquareOfCounts } from "../../src/statistics/chi-square.ts";
import { describeDistribution } from "../../src/statistics/distribution.ts";
import { kolmogorovSmirnov, type TestResult } from "../../src/statistics/kolmogorov-smirnov.ts";
import { describeVectors, meanShift } from "../../src/statistics/mean-shift.ts";
import { python } from "./python.ts";

const random = new Random(25);
const normals = (count: number, mean: number, deviation: number): number[] =>
  Array.from({ length: count }, () => mean + deviation * random.normal());
/** In the middle of one of 20 bins from 0 to 1, so that the summary of a sample holds all of it. */
const binned = (values: readonly number[]): number[] => values.map((v) => (Math.min(19, Math.max(0, Math.floor(v * 20))) + 0.5) / 20);
const vectors = (count: number, shift: number): number[][] => Array.from({ length: count }, () => normals(8, shift, 1 + shift));

interface Case {
  readonly test: string;
  readonly values: unknown;
  readonly reference: unknown;
  readonly ours: TestResult;
}

function ofValues(values: number[], reference: number[]): Case {
  const ours = kolmogorovSmirnov(values, describeDistribution(reference, [0, 1]), reference.length);
  return { test: "kolmogorov_smirnov", values, reference, ours };
}

function ofCounts(values: number[], reference: number[]): Case {
  return { test: "chi_square", values, reference, ours: chiSquareOfCounts(values, reference) };
}

function ofVectors(values: number[][], reference: number[][]): Case {
  return { test: "mean_shift", values, reference, ours: meanShift(values, describeVectors(reference)) };
}

test("the monitor's tests give the statistics and p values of SciPy", { timeout: 120_000 }, async () => {
  const cases = [
    ofValues(binned(normals(300, 0.5, 0.2)), binned(normals(2000, 0.5, 0.2))),
    ofValues(binned(normals(300, 0.55, 0.2)), binned(normals(2000, 0.5, 0.2))),
    ofValues(binned(normals(50, 0.6, 0.1)), binned(normals(700, 0.5, 0.2))),
    ofCounts([480, 520], [1114, 1178]),
    ofCounts([270, 30], [1114, 1178]),
    ofCounts([31, 42, 55, 12], [300, 410, 600, 90]),
    ofVectors(vectors(60, 0), vectors(800, 0)),
    ofVectors(vectors(60, 0.2), vectors(800, 0)),
  ];
  const dir = await mkdtemp(join(tmpdir(), "serval-statistics-"));
  onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
  await writeFile(
    join(dir, "cases.json"),
    JSON.stringify({ cases: cases.map(({ test: name, values, reference }) => ({ test: name, values, reference })) }),
  );
  const { stdout } = await promisify(execFile)(python, [join(import.meta.dirname, "statistics_peer.py"), join(dir, "cases.json")]);
  const theirs = JSON.parse(stdout) as TestResult[];
  for (const [i, { test: name, ours }] of cases.entries()) {
    const peer = theirs[i] as TestResult;
    expect(ours.statistic, `${name} ${i}`).toBeCloseTo(peer.statistic, 4);
    expect(ours.pValue, `${name} ${i}`).toBeCloseTo(peer.pValue, 4);
  }
});
