import { appendFile, cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { prepareShards } from "../../../src/data/prepare.ts";
import type { ErrorCode } from "../../../src/errors/serval-error.ts";
import { findBestEpoch } from "../../../src/evaluate/best-epoch.ts";
import { sha256 } from "../../../src/files.ts";
import { onnxruntime } from "../../../src/runtime/onnxruntime.ts";
import { listCheckpoints, readCheckpoint, writeCheckpoint, type Checkpoint } from "../../../src/train/checkpoint.ts";
import { readResults } from "../../../src/train/results.ts";
import type { TrainConfig, TrainEvent, TrainJob, TrainOutcome } from "../../../src/train/train-job.ts";
import { runTraining } from "../../../src/train/trainer.ts";
import { trainInThread } from "../../../src/train/training-thread.ts";
import { makeColourRepository, type ColourRepository } from "../../helpers/colour-repository.ts";

const config: TrainConfig = {
  architecture: "cnn4",
  channels: [16, 16],
  blocks: 1,
  init: "",
  freezeEpochs: 1,
  cropSize: 16,
  sizes: [8, 12, 16],
  epochs: 3,
  batchSize: 8,
  optimizer: "sgd",
  learningRate: 0.05,
  momentum: 0.9,
  weightDecay: 0.0005,
  labelSmoothing: 0.05,
  warmupEpochs: 1,
  dropout: 0.2,
  flip: true,
  cropScale: 0.5,
  colorJitter: 0.2,
  blur: 0.2,
  noise: 0.2,
  erasing: 0.2,
  mixup: 0.2,
  cutmix: 1,
  mixProbability: 0.5,
  emaDecay: 0.9,
  patience: 0,
  seed: 42,
  threads: 1,
  lowering: "auto",
};

let data: ColourRepository;
const folders: string[] = [];

beforeAll(async () => {
  data = await makeColourRepository({ counts: { red: 40, blue: 40 }, prepare: { shares: { train: 0.6, val: 0.2, test: 0.2 } } });
});

afterAll(async () => {
  await data.remove();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function newRun(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "serval-run-"));
  folders.push(dir);
  return dir;
}

interface Trained {
  readonly outcome: TrainOutcome;
  readonly events: readonly TrainEvent[];
}

async function train(
  runDir: string,
  changes: Partial<TrainConfig> = {},
  job: Partial<TrainJob> = {},
  stopAfter = Infinity,
  events: TrainEvent[] = [],
): Promise<Trained> {
  let steps = 0;
  const outcome = await runTraining(
    onnxruntime,
    {
      config: { ...config, ...changes },
      shardsDir: join(data.cwd, "data", "processed"),
      runDir,
      resume: false,
      checkpointEverySeconds: 3600,
      checkpointEverySteps: 0,
      ...job,
    },
    {
      onEvent(event) {
        events.push(event);
        if (event.type === "step") steps++;
      },
      shouldStop: () => steps >= stopAfter,
    },
  );
  return { outcome, events };
}

/** One hash over all final weights. */
function fingerprint({ outcome }: Trained): string {
  return sha256(
    Object.entries(outcome.final)
      .map(([name, values]) => `${name} ${sha256(new Uint8Array(values.buffer))}`)
      .join("\n"),
  );
}

const failsWith = (code: ErrorCode): unknown => expect.objectContaining({ code });

/** Trains until `steps` are done and leaves the run with its checkpoint. */
async function interrupt(runDir: string, steps: number): Promise<void> {
  await expect(train(runDir, {}, {}, steps)).rejects.toEqual(failsWith("E_INTERRUPTED"));
}

describe("training", () => {
  test.each(["sgd", "adamw"] as const)("tells two colours apart with %s, in the portable and in the chosen lowering", async (optimizer) => {
    for (const lowering of ["portable", "auto"] as const) {
      const runDir = await newRun();
      const learningRate = optimizer === "sgd" ? 0.05 : 0.005;
      const { events } = await train(runDir, { optimizer, lowering, learningRate, epochs: 6 });
      const rows = await readResults(runDir);
      expect(rows.map((row) => row.epoch)).toEqual([1, 2, 3, 4, 5, 6]);
      expect(rows.at(-1)?.valAccuracy).toBeGreaterThan(0.9);
      expect(rows.at(-1)?.trainLoss).toBeLessThan(rows[0]?.trainLoss as number);
      expect(events.filter((event) => event.type === "epoch")).toHaveLength(6);
    }
  });

  test("with the same seed gives the same weights bit for bit, with another seed others", async () => {
    const first = await train(await newRun());
    expect(fingerprint(await train(await newRun()))).toBe(fingerprint(first));
    expect(fingerprint(await train(await newRun(), { seed: 43 }))).not.toBe(fingerprint(first));
  });

  test("stops early when validation has not improved for `patience` epochs", async () => {
    const runDir = await newRun();
    // A learning rate of next to nothing never improves after the first epoch or two.
    const hopeless = { epochs: 12, patience: 2, learningRate: 1e-9, warmupEpochs: 0 };
    const { outcome } = await train(runDir, { ...hopeless, sizes: [16] });
    expect(outcome.epochs).toBe(outcome.bestEpoch + 2);
    expect(outcome.epochs).toBeLessThan(12);
    // While pictures still grow, validation may wait for that: here the last size comes after eight epochs.
    const growing = await train(await newRun(), hopeless);
    expect(growing.outcome.epochs).toBe(Math.max(8, growing.outcome.bestEpoch) + 2);
  });

  test("takes for its best epoch what `select` asks for; it is the same training", async () => {
    const few = await makeColourRepository({ counts: { red: 60, blue: 16 }, prepare: { shares: { train: 0.5, val: 0.4, test: 0.1 } } });
    onTestFinished(() => few.remove());
    const shardsDir = join(few.cwd, "data", "processed");
    const changes = { sizes: [16], epochs: 6, learningRate: 0.003, seed: 2, emaDecay: 0, lowering: "portable" } as const;
    const bests: Record<string, number> = {};
    const trainings: string[] = [];
    for (const select of [undefined, "accuracy", "macroF1", "loss"] as const) {
      const runDir = await newRun();
      const trained = await train(runDir, { ...changes, ...(select && { select }) }, { shardsDir });
      trainings.push(fingerprint(trained));
      const results = await readResults(runDir);
      expect(trained.outcome.bestEpoch).toBe(findBestEpoch(results, select)?.epoch);
      bests[select ?? "default"] = trained.outcome.bestEpoch;
    }
    expect(new Set(trainings).size).toBe(1);
    expect(bests["default"]).toBe(bests["accuracy"]);
    // Otherwise this test shows nothing.
    expect(bests["loss"]).not.toBe(bests["accuracy"]);
  });

  test("refuses a crop that the blocks cannot halve or that is larger than the pictures", async () => {
    await expect(train(await newRun(), { cropSize: 14 })).rejects.toEqual(failsWith("E_PARAMS"));
    await expect(train(await newRun(), { cropSize: 32 })).rejects.toThrow("expected at most 16");
  });

  test("refuses data without a picture to validate on", async () => {
    const none = await makeColourRepository({ counts: { red: 3, blue: 3 }, prepare: { shares: { train: 0.5, val: 0, test: 0.5 } } });
    onTestFinished(async () => await none.remove());
    await expect(train(await newRun(), {}, { shardsDir: join(none.cwd, "data", "processed") })).rejects.toMatchObject({
      code: "E_TOO_FEW_IMAGES",
      message: expect.stringMatching(/^There are \d training and 0 validation pictures; expected at least 2 and 1\.$/),
    });
  });
});

describe("a run that was stopped", () => {
  test.each([1, 4, 8])("after %i steps gives the weights of one that was not, when resumed", async (steps) => {
    const whole = await train(await newRun());
    const runDir = await newRun();
    await interrupt(runDir, steps);
    const resumed = await train(runDir, {}, { resume: true });
    expect(resumed.events[0]).toMatchObject({ type: "start", stepsDone: steps });
    expect(fingerprint(resumed)).toBe(fingerprint(whole));
    expect(resumed.outcome.best).toEqual(whole.outcome.best);
    const withoutTimes = async (dir: string): Promise<unknown[]> =>
      (await readResults(dir)).map(({ timeSeconds: _t, imagesPerSecond: _i, ...row }) => row);
    expect(await withoutTimes(runDir)).toHaveLength(config.epochs);
  });

  /** Each part of a checkpoint, replaced by what a program that forgot it would begin with. */
  const forgotten: Readonly<Record<string, (checkpoint: Checkpoint) => Checkpoint>> = {
    weights: (c) => ({ ...c, state: zeroed(c.state, (name) => name === "convs.0.weight") }),
    "optimizer memory": (c) => ({ ...c, state: zeroed(c.state, (name) => name.startsWith("velocity:")) }),
    "running statistics": (c) => ({ ...c, state: zeroed(c.state, (name) => name.endsWith("running_mean")) }),
    "moving average": (c) => ({ ...c, state: zeroed(c.state, (name) => name === "ema:fc.weight") }),
    "position in the epoch": (c) => ({ ...c, position: { ...c.position, step: 0 } }),
    epoch: (c) => ({ ...c, position: { ...c.position, epoch: 0 } }),
  };

  test.each(Object.entries(forgotten))("would give other weights if the checkpoint left out its %s", async (_part, forget) => {
    const whole = await train(await newRun());
    const runDir = await newRun();
    await interrupt(runDir, 8);
    const dir = join(runDir, "checkpoints");
    const [name] = (await listCheckpoints(dir)) as [string];
    const checkpoint = await readCheckpoint(join(dir, name));
    await rm(dir, { recursive: true });
    await writeCheckpoint(dir, 8, checkpoint);
    const intact = await newRun();
    await cp(runDir, intact, { recursive: true });
    expect(fingerprint(await train(intact, {}, { resume: true }))).toBe(fingerprint(whole));

    await rm(dir, { recursive: true });
    await writeCheckpoint(dir, 8, forget(checkpoint));
    expect(fingerprint(await train(runDir, {}, { resume: true }))).not.toBe(fingerprint(whole));
  });

  test("would forget its best epoch if the checkpoint left it out", async () => {
    const runDir = await newRun();
    await interrupt(runDir, 8);
    const dir = join(runDir, "checkpoints");
    const [name] = (await listCheckpoints(dir)) as [string];
    const checkpoint = await readCheckpoint(join(dir, name));
    expect(checkpoint.position.best?.epoch).toBe(1);
    expect(Object.keys(checkpoint.best)).toContain("fc.weight");
  });

  test("takes the checkpoint before a damaged one, says so, and still gives the same weights", async () => {
    const whole = await train(await newRun());
    const runDir = await newRun();
    await expect(train(runDir, {}, { checkpointEverySteps: 3 }, 9)).rejects.toEqual(failsWith("E_INTERRUPTED"));
    const dir = join(runDir, "checkpoints");
    const names = await listCheckpoints(dir);
    expect(names).toHaveLength(2);
    await appendFile(join(dir, names[0] as string), "x");
    const resumed = await train(runDir, {}, { resume: true });
    const note = resumed.events.find((event) => event.type === "note");
    expect(note?.type === "note" && note.text).toContain(names[0]);
    expect(fingerprint(resumed)).toBe(fingerprint(whole));
    expect(await readdir(dir)).toContain(`${names[0]}.damaged`);
  });

  test("refuses to continue when every checkpoint is damaged, and names the file", async () => {
    const runDir = await newRun();
    await interrupt(runDir, 2);
    const dir = join(runDir, "checkpoints");
    for (const name of await readdir(dir)) await appendFile(join(dir, name), "x");
    await expect(train(runDir, {}, { resume: true })).rejects.toEqual(failsWith("E_CHECKPOINT_CORRUPT"));
  });

  test("ends with an error, not in silence, where results.csv is no longer what it was", async () => {
    const runDir = await newRun();
    await interrupt(runDir, 8);
    await writeFile(join(runDir, "results.csv"), "epoch;time_s\n1;2\n");
    const job = {
      config,
      shardsDir: join(data.cwd, "data", "processed"),
      runDir,
      resume: true,
      checkpointEverySeconds: 3600,
      checkpointEverySteps: 0,
    };
    const ended = trainInThread(job, () => undefined, new AbortController().signal);
    await expect(ended).rejects.toEqual(failsWith("E_RESULTS"));
  });

  test("refuses to continue with other parameters", async () => {
    const runDir = await newRun();
    await interrupt(runDir, 2);
    await expect(train(runDir, { learningRate: 0.01 }, { resume: true })).rejects.toEqual(failsWith("E_RESUME_MISMATCH"));
  });

  test("refuses to continue with pictures that another seed has put into other splits", async () => {
    const runDir = await newRun();
    await interrupt(runDir, 2);
    const shardsDir = await newRun();
    const shares = { train: 0.6, val: 0.2, test: 0.2 };
    const recipe = { width: 20, height: 16, fit: "squash", kernel: "lanczos3", orient: true, shares, seed: 7, dedupe: true } as const;
    await prepareShards({ rawDir: join(data.cwd, "data", "raw"), outDir: shardsDir, ...recipe });
    await expect(train(runDir, {}, { resume: true, shardsDir })).rejects.toEqual(failsWith("E_RESUME_MISMATCH"));
  });
});

test("a loss that is not a number stops training, says what to try, and leaves the last good checkpoint", async () => {
  const runDir = await newRun();
  const diverging = train(runDir, { learningRate: 1e30, warmupEpochs: 0 }, { checkpointEverySteps: 1 });
  await expect(diverging).rejects.toEqual(
    expect.objectContaining({ code: "E_TRAIN_DIVERGED", hint: expect.stringContaining("train.learningRate") }),
  );
  const dir = join(runDir, "checkpoints");
  for (const name of await listCheckpoints(dir)) {
    const { state } = await readCheckpoint(join(dir, name));
    expect(Object.values(state).every((values) => values.every(Number.isFinite))).toBe(true);
  }
});

test("a loss that stays far above guessing stops training long before its end, and no later step overwrites the last good checkpoint", async () => {
  const runDir = await newRun();
  const events: TrainEvent[] = [];
  // Rate times decay is 2.2: each step multiplies the classifier by -1.2, on every CPU. A rate that is merely too high kills
  // the features sooner or later, and what is left is a loss near guessing. So tiny a rate leaves them as they are.
  const overshooting = { momentum: 0, learningRate: 1e-5, weightDecay: 2.2e5, warmupEpochs: 1, epochs: 400 } as const;
  const job = { checkpointEverySteps: 1 };
  const error: unknown = await train(runDir, overshooting, job, Infinity, events).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: "E_TRAIN_DIVERGED", hint: expect.stringContaining("train.learningRate") });
  const { message } = error as Error;
  expect(message).toMatch(
    /^The loss stays at [\d.e+]+, above 2.39, where guessing would give 0.693, in epoch \d+, step \d+, at a learning rate of /,
  );
  expect(events.filter((event) => event.type === "step").length).toBeLessThan(200);
  const [latest] = await listCheckpoints(join(runDir, "checkpoints"));
  const step = Number((latest as string).slice(5, 13));
  expect(message).toContain(`The last good checkpoint is that of step ${step}.`);
  // It was written before the loss rose above the limit, and training continued for 50 steps from there.
  expect(step).toBeLessThan(events.filter((event) => event.type === "step").length - 45);
});

function zeroed(state: Readonly<Record<string, Float32Array>>, chosen: (name: string) => boolean): Record<string, Float32Array> {
  return Object.fromEntries(Object.entries(state).map(([name, values]) => [name, chosen(name) ? new Float32Array(values.length) : values]));
}
