import { watch } from "node:fs";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { execFile } from "node:child_process";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Random } from "../../src/random.ts";
import { MlflowStub } from "../helpers/mlflow-stub.ts";
import { makeColourRepository, type ColourRepository } from "../helpers/colour-repository.ts";
import { runServal, startServal } from "../helpers/serval-process.ts";

const run = promisify(execFile);
let data: ColourRepository;

beforeAll(async () => {
  data = await makeColourRepository({ counts: { red: 60, blue: 60 }, prepare: { shares: { train: 0.6, val: 0.2, test: 0.2 } } });
  const train = { channels: "[16, 16, 16, 16]", cropSize: "16", epochs: "6", batchSize: "8", threads: "1" };
  const lines = Object.entries(train).map(([key, value]) => `  ${key}: ${value}`);
  await writeFile(
    join(data.cwd, "params.yaml"),
    `prepare:\n  width: 20\n  height: 16\ntrain:\n${lines.join("\n")}\nmodel:\n  name: colours\n`,
  );
});

afterAll(async () => {
  await data.remove();
});

const finalWeights = async (): Promise<string> =>
  (await readFile(join(data.cwd, "artifacts/final/weights.safetensors"))).toString("base64");

async function latestRun(): Promise<string> {
  const runs = await readdir(join(data.cwd, ".serval/runs"));
  return join(data.cwd, ".serval/runs", runs.sort().at(-1) as string);
}

/** Resolves when `count` more checkpoints have been written in `dir`. */
async function checkpointsWritten(dir: string, count: number): Promise<void> {
  const seen = new Set<string>();
  await new Promise<void>((resolve) => {
    const watcher = watch(dir, (_event, name) => {
      if (name?.endsWith(".safetensors")) seen.add(name);
      if (seen.size < count) return;
      watcher.close();
      resolve();
    });
  });
}

/** The metrics that a killed training had logged: key, step, time and value of each. */
async function loggedPoints(): Promise<string[]> {
  const lines = (await readFile(join(await latestRun(), "tracking-spool.jsonl"), "utf8")).split("\n").slice(0, -1);
  const entries = lines.map((line) => JSON.parse(line) as { type: string; at: number; step: number; metrics: Record<string, number> });
  return entries
    .filter(({ type }) => type === "metrics")
    .flatMap(({ at, step, metrics }) => Object.entries(metrics).map(([key, value]) => JSON.stringify([key, step, at, value])));
}

test("a disk that is full at a checkpoint ends the training with the command that resumes it", async () => {
  const main = join(import.meta.dirname, "../../src/cli/main.ts");
  // No file may become larger than 16 KiB, which a checkpoint is.
  const failed = await run("bash", ["-c", 'ulimit -f 16; exec "$0" "$@"', process.execPath, main, "train"], { cwd: data.cwd }).then(
    () => ({ stderr: "" }),
    (error: { stderr: string }) => error,
  );
  const name = basename(await latestRun());
  expect(failed.stderr).toMatch(/E_DISK_FULL/);
  expect(failed.stderr).toContain(`Free some space, then continue with \`serval train --resume ${name}\`.`);
  expect((await runServal(data.cwd, ["train", "--resume", name])).code).toBe(0);
  await rm(join(data.cwd, ".serval"), { recursive: true });
});

// Seven trainings from start to end, each in a separate process.
test("training killed with SIGKILL at five random steps and resumed each time ends with the weights of a run left alone, and all that it logged arrives", async () => {
  expect((await runServal(data.cwd, ["train"])).code).toBe(0);
  const expected = await finalWeights();
  await rm(join(data.cwd, ".serval"), { recursive: true });
  await rm(join(data.cwd, "artifacts"), { recursive: true });

  const server = new MlflowStub();
  await server.listen();
  const env = { MLFLOW_TRACKING_URI: server.uri };
  const logged = new Set<string>();
  const random = new Random(7);
  const first = startServal(data.cwd, ["train", "--checkpoint-every", "1"], env);
  await first.waitFor(/Run \d{8}-/);
  const checkpoints = join(await latestRun(), "checkpoints");
  await mkdir(checkpoints, { recursive: true });
  await checkpointsWritten(checkpoints, 1 + random.below(8));
  await first.stop("SIGKILL");
  for (const point of await loggedPoints()) logged.add(point);
  for (let kill = 1; kill < 5; kill++) {
    const resumed = startServal(data.cwd, ["train", "--checkpoint-every", "1", "--resume"], env);
    await checkpointsWritten(checkpoints, 1 + random.below(8));
    expect((await resumed.stop("SIGKILL")).code).toBe(null);
    for (const point of await loggedPoints()) logged.add(point);
  }
  const last = await runServal(data.cwd, ["train", "--resume"], env);
  expect(last.code, last.stderr).toBe(0);
  expect(last.stdout).toMatch(/Continuing after step \d+ of 54/);
  expect(await finalWeights()).toBe(expected);
  expect((await readdir(join(data.cwd, ".serval/runs"))).length).toBe(1);
  await server.close();

  expect(server.runs.map(({ status }) => status)).toEqual(["FINISHED"]);
  const points = server.runs[0]?.metrics ?? [];
  const found = new Set(points.map(({ key, step, timestamp, value }) => JSON.stringify([key, step, timestamp, value])));
  expect(logged.size).toBeGreaterThan(10);
  expect([...logged].filter((point) => !found.has(point))).toEqual([]);
  // A step that was trained again after a kill has the same loss, bit for bit.
  const losses = points.filter(({ key }) => key === "step/train_loss");
  expect(new Set(losses.map(({ step, value }) => `${step} ${value}`)).size).toBe(new Set(losses.map(({ step }) => step)).size);
}, 180_000);

test("Ctrl-C stops training after the step in progress, keeps a checkpoint and exits with 130", async () => {
  const training = startServal(data.cwd, ["train", "--set", "train.epochs=500"]);
  await training.waitFor(/epoch 1\/500/);
  const { code, stderr } = await training.stop("SIGINT");
  expect(code).toBe(130);
  expect(stderr).toContain("E_INTERRUPTED");
  expect(stderr).toContain("serval train --resume");
  expect(await readdir(join(await latestRun(), "checkpoints"))).not.toHaveLength(0);

  const wrongResume = await runServal(data.cwd, ["train", "--resume"]);
  expect(wrongResume.code).toBe(2);
  expect(wrongResume.stderr).toMatch(/E_RESUME_MISMATCH: .*args\.yaml: train\.epochs is 500 there and 6 here\.$/m);
});

test("resuming where there is no run says so", async () => {
  await rm(join(data.cwd, ".serval"), { recursive: true, force: true });
  const { code, stderr } = await runServal(data.cwd, ["train", "--resume"]);
  expect(code).toBe(2);
  expect(stderr).toContain("E_RUN_NOT_FOUND");
});

test("a number of steps that is none is refused before anything begins", async () => {
  const { code, stderr } = await runServal(data.cwd, ["train", "--checkpoint-every", "often"]);
  expect(code).toBe(2);
  expect(stderr).toContain('E_USAGE: --checkpoint-every: expected a number of steps from 1 on, got "often".');
});
