import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseParams, type Params } from "../../src/config/params.ts";
import { parseSafetensors, safetensorNumbers } from "../../src/model/safetensors.ts";
import { importData } from "../../src/workflows/data/import-data.ts";
import { prepareData } from "../../src/workflows/data/prepare-data.ts";
import { trainModel, type TrainReport } from "../../src/workflows/model/train-model.ts";
import { writePatternSet } from "./pattern-set.ts";

/** Fine-tuning of the pictures of a `HeadProject` of 32 pixels, in a few steps. */
export const quickFineTuning: readonly string[] = [
  "train.strategy=finetune",
  "train.sizes=[32]",
  "train.epochs=2",
  "train.batchSize=8",
  "train.warmupEpochs=0.5",
];

export type Weights = Readonly<Record<string, Float32Array>>;

/** A working folder with drawn patterns, imported and prepared, for classifiers on a backbone. */
export interface HeadProject {
  readonly cwd: string;
  /** `sets` as after --set. */
  params(backbone: string, sets?: readonly string[]): Params;
  /** Brings data/raw and data/processed up to date with patterns/. */
  prepare(): Promise<void>;
  train(backbone: string, stateDir?: string): Promise<TrainReport>;
  /** Of the bundle that the latest training wrote. */
  trainedWeights(role: "best" | "final"): Promise<Weights>;
  remove(): Promise<void>;
}

export async function makeHeadProject(side: number, patterns?: readonly string[]): Promise<HeadProject> {
  const cwd = await mkdtemp(join(tmpdir(), "serval-head-"));
  const params = (backbone: string, sets: readonly string[] = []): Params =>
    parseParams(
      `data:\n  source: patterns\nprepare:\n  width: ${side}\n  height: ${side}\ntrain:\n  backbone: ${backbone}\n  cropSize: ${side}\n  threads: 1\nmodel:\n  name: patterns\n`,
      sets,
    );
  const project: HeadProject = {
    cwd,
    params,
    async prepare() {
      await importData({ cwd, source: "patterns" });
      await prepareData({ cwd, params: params("none") });
    },
    async train(backbone, stateDir) {
      return await trainModel({ cwd, params: params(backbone), stateDir, tracking: null });
    },
    async trainedWeights(role) {
      const { tensors } = parseSafetensors(await readFile(join(cwd, "artifacts", role, "weights.safetensors")));
      return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, safetensorNumbers(name, tensor)]));
    },
    remove: async () => await rm(cwd, { recursive: true, force: true }),
  };
  await writePatternSet(join(cwd, "patterns"), patterns);
  await project.prepare();
  return project;
}
