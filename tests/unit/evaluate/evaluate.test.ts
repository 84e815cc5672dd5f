import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createOutput } from "../../../src/cli/output.ts";
import { runCli } from "../../../src/cli/main.ts";
import { openShards } from "../../../src/data/shards.ts";
import { openFolder } from "../../../src/data/sources/folder.ts";
import { startInference, type Inference } from "../../../src/runtime/inference.ts";
import { evaluateBundle, evaluateSource } from "../../../src/evaluate/evaluate.ts";
import { openResults } from "../../../src/train/results.ts";
import type { Bundle } from "../../../src/model/bundle.ts";
import { evaluateModel, type EvaluateReport } from "../../../src/workflows/model/evaluate-model.ts";
import { makeColourRepository, shadedPicture, type ColourRepository } from "../../helpers/colour-repository.ts";
import { writeTinyBundle, type Colour } from "../../helpers/tiny-bundle.ts";

const limits = { maxBytes: 1 << 20, maxPixels: 1 << 20 };

interface PredictionLine {
  readonly sha256: string;
  readonly label: string;
  readonly predicted: string;
  readonly confidence: number;
  readonly probabilities: Readonly<Record<string, number>>;
}

async function readPredictions(dir: string): Promise<PredictionLine[]> {
  const text = await readFile(join(dir, "predictions.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as PredictionLine);
}

/** What a model that only sees colours must answer, counted from the drawings. */
async function expectedConfusion(repository: ColourRepository, labels: readonly Colour[], split: "test" | "val"): Promise<number[][]> {
  const shards = await openShards(join(repository.cwd, "data", "processed"));
  const confusion = labels.map(() => labels.map(() => 0));
  const { sha256, classIndex } = shards.splits[split];
  sha256.forEach((hash, row) => {
    const predicted = labels.indexOf(repository.colours.get(hash) as Colour);
    confusion[classIndex[row] as number]![predicted]!++;
  });
  shards.close();
  return confusion;
}

describe("serval evaluate on two classes", () => {
  const labels: Colour[] = ["blue", "red"];
  let repository: ColourRepository;
  let bundle: Bundle;
  let first: EvaluateReport;
  let expected: number[][];
  const at = (...parts: string[]): string => join(repository.cwd, ...parts);

  beforeAll(async () => {
    repository = await makeColourRepository({ counts: { blue: 30, red: 24 }, strays: [["red", "blue", 10]] });
    bundle = await writeTinyBundle(at("artifacts", "best"), { labels, manifest: { abstainBelow: 0.5 } });
    expected = await expectedConfusion(repository, labels, "test");
    await mkdir(at("docs"));
    first = await evaluateModel({ cwd: repository.cwd });
  });
  afterAll(() => repository.remove());

  it("counts exactly the mistakes that were drawn into the test split", () => {
    const strays = expected[1]?.[0] as number;
    expect(strays).toBeGreaterThan(0);
    expect(first.metrics.confusion).toEqual(expected);
    expect(first.metrics.accuracy).toBe(1 - strays / first.metrics.count);
    expect(first.answered).toEqual({ abstainBelow: 0.5, share: 1, accuracy: first.metrics.accuracy });
    expect(first.data).toEqual({ version: expect.stringMatching(/^[0-9a-f]{64}$/) as string, split: "test" });
    expect(first.model).toEqual({ name: "colours", digest: bundle.digest });
  });

  it("writes figures, predictions and pictures that open", async () => {
    const dir = at("artifacts", "evaluation");
    expect(first.out).toBe("artifacts/evaluation");
    expect((await readdir(dir)).sort()).toEqual(
      [
        "confusion-matrix.png",
        "confusion-matrix.svg",
        "metrics.json",
        "mistakes.jpg",
        "predictions.jsonl",
        "reliability.png",
        "reliability.svg",
        "roc.png",
        "roc.svg",
      ].sort(),
    );
    expect([...first.files].sort()).toEqual((await readdir(dir)).sort());
    for (const name of first.files.filter((file) => /\.(png|jpg)$/.test(file))) {
      expect((await sharp(join(dir, name)).stats()).isOpaque).toBe(true);
    }
    const metrics = JSON.parse(await readFile(join(dir, "metrics.json"), "utf8")) as Record<string, unknown>;
    expect(metrics).toMatchObject({ model: first.model, data: first.data, accuracy: first.metrics.accuracy, confusion: expected });
  });

  it("predicts every image of the split by its own hash, with probabilities that a float32 survives", async () => {
    const lines = await readPredictions(at("artifacts", "evaluation"));
    expect(lines.length).toBe(first.metrics.count);
    for (const line of lines) {
      expect(line.predicted).toBe(repository.colours.get(line.sha256));
      expect(Object.keys(line.probabilities)).toEqual(labels);
      expect(line.probabilities[line.predicted]).toBe(line.confidence);
      expect(Math.fround((line.probabilities["blue"] as number) + (line.probabilities["red"] as number))).toBeCloseTo(1, 6);
    }
  });

  it("gives the same answers for the same files read from a folder, as the service would", async () => {
    await writeFile(join(repository.source, "red", "broken.jpg"), "not a picture");
    await writeFile(join(repository.source, "LICENSE"), "for all");
    const report = await evaluateModel({ cwd: repository.cwd, data: "pictures", out: "out/folder" });
    await rm(join(repository.source, "red", "broken.jpg"));
    expect(report.metrics.count).toBe(64);
    expect(report.skipped).toEqual([{ name: "red/broken.jpg", code: "E_IMAGE_FORMAT", message: expect.any(String) as string }]);
    expect(report.data).toEqual({ source: "pictures" });
    expect(report.look).toBeNull();
    const bySha = new Map((await readPredictions(at("out", "folder"))).map((line) => [line.sha256, line]));
    for (const line of await readPredictions(at("artifacts", "evaluation"))) expect(bySha.get(line.sha256)).toEqual(line);
  });

  it("that is cut off has no metrics.json, so the earlier predictions are not taken for its own", async () => {
    const out = at("out", "cut");
    await evaluateModel({ cwd: repository.cwd, out: "out/cut" });
    await rm(join(out, "predictions.jsonl"));
    await mkdir(join(out, "predictions.jsonl"));
    await expect(evaluateModel({ cwd: repository.cwd, out: "out/cut" })).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
    expect(await readdir(out)).not.toContain("metrics.json");
  });

  it("writes the same bytes again for the same model and data", async () => {
    await evaluateModel({ cwd: repository.cwd, out: "out/again" });
    for (const name of first.files)
      expect(await readFile(at("out", "again", name))).toEqual(await readFile(at("artifacts", "evaluation", name)));
  });

  it("records a look at the test split once for each model, and shows the recorded line the next time", async () => {
    expect(first.look).toMatchObject({ path: "docs/accuracy.md", added: true });
    const second = await evaluateModel({ cwd: repository.cwd, out: "out/second" });
    expect(second.look).toEqual({ ...first.look, added: false });
    const text = await readFile(at("docs", "accuracy.md"), "utf8");
    expect(text.split("\n").filter((line) => line.includes("serval evaluate --model"))).toEqual([first.look?.line]);
    expect(first.look?.line).toContain(`| colours \`${bundle.digest.slice(0, 12)}\` |`);
    expect(first.look?.line).toContain("`serval evaluate --model artifacts/best` |");
  });

  it("leaves the log alone for the validation split and where it is told to", async () => {
    const before = await readFile(at("docs", "accuracy.md"), "utf8");
    await writeTinyBundle(at("other"), { labels, sharpness: 3 });
    expect((await evaluateModel({ cwd: repository.cwd, model: "other", split: "val", out: "out/val" })).look).toBeNull();
    expect((await evaluateModel({ cwd: repository.cwd, model: "other", recordLook: false, out: "out/sample" })).look).toBeNull();
    expect(await readFile(at("docs", "accuracy.md"), "utf8")).toBe(before);
  });

  it("draws the curves of the run that made the bundle, and nothing of an earlier evaluation stays", async () => {
    const run = "20260101-120000-abcd";
    const log = await openResults(at(".serval", "runs", run));
    await log.append({
      epoch: 1,
      timeSeconds: 1,
      imagesPerSecond: 1,
      learningRate: 0.1,
      trainLoss: 0.5,
      trainAccuracy: 0.5,
      valLoss: 0.4,
      valAccuracy: 0.625,
      valPrecision: 0.5,
      valRecall: 0.5,
      valF1: 0.5,
    });
    const provenance = at("artifacts", "best", "provenance.json");
    const before = await readFile(provenance, "utf8");
    await writeFile(provenance, JSON.stringify({ run }));
    const report = await evaluateModel({ cwd: repository.cwd, out: "out/curves" });
    expect(report.files).toEqual(expect.arrayContaining(["curves.png", "curves.svg"]));
    expect(await readFile(at("out", "curves", "curves.svg"), "utf8")).toContain("best validation accuracy 62.50 % in epoch 1 of 1");
    await writeFile(at(".serval", "runs", run, "args.yaml"), "train:\n  select: loss\n");
    await evaluateModel({ cwd: repository.cwd, out: "out/curves" });
    expect(await readFile(at("out", "curves", "curves.svg"), "utf8")).toContain("lowest validation loss 0.4000 in epoch 1 of 1");
    await writeFile(provenance, JSON.stringify({ run: "../elsewhere" }));
    await evaluateModel({ cwd: repository.cwd, out: "out/curves" });
    expect(await readdir(at("out", "curves"))).not.toContain("curves.svg");
    await writeFile(provenance, before);
  });

  it("stops between two batches when it is interrupted", async () => {
    const controller = new AbortController();
    controller.abort(new DOMException("stopped", "AbortError"));
    await expect(evaluateModel({ cwd: repository.cwd, out: "out/aborted", signal: controller.signal })).rejects.toThrow("stopped");
    expect(await readdir(at("out"))).not.toContain("aborted");
  });

  it("is a command: a table for people, one JSON document with --json", async () => {
    const run = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
      const { PassThrough } = await import("node:stream");
      const [stdout, stderr] = [new PassThrough(), new PassThrough()];
      const code = await runCli(args, {
        cwd: repository.cwd,
        signal: new AbortController().signal,
        output: (options) => createOutput({ json: options?.json ?? false, stdout, stderr }),
      });
      return { code, stdout: String(stdout.read() ?? ""), stderr: String(stderr.read() ?? "") };
    };
    const table = await run("evaluate");
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/accuracy {2}\d\d\.\d\d % {3}\(95 % interval/);
    expect(table.stdout).toMatch(/^ {2}red +\d+ +1\.0000 +0\.\d{4}/m);
    expect(table.stdout).toContain("The test split was looked at with this model before; docs/accuracy.md has it:");
    const json = await run("evaluate", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ metrics: { count: first.metrics.count }, look: { added: false } });
    expect((await run("evaluate", "--split", "all")).code).toBe(2);
    expect((await run("evaluate", "--model", "nowhere")).stderr).toContain("E_BUNDLE_MISSING");
  });
});

