import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openShards, type Shards } from "../../../src/data/shards.ts";
import { BatchMaker, epochOrder, type Augmentation, type Batch } from "../../../src/train/batches.ts";
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

test.each([{ blur: 0.5 }, { noise: 0.5 }])("as many pictures are altered as %o says, and the others not at all", (changes) => {
  // The first picture of a batch is cropped and mirrored by the same random numbers with and without.
  const first = (options: Partial<Augmentation>, step: number): Uint8Array => pictures(options, step, [], 1);
  const steps = Array.from({ length: 160 }, (_, step) => step);
  const altered = steps.filter((step) => !Buffer.from(first(changes, step)).equals(first({}, step)));
  // Four standard deviations of 160 throws of a coin.
  expect(Math.abs(altered.length - 80)).toBeLessThan(26);
});
