import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { contactSheetSvg } from "../../../src/evaluate/contact-sheet.ts";
import type { Evaluation } from "../../../src/evaluate/evaluate.ts";
import { answeredPart, computeMetrics } from "../../../src/evaluate/metrics.ts";
import { createMistakeList } from "../../../src/evaluate/mistakes.ts";
import { formatPredictions, writeEvaluation } from "../../../src/evaluate/evaluation-folder.ts";
import { writeRunCharts } from "../../../src/train/run-charts.ts";

const labels = ["ant", "bee"];

/** Rows of (true class, probability of bee); a mistake's picture is a gray of 10 times its row. */
function evaluation(rows: readonly (readonly [truth: number, bee: number])[]): Evaluation {
  const probabilities = Float32Array.from(rows.flatMap(([, bee]) => [1 - bee, bee]));
  const truth = Uint16Array.from(rows, ([actual]) => actual);
  const list = createMistakeList();
  const hashes = rows.map((_, i) => String(i).padStart(64, "0"));
  rows.forEach(([actual], i) =>
    list.offer({
      sha256: hashes[i] as string,
      truth: actual,
      probabilities: probabilities.subarray(2 * i, 2 * i + 2),
      pixels: new Uint8Array(8 * 8 * 3).fill(10 * i),
      width: 8,
      height: 8,
    }),
  );
  return {
    labels,
    sha256: hashes,
    truth,
    probabilities,
    metrics: computeMetrics(labels, truth, probabilities),
    mistakes: list.worst(),
    skipped: [],
  };
}

const subject = { model: { name: "insects", digest: "d".repeat(64) }, data: { version: "e".repeat(64), split: "val" }, abstainBelow: null };

describe("createMistakeList", () => {
  it("keeps the mistakes that gave the true class least, worst first, and nothing that was right", () => {
    const { mistakes } = evaluation([
      [0, 0.6],
      [0, 0.1],
      [1, 0.05],
      [0, 0.9],
      [1, 0.8],
    ]);
    expect(mistakes.map(({ sha256, truth, predicted }) => [Number(sha256), truth, predicted])).toEqual([
      [2, 1, 0],
      [3, 0, 1],
      [0, 0, 1],
    ]);
    expect(mistakes[0]?.confidence).toBeCloseTo(0.95, 6);
    expect(mistakes[0]?.pixels[0]).toBe(20);
  });

  it("never holds more than its size, and the earlier of two equals", () => {
    const list = createMistakeList(2);
    for (const [i, p] of [0.3, 0.2, 0.4, 0.2, 0.1].entries()) {
      list.offer({ sha256: String(i), truth: 0, probabilities: Float32Array.of(p, 1 - p), pixels: new Uint8Array(3), width: 1, height: 1 });
    }
    expect(list.worst().map(({ sha256 }) => sha256)).toEqual(["4", "1"]);
  });
});

describe("answeredPart", () => {
  const rows = evaluation([
    [0, 0.4],
    [0, 0.05],
    [1, 0.75],
    [1, 0.02],
  ]);

  it("measures only the rows at or above the threshold", () => {
    expect(answeredPart(rows, 0.75)).toEqual({ abstainBelow: 0.75, share: 0.75, accuracy: 2 / 3 });
    expect(answeredPart(rows, 1)).toEqual({ abstainBelow: 1, share: 0, accuracy: null });
  });

  it("says nothing of a model that always answers", () => {
    expect(answeredPart(rows, null)).toBeUndefined();
  });
});

describe("formatPredictions", () => {
  it("has one JSON line for each image", () => {
    const text = formatPredictions(evaluation([[1, 0.75]]));
    expect(text).toBe(
      `{"sha256":"${"0".repeat(64)}","label":"bee","predicted":"bee","confidence":0.75,"probabilities":{"ant":0.25,"bee":0.75}}\n`,
    );
  });
});

describe("writeEvaluation", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "serval-report-"));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it("removes the pictures of an earlier evaluation that no longer apply", async () => {
    await writeEvaluation(
      dir,
      evaluation([
        [0, 0.9],
        [1, 0.9],
      ]),
      subject,
    );
    expect(await readdir(dir)).toEqual(expect.arrayContaining(["mistakes.jpg", "roc.png", "roc.svg"]));
    // Only one class occurs, and it is right: no ROC curve, no mistakes.
    const files = await writeEvaluation(dir, evaluation([[1, 0.9]]), subject);
    expect((await readdir(dir)).sort()).toEqual([...files].sort());
    expect(files).not.toEqual(expect.arrayContaining(["roc.svg"]));
    expect(files).not.toContain("mistakes.jpg");
  });

  it("hears a stop while it draws: the event loop is free, and the signal's reason is thrown", async () => {
    const count = 50;
    const confusion = Array.from({ length: count }, (_, i) => Array.from({ length: count }, (_, j) => i * j));
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("stopped")), 0);
    await expect(writeRunCharts(dir, { epochs: [], labels: confusion.map((_, i) => `c${i}`), confusion }, stop.signal)).rejects.toThrow(
      "stopped",
    );
    expect(await readdir(dir)).toEqual([]);
  });

  it("shows each mistake as the model saw it", async () => {
    await writeEvaluation(
      dir,
      evaluation([
        [0, 0.1],
        [0, 0.9],
        [1, 0.4],
      ]),
      subject,
    );
    const { data, info } = await sharp(join(dir, "mistakes.jpg")).raw().toBuffer({ resolveWithObject: true });
    // The middle of the first tile: x = 14 + 75, y = 62 + 75 at 1.5 pixels a unit. Row 1 (gray 10) is the worst.
    const at = (x: number, y: number): number => data[(Math.round(y * 1.5) * info.width + Math.round(x * 1.5)) * info.channels] as number;
    expect(Math.abs(at(89, 137) - 10)).toBeLessThan(4);
    expect(Math.abs(at(89 + 164, 137) - 20)).toBeLessThan(4);
  });

  it("draws a run's results beside its results.csv", async () => {
    await writeRunCharts(dir, {
      epochs: [],
      labels,
      confusion: [
        [1, 0],
        [0, 1],
      ],
    });
    expect((await readdir(dir)).sort()).toEqual(["confusion-matrix.png", "confusion-matrix.svg", "results.png", "results.svg"]);
    expect((await sharp(join(dir, "results.png")).metadata()).width).toBe(1800);
  });
});

describe("contactSheetSvg", () => {
  it("escapes captions and shortens long ones", async () => {
    const tile = { pixels: new Uint8Array(12), width: 2, height: 2, caption: ["is <b> & co", "x".repeat(60)] };
    const svg = await contactSheetSvg("a < b", "c & d", [tile]);
    expect(svg).toContain(">is &lt;b&gt; &amp; co</text>");
    expect(svg).toContain(`>${"x".repeat(21)}…</text>`);
    expect(svg).toContain(">a &lt; b</text>");
  });
});