describe("evaluate on five unequal classes", () => {
  const labels: Colour[] = ["blue", "cyan", "green", "red", "yellow"];
  let repository: ColourRepository;
  beforeAll(async () => {
    repository = await makeColourRepository({
      counts: { blue: 24, cyan: 12, green: 8, red: 8, yellow: 6 },
      strays: [
        ["blue", "red", 6],
        ["yellow", "cyan", 6],
      ],
    });
    await writeTinyBundle(join(repository.cwd, "artifacts", "best"), { labels });
  });
  afterAll(() => repository.remove());

  it("has a confusion matrix, one-vs-rest areas and a probability for each of them", async () => {
    const report = await evaluateModel({ cwd: repository.cwd });
    expect(report.metrics.confusion).toEqual(await expectedConfusion(repository, labels, "test"));
    expect(report.metrics.perClass.map(({ label, rocAuc }) => [label, rocAuc !== null])).toEqual(labels.map((label) => [label, true]));
    const [line] = await readPredictions(join(repository.cwd, "artifacts", "evaluation"));
    expect(Object.keys(line?.probabilities ?? {})).toEqual(labels);
    const roc = await readFile(join(repository.cwd, "artifacts", "evaluation", "roc.svg"), "utf8");
    for (const label of labels) expect(roc).toContain(`${label}   AUC`);
  });

  it("keeps its log with the local state where there is no docs folder", async () => {
    const report = await evaluateModel({ cwd: repository.cwd });
    expect(report.look?.path).toBe(".serval/accuracy.md");
    expect(await readFile(join(repository.cwd, ".serval", "accuracy.md"), "utf8")).toContain(report.look?.line);
  });
});

