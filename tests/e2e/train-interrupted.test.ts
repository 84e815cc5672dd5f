import { watch } from "node:fs";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Random } from "../../src/train/random.ts";
import { makeColourRepository, type ColourRepository } from "../helpers/colour-repository.ts";
import { runServal, startServal } from "../helpers/serval-process.ts";

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

test("training killed with SIGKILL at five random steps and resumed each time ends with the weights of a run left alone", async () => {
  expect((await runServal(data.cwd, ["train"])).code).toBe(0);
  const expected = await finalWeights();
  await rm(join(data.cwd, ".serval"), { recursive: true });
  await rm(join(data.cwd, "artifacts"), { recursive: true });

  const random = new Random(7);
  const first = startServal(data.cwd, ["train", "--checkpoint-every", "1"]);
  await first.waitFor(/Run \d{8}-/);
  const checkpoints = join(await latestRun(), "checkpoints");
  await mkdir(checkpoints, { recursive: true });
  await checkpointsWritten(checkpoints, 1 + random.below(8));
  await first.stop("SIGKILL");
  for (let kill = 1; kill < 5; kill++) {
    const resumed = startServal(data.cwd, ["train", "--checkpoint-every", "1", "--resume"]);
    await checkpointsWritten(checkpoints, 1 + random.below(8));
    expect((await resumed.stop("SIGKILL")).code).toBe(null);
  }
  const last = await runServal(data.cwd, ["train", "--resume"]);
  expect(last.code, last.stderr).toBe(0);
  expect(last.stdout).toMatch(/Going on after step \d+ of 54/);
  expect(await finalWeights()).toBe(expected);
  expect((await readdir(join(data.cwd, ".serval/runs"))).length).toBe(1);
});

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
  expect(wrongResume.stderr).toContain("E_RESUME_MISMATCH");
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
