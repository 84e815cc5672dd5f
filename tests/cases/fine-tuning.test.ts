import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadBundle } from "../../src/model/bundle.ts";
import { efficientNetLite0 } from "../../src/nn/architectures/efficientnet-lite0.ts";
import { addBackbone } from "../../src/workflows/model/add-backbone.ts";
import { findRate } from "../../src/workflows/model/find-rate.ts";
import { trainModel, type TrainModelOptions, type TrainReport } from "../../src/workflows/model/train-model.ts";
import { makeHeadProject, quickFineTuning, type HeadProject, type Weights } from "../helpers/head-project.ts";
import { writePatternSet } from "../helpers/pattern-set.ts";

const side = 32;
const backbone = "efficientnet-lite0";

let project: HeadProject;
beforeAll(async () => {
  project = await makeHeadProject(side, ["checks", "rows"]);
});
afterAll(async () => await project.remove());

async function train(sets: readonly string[], options: Partial<TrainModelOptions> = {}): Promise<TrainReport> {
  return await trainModel({ cwd: project.cwd, params: project.params(backbone, sets), tracking: null, ...options });
}

/** How far the weights of a layer went, as a share of what they were. */
function distance(before: Weights, after: Weights, prefixes: readonly string[]): number {
  let [moved, length] = [0, 0];
  for (const [name, data] of Object.entries(before)) {
    if (!prefixes.some((prefix) => name.startsWith(prefix)) || !name.endsWith(".weight")) continue;
    data.forEach((value, k) => {
      moved += ((after[name]?.[k] as number) - value) ** 2;
      length += value ** 2;
    });
  }
  return Math.sqrt(moved / length);
}

describe("fine-tuning", () => {
  test("begins with the classifier on features and changes early layers less than late ones; running statistics stay", async () => {
    await train(["train.strategy=head"]);
    const head = await project.trainedWeights("best");
    const report = await train([...quickFineTuning, "train.layerDecay=0.5", "train.emaDecay=0"]);
    expect(report.strategy).toBe("finetune");
    const tuned = await project.trainedWeights("final");
    const [first, ...others] = efficientNetLite0.layerGroups;
    const last = others.at(-1) as readonly string[];
    const [early, late] = [distance(head, tuned, first as readonly string[]), distance(head, tuned, last)];
    expect(early).toBeGreaterThan(0);
    expect(late).toBeGreaterThan(3 * early);
    // A classifier drawn at random would be nowhere near the one that was fitted.
    expect(distance(head, tuned, ["fc."])).toBeLessThan(0.1);
    const statistics = Object.keys(head).filter((name) => name.includes("running_"));
    expect(statistics.length).toBeGreaterThan(90);
    for (const name of statistics) expect(tuned[name]).toEqual(head[name]);
    const { manifest } = await loadBundle(join(project.cwd, "artifacts/best"));
    expect(manifest.backbone).toMatchObject({ name: backbone, strategy: "finetune" });
  });

  test("exports the average that is best on the validation split, and says how much of it is fine-tuned", async () => {
    const { averages, best } = await train(quickFineTuning);
    const tried = averages?.tried ?? [];
    expect(tried.map(({ share }) => share)).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(averages?.chosen.accuracy).toBe(Math.max(...tried.map(({ accuracy }) => accuracy)));
    expect(best.accuracy).toBeCloseTo(averages?.chosen.accuracy as number, 6);
    const card = await readFile(join(project.cwd, best.dir, "README.md"), "utf8");
    expect(card).toContain("then all layers were fine-tuned");
  });

  test("is the classifier alone where fine-tuning only did harm", async () => {
    const before = await train(["train.strategy=head"]);
    const { averages, best } = await train([...quickFineTuning, "train.learningRate=0.01", "train.warmupEpochs=0", "train.emaDecay=0"]);
    expect(averages?.tried.at(-1)?.accuracy).toBeLessThan(before.best.accuracy);
    expect(averages?.chosen.share).toBe(0);
    expect(best.loss).toBeCloseTo(before.best.loss, 6);
  });

  test("takes batches of one picture, because it never measures the statistics of a batch", async () => {
    const { best } = await train([...quickFineTuning, "train.batchSize=1", "train.epochs=1"]);
    expect(best.accuracy).toBeGreaterThan(0.5);
  });

  test("follows a run that only fitted a classifier: it takes the features that are there", async () => {
    const stateDir = "state-follow";
    await train(["train.strategy=head"], { stateDir });
    const folder = join(project.cwd, stateDir, "features");
    const written = async (): Promise<number[]> =>
      await Promise.all((await readdir(folder)).sort().map(async (name) => (await stat(join(folder, name))).mtimeMs));
    const before = await written();
    await train([...quickFineTuning, "train.epochs=1"], { stateDir });
    expect(await written()).toEqual(before);
    // To resume the run itself as something else would mix two trainings.
    await expect(train(["train.strategy=head"], { stateDir, resume: true })).rejects.toMatchObject({
      code: "E_RESUME_MISMATCH",
      message: expect.stringContaining("train.strategy is finetune there and head here") as string,
    });
  });

  test("has no use for a range test, and says what to try instead", async () => {
    await expect(findRate({ cwd: project.cwd, params: project.params(backbone, quickFineTuning) })).rejects.toMatchObject({
      code: "E_PARAMS",
      message: "--find-lr: fine-tuning begins where the loss is low, so the loss would not fall at any rate.",
    });
  });

  test("refuses a size in train.sizes that the strides of the backbone do not divide", async () => {
    await expect(train([...quickFineTuning, "train.sizes=[16]"])).rejects.toMatchObject({
      code: "E_PARAMS",
      message: "train.sizes: got 16; expected a multiple of 32, because the network halves the maps so often.",
    });
  });

  test("a label is added to a fine-tuned model by taking its backbone", async () => {
    await train([...quickFineTuning, "train.epochs=1"]);
    await addBackbone({ cwd: project.cwd, source: "artifacts/best", name: "patterns-two" });
    await writePatternSet(join(project.cwd, "patterns"), ["disc"]);
    await project.prepare();
    const params = project.params("patterns-two", [...quickFineTuning, "train.epochs=1"]);
    const { best } = await trainModel({ cwd: project.cwd, params, tracking: null });
    const { manifest } = await loadBundle(join(project.cwd, best.dir));
    expect(manifest.labels).toEqual(["checks", "disc", "rows"]);
    expect(manifest.backbone).toMatchObject({ name: "patterns-two", strategy: "finetune" });
    expect(best.accuracy).toBeGreaterThan(0.5);
  });
});
