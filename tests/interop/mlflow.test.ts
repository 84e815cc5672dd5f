import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { flattenParams } from "../../src/workflows/model/track-training.ts";
import { loadParams } from "../../src/config/params.ts";
import { openShards } from "../../src/data/shards.ts";
import { sha256File } from "../../src/files.ts";
import { readResults, type EpochResult } from "../../src/train/results.ts";
import { freePort } from "../helpers/free-port.ts";
import { preparePatterns } from "../helpers/pattern-project.ts";
import { runServal, type ProcessResult } from "../helpers/serval-process.ts";
import { startMlflowServer, type MlflowServer } from "./mlflow-server.ts";
import { python } from "./python.ts";

interface LoggedRun {
  readonly count: number;
  readonly run_id: string;
  readonly experiment: string;
  readonly status: string;
  readonly params: Record<string, string>;
  readonly tags: Record<string, string>;
  readonly metrics: Record<string, [step: number, value: number][]>;
  readonly files: Record<string, string>;
  readonly inputs: [name: string, digest: string, profile: Record<string, number>, contexts: string[]][];
  readonly models: Record<string, { id: string; status: string; metrics: Record<string, number>; files: Record<string, string> }>;
}

const epochs = 3;
let dir: string;
let cwd: string;
let uri: string;
let server: MlflowServer | undefined;

async function train(): Promise<ProcessResult & { run: string; tracking: { delivered: boolean; page: string | null } }> {
  const result = await runServal(cwd, ["train", "--json"], { MLFLOW_TRACKING_URI: uri });
  expect(result.code, result.stderr).toBe(0);
  return { ...result, ...(JSON.parse(result.stdout) as { run: string; tracking: { delivered: boolean; page: string | null } }) };
}

async function readBack(run: string): Promise<LoggedRun> {
  const target = await mkdtemp(join(dir, "download-"));
  const { stdout } = await promisify(execFile)(python, [join(import.meta.dirname, "mlflow_peer.py"), uri, run, target]);
  return JSON.parse(stdout) as LoggedRun;
}

async function expectLogged(logged: LoggedRun, run: string): Promise<void> {
  expect(logged).toMatchObject({ count: 1, experiment: "patterns", status: "FINISHED" });
  expect(logged.params).toEqual(flattenParams(await loadParams(cwd)));
  expect(logged.params).toMatchObject({ "train.epochs": String(epochs), "train.batchSize": "16", "train.channels": "[16,16,32,32]" });

  const runDir = join(cwd, ".serval/runs", run);
  const rows = await readResults(runDir);
  expect(rows).toHaveLength(epochs);
  const columns: Record<string, keyof EpochResult> = {
    train_loss: "trainLoss",
    train_accuracy: "trainAccuracy",
    val_loss: "valLoss",
    val_accuracy: "valAccuracy",
    val_precision: "valPrecision",
    val_recall: "valRecall",
    val_f1: "valF1",
    learning_rate: "learningRate",
  };
  for (const [name, key] of Object.entries(columns)) {
    // results.csv has six digits, the server all of them.
    const points = logged.metrics[name]?.map(([step, value]) => [step, Number(value.toPrecision(6))]);
    expect(points, name).toEqual(rows.map((row) => [row.epoch, row[key]]));
  }
  expect(logged.metrics["final_val_accuracy"]).toHaveLength(1);
  expect(logged.metrics["best_val_accuracy"]?.[0]?.[1]).toBeGreaterThanOrEqual(logged.metrics["final_val_accuracy"]?.[0]?.[1] ?? 1);

  expect(logged.tags).toMatchObject({ "serval.run": run, "mlflow.source.name": "serval train" });
  expect(Object.keys(logged.files)).toEqual(
    expect.arrayContaining(["args.yaml", "confusion-matrix.png", "confusion-matrix.svg", "params.yaml", "results.csv", "results.png"]),
  );
  for (const [path, hash] of Object.entries(logged.files)) {
    expect(hash, path).toBe(await sha256File(join(path === "params.yaml" ? cwd : runDir, path)));
  }
  await expectSteps(logged);
  expect(await readdir(runDir)).not.toContain("tracking-spool.jsonl");
}

