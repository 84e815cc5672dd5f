import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadBackbone, type LoadedBackbone } from "../../../src/backbones/load-backbone.ts";
import { parseParams } from "../../../src/config/params.ts";
import type { Shards } from "../../../src/data/shards.ts";
import { chooseStrategy } from "../../../src/workflows/model/choose-strategy.ts";

const root = join(import.meta.dirname, "../../..");
const { train } = parseParams("", ["train.backbone=efficientnet-lite0", "train.strategy=auto"]);
const shipped = await loadBackbone("efficientnet-lite0", root);
const foreign = { ...shipped, kind: "onnx" } as unknown as LoadedBackbone;

function pictures(count: number): Pick<Shards, "splits"> {
  return { splits: { train: { count } } } as Pick<Shards, "splits">;
}

test("auto fits a classifier to few pictures, fine-tunes with many, and says why", () => {
  expect(chooseStrategy(train, shipped, pictures(999))).toEqual({
    strategy: "head",
    reason: "Strategy head: with 999 training images, fine-tuning would gain little; from 1,000 on it does.",
  });
  expect(chooseStrategy(train, shipped, pictures(1000))).toEqual({
    strategy: "finetune",
    reason: "Strategy finetune: 1,000 training images are enough for it. `--set train.strategy=head` takes seconds instead.",
  });
});

test("the number of pictures that auto asks for is the one in the documentation", async () => {
  const page = (await readFile(join(root, "docs/fine-tuning.md"), "utf8")).replaceAll(/\s+/g, " ");
  expect(page).toContain("`auto` fine-tunes from 1,000 training images on");
});

test("an ONNX file as backbone: auto fits a classifier, finetune is refused with the way out", () => {
  expect(chooseStrategy(train, foreign, pictures(5000))).toEqual({
    strategy: "head",
    reason: "Strategy head: the backbone efficientnet-lite0 is an ONNX file, whose layers cannot be trained.",
  });
  expect(() => chooseStrategy({ ...train, strategy: "finetune" }, foreign, pictures(5000))).toThrow(
    "train.strategy: finetune cannot train the layers of the backbone efficientnet-lite0, because it is an ONNX file.",
  );
});

test("what is named is taken; without a backbone that is training from scratch", () => {
  expect(chooseStrategy({ ...train, strategy: "finetune" }, shipped, pictures(10))).toEqual({ strategy: "finetune" });
  expect(chooseStrategy(parseParams("", ["train.backbone=efficientnet-lite0"]).train, shipped, pictures(5000))).toEqual({
    strategy: "head",
  });
  expect(chooseStrategy(parseParams("").train, undefined, pictures(5000))).toEqual({ strategy: "scratch" });
});
