import { once } from "node:events";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openShards, type Shards } from "../../../src/data/shards.ts";
import { defaultParams } from "../../../src/config/params-schema.ts";
import { BatchSource } from "../../../src/train/batches/batch-source.ts";
import { BatchMaker, epochOrder, type Augmentation, type Batch } from "../../../src/train/batches/batches.ts";
import { makeColourRepository, type ColourRepository } from "../../helpers/colour-repository.ts";

const plain: Augmentation = {
  flip: false,
  labelSmoothing: 0,
  cropScale: 1,
  colorJitter: 0,
  blur: 0,
  noise: 0,
  erasing: 0,
  mixup: 0,
  cutmix: 0,
  mixProbability: 0,
};
const side = 50;
const bytes = side ** 2 * 3;

let repository: ColourRepository;
let shards: Shards;

beforeAll(async () => {
  repository = await makeColourRepository({ counts: { red: 30, blue: 30 }, prepare: { width: 50, height: 50 } });
  shards = await openShards(join(repository.cwd, "data", "processed"));
});
afterAll(async () => {
  shards.close();
  await repository.remove();
});

/** The pictures of a batch, after those of other steps. */
function pictures(changes: Partial<Augmentation>, step = 0, before: readonly number[] = [], count = 16): Uint8Array {
  const maker = new BatchMaker(shards, 42, side, { ...plain, ...changes });
  const order = epochOrder(42, 0, shards.splits.train.count);
  const batch: Batch = { images: new Uint8Array(count * bytes), targets: new Float32Array(count * 2), classIndex: new Uint16Array(count) };
  for (const other of [...before, step]) maker.make(batch, order, 0, other);
  return batch.images;
}

/** Mean difference between neighbours in a row, 0..255, of each picture. */
function roughness(images: Uint8Array): number[] {
  return Array.from({ length: images.length / bytes }, (_, picture) => {
    let sum = 0;
    for (let y = 0; y < side; y++)
      for (let k = 0; k < (side - 1) * 3; k++) {
        const at = picture * bytes + y * side * 3 + k;
        sum += Math.abs((images[at + 3] as number) - (images[at] as number));
      }
    return sum / (side * (side - 1) * 3);
  });
}

test("what is in a batch depends on its step, not on the batches made before", () => {
  const all = { flip: true, cropScale: 0.5, colorJitter: 0.3, blur: 0.5, noise: 0.5, erasing: 0.5 };
  expect(pictures(all, 7)).toEqual(pictures(all, 7, [3, 5]));
  expect(pictures(all, 7)).not.toEqual(pictures(all, 3));
});

test("blur makes every picture smoother, and noise every one rougher", () => {
  const sharp = roughness(pictures({}));
  for (const [picture, value] of roughness(pictures({ blur: 1 })).entries()) expect(value).toBeLessThan(0.95 * (sharp[picture] as number));
  for (const [picture, value] of roughness(pictures({ noise: 1 })).entries()) expect(value).toBeGreaterThan(sharp[picture] as number);
});

test("crops of pictures twice as high as wide keep the shape of what the service cuts, and come from everywhere", async () => {
  const tall = await makeColourRepository({ counts: { red: 30, blue: 30 }, prepare: { width: 50, height: 100 } });
  onTestFinished(async () => await tall.remove());
  const { cwd } = tall;
  // A picture whose colour says how far down it is: its crop then tells how much of the height it took.
  const ramp: Shards = {
    ...(await openShards(join(cwd, "data", "processed"))),
    readRow: (_split, _index, target, offset) => {
      for (let k = 0; k < 50 * 100 * 3; k++) target[offset + k] = Math.floor(k / 150) * 2;
    },
  };
  const maker = new BatchMaker(ramp, 42, side, plain);
  const batch: Batch = { images: new Uint8Array(64 * bytes), targets: new Float32Array(128), classIndex: new Uint16Array(64) };
  maker.make(batch, epochOrder(42, 0, ramp.splits.train.count), 0, 0);
  ramp.close();
  const rows = Array.from(
    { length: 64 },
    (_, k) => [batch.images[k * bytes] as number, batch.images[(k + 1) * bytes - 1] as number] as const,
  );
  const heights = rows.map(([top, bottom]) => (bottom - top) / 2);
  expect(Math.min(...heights)).toBeGreaterThan(40);
  expect(Math.max(...heights)).toBeLessThan(60);
  expect(Math.min(...rows.map(([top]) => top))).toBeLessThan(20);
  expect(Math.max(...rows.map(([, bottom]) => bottom))).toBeGreaterThan(180);
});

test("mixup with the smallest alpha gives each picture of a pair to one of them whole", () => {
  const mixed = pictures({ mixup: 1e-12, mixProbability: 1 });
  const whole = pictures({});
  for (let i = 0; i < 8; i++) {
    const at = (images: Uint8Array, k: number): Buffer => Buffer.from(images.subarray(k * bytes, (k + 1) * bytes));
    expect([at(whole, i), at(whole, 15 - i)].some((one) => one.equals(at(mixed, i)))).toBe(true);
  }
});

test.each([{ blur: 0.5 }, { noise: 0.5 }])("as many pictures are altered as %o says, and the others not at all", (changes) => {
  // The first picture of a batch is cropped and mirrored by the same random numbers with and without.
  const first = (options: Partial<Augmentation>, step: number): Uint8Array => pictures(options, step, [], 1);
  const steps = Array.from({ length: 160 }, (_, step) => step);
  const altered = steps.filter((step) => !Buffer.from(first(changes, step)).equals(first({}, step)));
  // Four standard deviations of 160 throws of a coin.
  expect(Math.abs(altered.length - 80)).toBeLessThan(26);
});

test("a thread of batches that ends without a word fails the training, instead of keeping it waiting", async () => {
  const workers: Worker[] = [];
  const remember = (worker: Worker): void => void workers.push(worker);
  process.on("worker", remember);
  onTestFinished(() => void process.off("worker", remember));
  const source = new BatchSource({
    shardsDir: join(repository.cwd, "data", "processed"),
    config: { ...defaultParams().train, seed: 42 },
    batchSize: 4,
    classes: 2,
    stepsPerEpoch: 100,
    sizes: [side],
    firstStep: 0,
  });
  const batch: Batch = { images: new Uint8Array(4 * bytes), targets: new Float32Array(8), classIndex: new Uint16Array(4) };
  await source.next(batch);
  const [worker] = workers as [Worker];
  const ended = once(worker, "exit");
  await worker.terminate();
  await ended.catch(() => undefined);
  const rest = async (): Promise<void> => {
    // Some were made ahead.
    for (let step = 1; step < 100; step++) await source.next(batch);
  };
  await expect(rest()).rejects.toMatchObject({ code: "E_INTERNAL", message: "The thread that makes batches ended with code 1." });
  await source.close();
});
