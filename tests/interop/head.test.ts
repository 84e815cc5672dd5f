import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { onnxruntime } from "../../src/runtime/onnxruntime.ts";
import { classify, LogisticRegression } from "../../src/train/head/logistic-regression.ts";
import { Random } from "../../src/random.ts";
import { softenedProbabilities } from "../../src/evaluate/temperature.ts";
import { python } from "./python.ts";

const [rows, width, classes] = [240, 60, 3];

test.each([0.3, 0.03, 0.003])("a classifier with the penalty %f gives the probabilities of scikit-learn's", async (penalty) => {
  const random = new Random(17);
  const truth = Int32Array.from({ length: rows }, (_, row) => row % classes);
  const values = Float32Array.from({ length: rows * width }, (_, at) => {
    const [row, k] = [Math.floor(at / width), at % width];
    return random.normal() + (k % classes === truth[row] ? 0.35 : 0);
  });
  const features = { rows, width, values };
  const regression = await LogisticRegression.open(onnxruntime, features, truth, classes, 1);
  const fitted = await regression.fit(penalty);
  await regression.close();
  const own = softenedProbabilities(classify(features, fitted), classes, 1);

  const dir = await mkdtemp(join(tmpdir(), "serval-head-"));
  onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "x.bin"), new Uint8Array(values.buffer));
  await writeFile(join(dir, "y.bin"), new Uint8Array(truth.buffer));
  const args = [
    join(import.meta.dirname, "head_peer.py"),
    join(dir, "x.bin"),
    join(dir, "y.bin"),
    String(rows),
    String(width),
    String(penalty),
  ];
  const { stdout } = await promisify(execFile)(python, args, { maxBuffer: 1 << 24 });
  const theirs = JSON.parse(stdout) as { probabilities: number[][] };
  const worst = theirs.probabilities.flat().reduce((most, value, k) => Math.max(most, Math.abs(value - own[k]!)), 0);
  expect(worst).toBeLessThan(2e-3);
  // So that equal numbers mean something.
  expect(Math.max(...own)).toBeGreaterThan(0.6);
});
