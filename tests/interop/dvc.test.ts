import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { mustRun } from "../helpers/pattern-project.ts";
import { createDvcRepository, initDrawings, type DvcRepository } from "./dvc-repository.ts";

let repository: DvcRepository;
let cwd: string;
let firstRepro: string;
const dvc = async (...args: string[]): Promise<string> => await repository.dvc(...args);
const git = async (...args: string[]): Promise<string> => await repository.git(...args);

async function lockedHashes(stage: string): Promise<Record<string, string>> {
  const lock = parse(await readFile(join(cwd, "dvc.lock"), "utf8")) as {
    stages: Record<string, { outs: { path: string; md5: string }[] }>;
  };
  return Object.fromEntries((lock.stages[stage]?.outs ?? []).map(({ path, md5 }) => [path, md5]));
}

beforeAll(async () => {
  repository = await createDvcRepository();
  cwd = repository.cwd;
  await initDrawings(repository);
  firstRepro = await dvc("repro");
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "first");
}, 240_000);
afterAll(() => repository.remove());

describe("dvc on a repository that serval init made", () => {
  test("runs the four stages, and Git has none of the data", async () => {
    expect([...firstRepro.matchAll(/^Running stage '(\w+)'/gm)].map((match) => match[1])).toEqual([
      "download_data",
      "preprocess_data",
      "train_model",
      "evaluate_model",
    ]);
    expect((await git("ls-files")).trim().split("\n")).toEqual([
      ".dvc/.gitignore",
      ".dvc/config",
      ".dvcignore",
      ".gitignore",
      "dvc.lock",
      "dvc.yaml",
      "params.yaml",
    ]);
  });

  test("finds everything up to date afterwards, and runs nothing again", async () => {
    expect(JSON.parse(await dvc("status", "--json"))).toEqual({});
    const again = await dvc("repro");
    expect(again.match(/didn't change, skipping/g)).toHaveLength(4);
    expect(again).not.toContain("Running stage");
  });

  test("and so does Serval, which takes what dvc ran for its own", async () => {
    expect(JSON.parse(await repository.serval("status", "--json"))).toEqual({});
    const results = JSON.parse(await repository.serval("repro", "--json")) as { action: string }[];
    expect(results.map(({ action }) => action)).toEqual(["unchanged", "unchanged", "unchanged", "unchanged"]);
  });

  test("shows the metrics of the evaluation", async () => {
    const shown = JSON.parse(await dvc("metrics", "show", "--json")) as Record<string, { data: Record<string, { data: object }> }>;
    const metrics = shown[""]?.data["artifacts/evaluation/metrics.json"]?.data as Record<string, number>;
    const written = JSON.parse(await readFile(join(cwd, "artifacts/evaluation/metrics.json"), "utf8")) as typeof metrics;
    for (const name of ["count", "accuracy", "loss", "macroPrecision", "macroRecall", "macroF1", "rocAuc", "ece"]) {
      expect(metrics[name], name).toBe(written[name]);
    }
    expect(metrics["accuracy"]).toBeGreaterThan(0.3);
    expect(metrics["macroF1"]).toBeLessThanOrEqual(1);
  });

  test("draws loss and accuracy by epoch, and shows the confusion matrix", async () => {
    await dvc("plots", "show", "--out", "plots");
    const page = await readFile(join(cwd, "plots/index.html"), "utf8");
    const [, ...rows] = (await readFile(join(cwd, "artifacts/training/results.csv"), "utf8")).trim().split("\n");
    expect(rows).toHaveLength(2);
    const valLoss = rows[1]?.split(",")[6] ?? "missing";
    expect(page).toContain(valLoss);
    expect(page).toContain("confusion-matrix.png");
    expect((await readdir(join(cwd, "plots/static"))).length).toBeGreaterThanOrEqual(2);
    await rm(join(cwd, "plots"), { recursive: true });
  });

  test("gets the same hashes from a second training, because provenance.json is outside them", async () => {
    const before = await lockedHashes("train_model");
    const provenance = await readFile(join(cwd, "artifacts/best/provenance.json"), "utf8");
    await dvc("repro", "--force", "--single-item", "train_model");
    const { "artifacts/best": best, "artifacts/final": final } = await lockedHashes("train_model");
    expect({ best, final }).toEqual({ best: before["artifacts/best"], final: before["artifacts/final"] });
    expect(await readFile(join(cwd, "artifacts/best/provenance.json"), "utf8")).not.toBe(provenance);
    expect(await dvc("repro")).not.toContain("Running stage 'evaluate_model'");
  });

  test("names the parameter that changed, and the stages that are out of date by it", async () => {
    const params = await readFile(join(cwd, "params.yaml"), "utf8");
    await writeFile(join(cwd, "params.yaml"), params.replace("epochs: 2", "epochs: 3"));
    expect(JSON.parse(await dvc("params", "diff", "--json"))).toEqual({ "params.yaml": { "train.epochs": { old: 2, new: 3, diff: 1 } } });
    const status = JSON.parse(await dvc("status", "--json")) as Record<string, unknown>;
    expect(Object.keys(status)).toEqual(["train_model"]);
    await writeFile(join(cwd, "params.yaml"), params);
  });

  test("brings data and models back from its cache, and Serval takes them", async () => {
    await rm(join(cwd, "data"), { recursive: true });
    await rm(join(cwd, "artifacts"), { recursive: true });
    await dvc("checkout");
    const { stdout } = await mustRun(cwd, ["evaluate", "--model", "artifacts/best", "--json"]);
    const committed = JSON.parse(await readFile(join(cwd, "artifacts/evaluation/metrics.json"), "utf8")) as { accuracy: number };
    expect((JSON.parse(stdout) as { metrics: { accuracy: number } }).metrics.accuracy).toBe(committed.accuracy);
  });
});
