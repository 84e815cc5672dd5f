import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mustRun, trainPatterns } from "../helpers/pattern-project.ts";
import { PATTERN_COUNTS, patternPicture, type PictureKind } from "../helpers/pattern-set.ts";
import { startServal } from "../helpers/serval-process.ts";

const labels = Object.keys(PATTERN_COUNTS).sort();
const total = Object.values(PATTERN_COUNTS).reduce((sum, count) => sum + count, 0);
const kinds: readonly PictureKind[] = ["rgb", "gray", "rgba"];

interface Prediction {
  readonly label: string;
  readonly confidence: number;
  readonly probabilities: Readonly<Record<string, number>>;
}

let dir: string;

/** Pictures that no split has seen: every pattern in every kind of file. */
async function newPictures(): Promise<{ pattern: string; kind: PictureKind; file: string; bytes: Buffer }[]> {
  const pictures = labels.flatMap((pattern) => kinds.map((kind) => ({ pattern, kind })));
  return await Promise.all(
    pictures.map(async ({ pattern, kind }) => ({
      pattern,
      kind,
      file: `${pattern} ${kind}.${kind === "rgb" ? "jpg" : "png"}`,
      bytes: await patternPicture(pattern, 1000 + kind.length, kind),
    })),
  );
}

/** Five imbalanced classes of drawn patterns, as RGB, gray and RGBA files, by nothing but the command line. */
describe("a set of images that Serval knows nothing about", () => {
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "serval-any-"));
    await trainPatterns(dir, 16);
  }, 240_000);
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test("is set up with its own folder as the source, and imported whole", async () => {
    expect(await readFile(join(dir, "params.yaml"), "utf8")).toContain("source: patterns\n");
    const lines = (await readFile(join(dir, "data/raw/manifest.jsonl"), "utf8")).trim().split("\n");
    const images = lines.map((line) => JSON.parse(line) as { label: string });
    expect(images).toHaveLength(total);
    expect(Object.fromEntries(labels.map((label) => [label, images.filter((image) => image.label === label).length]))).toEqual(
      PATTERN_COUNTS,
    );
  });

  test("is checked for its balance", async () => {
    const report = JSON.parse((await mustRun(dir, ["data", "check", "--json"])).stdout) as {
      images: number;
      classes: { label: string; count: number; share: number }[];
      conflicts: unknown[];
      tooSmall: unknown[];
      splits: { upToDate: boolean; leaks: unknown[] };
    };
    expect(report.images).toBe(total);
    expect(report.classes).toEqual(
      labels.map((label) => ({
        label,
        count: PATTERN_COUNTS[label],
        share: expect.closeTo((PATTERN_COUNTS[label] ?? 0) / total, 6) as number,
      })),
    );
    expect(report).toMatchObject({ conflicts: [], tooSmall: [], splits: { upToDate: true, leaks: [] } });
  });

  test("is evaluated with figures for each of the classes, far above guessing", async () => {
    const { metrics } = JSON.parse((await mustRun(dir, ["evaluate", "--split", "val", "--json"])).stdout) as {
      metrics: {
        count: number;
        accuracy: number;
        macroF1: number;
        rocAuc: number;
        perClass: { label: string; support: number; rocAuc: number }[];
        confusion: number[][];
      };
    };
    expect(metrics.perClass.map(({ label }) => label)).toEqual(labels);
    expect(metrics.confusion.map((row) => row.length)).toEqual([5, 5, 5, 5, 5]);
    expect(metrics.confusion.flat().reduce((sum, count) => sum + count, 0)).toBe(metrics.count);
    expect(metrics.perClass.every(({ support }) => support >= 1)).toBe(true);
    // The largest class is 31 % of the set.
    expect(metrics.accuracy).toBeGreaterThan(0.7);
    expect(metrics.rocAuc).toBeGreaterThan(0.85);
  });

  test("gives `predict` and the service the same answers, for RGB, gray and RGBA files", async () => {
    const pictures = await newPictures();
    for (const { file, bytes } of pictures) await writeFile(join(dir, file), bytes);
    const { stdout } = await mustRun(dir, ["predict", "--json", ...pictures.map(({ file }) => file)]);
    const predicted = JSON.parse(stdout) as Prediction[];

    const service = startServal(dir, ["serve", "--port", "0"]);
    try {
      const url = await service.address();
      const right: string[] = [];
      for (const [i, { pattern, file, bytes }] of pictures.entries()) {
        const form = new FormData();
        form.set("file", new File([new Uint8Array(bytes)], file));
        const response = await fetch(`${url}/predict`, { method: "POST", body: form });
        const served = (await response.json()) as Prediction;
        expect(response.status).toBe(200);
        expect(Object.keys(served.probabilities).sort()).toEqual(labels);
        expect(Object.values(served.probabilities).reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
        expect(served.confidence).toBe(Math.max(...Object.values(served.probabilities)));
        expect(served.probabilities[served.label]).toBe(served.confidence);
        expect(served.label).toBe(predicted[i]?.label);
        for (const label of labels) expect(served.probabilities[label]).toBeCloseTo(predicted[i]?.probabilities[label] ?? Number.NaN, 5);
        if (served.label === pattern) right.push(file);
      }
      expect(right.length).toBeGreaterThanOrEqual(Math.ceil(pictures.length * 0.7));
    } finally {
      await service.stop();
    }
  });

  test("ends its service cleanly at SIGTERM", async () => {
    const service = startServal(dir, ["serve", "--port", "0"]);
    const url = await service.address();
    const health = await fetch(`${url}/health`);
    expect((await service.stop("SIGTERM")).code).toBe(0);
    expect(health.status).toBe(200);
    await expect(fetch(`${url}/health`)).rejects.toThrow("fetch failed");
  });
});
