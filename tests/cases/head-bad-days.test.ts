import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addBackbone } from "../../src/workflows/model/add-backbone.ts";
import { trainModel } from "../../src/workflows/model/train-model.ts";
import { loadBundle } from "../../src/model/bundle.ts";
import { makeHeadProject, type HeadProject } from "../helpers/head-project.ts";
import { foreignFile } from "../helpers/onnx-backbone.ts";
import { writePatternSet } from "../helpers/pattern-set.ts";

const side = 32;
const shipped = "efficientnet-lite0";

let project: HeadProject;
beforeAll(async () => {
  project = await makeHeadProject(side, ["checks", "rows"]);
  await addSmall("first", [0.5, 0.5, 0.5]);
  await addSmall("second", [0.1, 0.2, 0.3]);
});
afterAll(async () => await project.remove());

const featuresDir = (stateDir = ".serval"): string => join(project.cwd, stateDir, "features");
const featureFiles = async (stateDir?: string): Promise<string[]> =>
  (await readdir(featuresDir(stateDir))).filter((name) => name.endsWith(".f32")).sort();

async function bundleDigest(): Promise<string> {
  return (await loadBundle(join(project.cwd, "artifacts/best"))).digest;
}

async function trainedDigest(backbone: string, stateDir?: string): Promise<string> {
  await project.train(backbone, stateDir);
  return await bundleDigest();
}

/** A state folder without any cache. */
let states = 0;
const freshState = (): string => `state-${states++}`;

async function addSmall(name: string, mean: readonly number[]): Promise<void> {
  const { cwd } = project;
  const file = `${name}.onnx`;
  await writeFile(join(cwd, file), foreignFile({ kind: "vector", layout: "NCHW", side, channels: 8 }));
  await addBackbone({ cwd, source: file, stateDir: ".serval", mean, std: [0.5, 0.5, 0.5] });
}

describe("a cache of features", () => {
  test("is used again as it is, and computed again where a byte of it changed", async () => {
    const digest = await trainedDigest("first");
    const files = await featureFiles();
    expect(files).toHaveLength(2);
    const written = async (): Promise<number[]> =>
      await Promise.all(files.map(async (file) => (await stat(join(featuresDir(), file))).mtimeMs));
    const before = await written();
    expect(await trainedDigest("first")).toBe(digest);
    expect(await written()).toEqual(before);
    for (const file of files) {
      const path = join(featuresDir(), file);
      const bytes = await readFile(path);
      bytes[bytes.length >> 1]! ^= 0x40;
      await writeFile(path, bytes);
    }
    expect(await trainedDigest("first")).toBe(digest);
    expect((await written()).every((time, k) => time > before[k]!)).toBe(true);
  });

  test("of the same backbone with other colours is not used", async () => {
    const state = freshState();
    const first = await trainedDigest("first", state);
    const files = await featureFiles(state);
    const second = await trainedDigest("second", state);
    expect(second).not.toBe(first);
    expect((await featureFiles(state)).filter((file) => !files.includes(file))).toHaveLength(2);
    // The same as where there was never another cache.
    expect(await trainedDigest("second", freshState())).toBe(second);
  });

  test("of the data before a label was added is not used: the new label is learnt", async () => {
    const state = freshState();
    const { cwd } = project;
    const old = await trainedDigest("first", state);
    await writePatternSet(join(cwd, "patterns"), ["disc"]);
    await project.prepare();
    const added = await trainedDigest("first", state);
    expect(added).not.toBe(old);
    expect((await loadBundle(join(cwd, "artifacts/best"))).manifest.labels).toEqual(["checks", "disc", "rows"]);
    expect(await featureFiles(state)).toHaveLength(4);
    expect(await trainedDigest("first", freshState())).toBe(added);
  });
});

test("a record that says another number of features than the backbone makes is refused", async () => {
  const path = join(project.cwd, "models/backbones/first/backbone.json");
  const text = await readFile(path, "utf8");
  await writeFile(path, text.replace('"channels": 8', '"channels": 16'));
  await expect(project.train("first", freshState())).rejects.toMatchObject({
    code: "E_BACKBONE_CORRUPT",
    message: "The backbone first makes 8 features of a picture; its backbone.json says 16.",
  });
  await writeFile(path, text);
});

describe("pictures that do not fit the backbone", () => {
  test.each([16, 24])("of %i pixels, smaller than its stride: the message names the multiple", async (cropSize) => {
    const params = project.params(shipped);
    const small = { ...params, train: { ...params.train, cropSize } };
    await expect(trainModel({ cwd: project.cwd, params: small, tracking: null })).rejects.toMatchObject({
      code: "E_PARAMS",
      message: `train.cropSize: the backbone efficientnet-lite0 takes pictures with sides that are a multiple of 32 (it was trained with 224); got ${cropSize}.`,
    });
  });

  test("in shards that are smaller than the crop: the hint names the command", async () => {
    const params = project.params(shipped);
    const large = { ...params, train: { ...params.train, cropSize: 64 } };
    await expect(trainModel({ cwd: project.cwd, params: large, tracking: null })).rejects.toMatchObject({
      code: "E_PARAMS",
      hint: "Set prepare.width and prepare.height to 64 in params.yaml, and run `serval prepare`.",
    });
  });
});
