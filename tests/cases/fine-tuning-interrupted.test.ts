import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { trainModel, type TrainModelOptions, type TrainReport } from "../../src/workflows/model/train-model.ts";
import { makeHeadProject, quickFineTuning, type HeadProject } from "../helpers/head-project.ts";

let project: HeadProject;
beforeAll(async () => {
  project = await makeHeadProject(32, ["checks", "rows"]);
});
afterAll(async () => await project.remove());

async function train(sets: readonly string[], options: Partial<TrainModelOptions> = {}): Promise<TrainReport> {
  return await trainModel({ cwd: project.cwd, params: project.params("efficientnet-lite0", sets), tracking: null, ...options });
}

describe("a fine-tuning", () => {
  test("killed at five steps and resumed, it ends with the same weights", { timeout: 180_000 }, async () => {
    const sets = [...quickFineTuning, "train.epochs=3"];
    await train(sets);
    const [best, final] = [await project.trainedWeights("best"), await project.trainedWeights("final")];
    for (let kill = 0; kill < 5; kill++) {
      const controller = new AbortController();
      const silent = { update: () => undefined, end: () => undefined };
      const reporter = {
        line: () => undefined,
        warn: () => undefined,
        // Stops at the first step that it hears of, and one or two more are done by then.
        progress: (label: string) => (label === "Training" ? { ...silent, update: () => controller.abort() } : silent),
      };
      const interrupted = train(sets, { resume: kill > 0, reporter, signal: controller.signal });
      await expect(interrupted).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    }
    await train(sets, { resume: true });
    expect(await project.trainedWeights("best")).toEqual(best);
    expect(await project.trainedWeights("final")).toEqual(final);
  });

  test("stops at a rate that is far too high, and says what to try", { timeout: 180_000 }, async () => {
    await expect(
      train([
        ...quickFineTuning,
        "train.batchSize=2",
        "train.epochs=4",
        "train.learningRate=10",
        "train.weightDecay=1",
        "train.warmupEpochs=0",
      ]),
    ).rejects.toMatchObject({
      code: "E_TRAIN_DIVERGED",
      hint: expect.stringContaining("train.learningRate") as string,
    });
  });
});