async function expectSteps(logged: LoggedRun): Promise<void> {
  const steps = logged.metrics["step/train_loss"] ?? [];
  const shards = await openShards(join(cwd, "data/processed"));
  shards.close();
  const { splits, dataVersion } = shards;
  expect(steps.map(([step]) => step)).toEqual(Array.from({ length: epochs * Math.floor(splits.train.count / 16) }, (_, i) => i + 1));
  const perEpoch = steps.length / epochs;
  for (const [i, [, loss]] of (logged.metrics["train_loss"] ?? []).entries()) {
    const own = steps.slice(i * perEpoch, (i + 1) * perEpoch).reduce((sum, [, value]) => sum + value, 0) / perEpoch;
    expect(own).toBeCloseTo(loss, 5);
  }
  expect(logged.metrics["step/images_per_second"]).toHaveLength(steps.length);
  for (const name of ["cpu_utilization_percentage", "system_memory_usage_megabytes", "system_memory_usage_percentage"]) {
    expect(logged.metrics[`system/${name}`]?.[0]?.[1], name).toBeGreaterThan(0);
  }
  expect(logged.metrics["logging_seconds"]?.[0]?.[1]).toBeLessThan(logged.metrics["step_seconds"]?.[0]?.[1] ?? 0);
  const rows = { num_rows_train: splits.train.count, num_rows_val: splits.val.count, num_rows_test: splits.test.count, classes: 5 };
  expect(logged.inputs).toEqual([["patterns", dataVersion.slice(0, 32), expect.objectContaining(rows), ["training"]]]);
}

async function hashesOf(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(await Promise.all(files.map(async (path) => [path.slice(folder.length + 1), await sha256File(path)] as const)));
}

/** The bundle in a logged model: all but the files that make it one for MLflow, and what its client adds to a download. */
function modelFiles(logged: LoggedRun, role: string): Record<string, string> {
  const model = logged.models[role];
  expect(model?.status).toBe("READY");
  const bundle = { ...model?.files };
  for (const name of ["MLmodel", "python_env.yaml", "requirements.txt"]) {
    expect(bundle).toHaveProperty([name]);
    delete bundle[name];
  }
  delete bundle["registered_model_meta"];
  expect(Object.keys(model?.metrics ?? {})).toContain(`${role}_val_accuracy`);
  return bundle;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-mlflow-"));
  cwd = join(dir, "work");
  uri = `http://127.0.0.1:${await freePort()}`;
  await preparePatterns(cwd, epochs);
}, 120_000);
afterAll(async () => {
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

test("a run that a server missed reaches it with the next training, and the next run as well, whole, by MLflow's own client", async () => {
  const missed = await train();
  expect(missed.tracking).toMatchObject({ delivered: false, page: null });
  expect(missed.stderr.match(/E_TRACKING_UNREACHABLE/g)).toHaveLength(1);
  expect(missed.stderr).toContain(`${uri} does not answer: connect ECONNREFUSED ${new URL(uri).host}.\n  Training continues.`);
  const missedModels = { best: await hashesOf(join(cwd, "artifacts/best")), final: await hashesOf(join(cwd, "artifacts/final")) };

  server = await startMlflowServer(dir, Number(new URL(uri).port));
  const logged = await train();
  expect(logged.stderr).not.toContain("E_TRACKING");
  expect(logged.stderr).toContain(`Sent the kept run ${missed.run} to ${uri}/#/experiments/`);
  const second = await readBack(logged.run);
  await expectLogged(second, logged.run);
  expect(logged.tracking).toMatchObject({
    delivered: true,
    page: expect.stringMatching(new RegExp(`/runs/${second.run_id}\\?workflowType=machine_learning$`)) as string,
  });
  expect(second.tags["serval.lowering"]).toMatch(/^(blocked|portable)$/);
  for (const role of ["best", "final"]) expect(modelFiles(second, role)).toEqual(await hashesOf(join(cwd, "artifacts", role)));

  const first = await readBack(missed.run);
  await expectLogged(first, missed.run);
  // The models of the first training, although the second one has replaced artifacts/.
  for (const role of ["best", "final"] as const) expect(modelFiles(first, role)).toEqual(missedModels[role]);
  expect(missedModels.best["provenance.json"]).not.toBe(modelFiles(second, "best")["provenance.json"]);
  expect(await readFile(join(cwd, "artifacts/best/provenance.json"), "utf8")).toContain(logged.run);
});