describe("evaluateBundle and evaluateSource", () => {
  let repository: ColourRepository;
  let inference: Inference;
  let bundle: Bundle;
  beforeAll(async () => {
    repository = await makeColourRepository({
      counts: { blue: 8, green: 8, red: 8 },
      prepare: { shares: { train: 0.5, val: 0.5, test: 0 } },
    });
    bundle = await writeTinyBundle(join(repository.cwd, "bundle"), { labels: ["blue", "green", "red"] });
    inference = await startInference(bundle.model, { imageShape: [12, 16], threads: 1 });
  });
  afterAll(async () => {
    await inference.close();
    await repository.remove();
  });

  it("refuses a split without images", async () => {
    const shards = await openShards(join(repository.cwd, "data", "processed"));
    await expect(evaluateBundle({ bundle, shards, split: "test", inference })).rejects.toMatchObject({
      code: "E_SPLIT_EMPTY",
      message: 'The split "test" has no images.',
    });
    shards.close();
  });

  it("refuses data that was prepared in another size or split, or holds a class that the model does not know", async () => {
    const shards = await openShards(join(repository.cwd, "data", "processed"));
    const { manifest } = bundle;
    const wider = { ...bundle, manifest: { ...manifest, preprocess: { ...manifest.preprocess, width: 24 } } };
    await expect(evaluateBundle({ bundle: wider, shards, split: "val", inference })).rejects.toMatchObject({
      code: "E_MODEL_DATA",
      message: expect.stringContaining("trained with width 24, but the prepared data has width 20") as string,
    });
    const resplit = { ...bundle, manifest: { ...manifest, split: { seed: 7, shares: shards.shares, dedupe: true } } };
    await expect(evaluateBundle({ bundle: resplit, shards, split: "val", inference })).rejects.toMatchObject({
      code: "E_MODEL_DATA",
      message: expect.stringMatching(/trained with prepare\.seed 7, .*, but the prepared data has prepare\.seed 42, /) as string,
    });
    const same = { ...bundle, manifest: { ...manifest, split: { seed: 42, shares: shards.shares, dedupe: true } } };
    expect((await evaluateBundle({ bundle: same, shards, split: "val", inference })).sha256).toHaveLength(shards.splits.val.count);
    const poorer = { ...bundle, manifest: { ...manifest, labels: ["blue", "red"] } };
    await expect(evaluateBundle({ bundle: poorer, shards, split: "val", inference })).rejects.toMatchObject({
      code: "E_MODEL_DATA",
      message: expect.stringContaining('the class "green"') as string,
    });
    shards.close();
  });

  it("reports progress up to the number of images", async () => {
    const shards = await openShards(join(repository.cwd, "data", "processed"));
    const seen: [number, number][] = [];
    await evaluateBundle({ bundle, shards, split: "val", inference, onProgress: (done, total) => void seen.push([done, total]) });
    expect(seen.at(-1)).toEqual([shards.splits.val.count, shards.splits.val.count]);
    shards.close();
  });

  it("refuses a folder with an unknown class, and one without any image", async () => {
    const dir = await mkdtemp(join(tmpdir(), "serval-source-"));
    await mkdir(join(dir, "red"));
    await mkdir(join(dir, "violet"));
    await writeFile(join(dir, "red", "1.jpg"), "");
    await writeFile(join(dir, "violet", "1.jpg"), await shadedPicture("red", 1));
    await expect(evaluateSource({ bundle, source: await openFolder(dir), limits, inference })).rejects.toMatchObject({
      code: "E_MODEL_DATA",
      message: expect.stringContaining('the class "violet"') as string,
    });
    await rm(join(dir, "violet"), { recursive: true });
    await expect(evaluateSource({ bundle, source: await openFolder(dir), limits, inference })).rejects.toMatchObject({
      code: "E_SPLIT_EMPTY",
    });
    await rm(dir, { recursive: true });
  });
});
