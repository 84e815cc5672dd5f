import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { confidences, findWrongLabels } from "../../src/quality/wrong-labels.ts";
import { Random } from "../../src/random.ts";
import { python } from "./python.ts";

/** Ranks of numbers that are all different. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, k) => k).sort((a, b) => values[a]! - values[b]!);
  const result: number[] = [];
  for (const [rank, k] of order.entries()) result[k] = rank;
  return result;
}

/** Spearman's rank correlation, without ties. */
function spearman(a: readonly number[], b: readonly number[]): number {
  const [x, y] = [ranks(a), ranks(b)];
  const squares = x.reduce((sum, rank, k) => sum + (rank - y[k]!) ** 2, 0);
  return 1 - (6 * squares) / (a.length * (a.length ** 2 - 1));
}

test.each([2, 5])("of %i classes, suspects and their order are those of cleanlab from the same probabilities", async (classes) => {
  const [random, count] = [new Random(7), 3000];
  const truth = Array.from({ length: count }, () => random.below(classes));
  const labels = Int32Array.from(truth, (label) => (random.uniform() < 0.04 ? (label + 1) % classes : label));
  const probabilities = new Float32Array(count * classes);
  for (const [row, label] of truth.entries()) {
    const powers = Array.from({ length: classes }, (_, k) => Math.exp(1.2 * random.normal() + (k === label ? 4 : 0)));
    const total = powers.reduce((sum, power) => sum + power);
    for (const [k, power] of powers.entries()) probabilities[row * classes + k] = power / total;
  }
  const answers = { labels, classes, probabilities };

  const dir = await mkdtemp(join(tmpdir(), "serval-cleanlab-"));
  onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "labels.bin"), new Uint8Array(labels.buffer));
  await writeFile(join(dir, "probabilities.bin"), new Uint8Array(probabilities.buffer));
  const { stdout } = await promisify(execFile)(python, [join(import.meta.dirname, "cleanlab_peer.py"), dir, String(classes)], {
    maxBuffer: 1 << 24,
  });
  const theirs = JSON.parse(stdout) as { quality: number[]; issues: number[] };

  expect(spearman([...confidences(answers)], theirs.quality)).toBeGreaterThanOrEqual(0.99);
  const own = new Set(findWrongLabels(answers).map(({ row }) => row));
  expect(theirs.issues.length).toBeGreaterThan(60);
  const both = theirs.issues.filter((row) => own.has(row)).length;
  expect(both / new Set([...own, ...theirs.issues]).size).toBeGreaterThan(0.95);
});
