import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importData } from "../../src/cli/commands/data/data.ts";
import { prepareData } from "../../src/cli/commands/data/prepare.ts";
import { trainModel, type TrainReport } from "../../src/cli/commands/model/train.ts";
import { parseParams, type Params } from "../../src/config/params.ts";
import { writePatternSet } from "./pattern-set.ts";
import { recordedContext } from "./recorded-output.ts";

/** A working folder with drawn patterns, imported and prepared, for classifiers on a backbone. */
export interface HeadProject {
  readonly cwd: string;
  params(backbone: string): Params;
  /** Brings data/raw and data/processed up to date with patterns/. */
  prepare(): Promise<void>;
  train(backbone: string, stateDir?: string): Promise<TrainReport>;
  remove(): Promise<void>;
}

export async function makeHeadProject(side: number, patterns?: readonly string[]): Promise<HeadProject> {
  const cwd = await mkdtemp(join(tmpdir(), "serval-head-"));
  const output = recordedContext(cwd).output();
  const params = (backbone: string): Params =>
    parseParams(
      `data:\n  source: patterns\nprepare:\n  width: ${side}\n  height: ${side}\ntrain:\n  backbone: ${backbone}\n  cropSize: ${side}\n  threads: 1\nmodel:\n  name: patterns\n`,
    );
  const project: HeadProject = {
    cwd,
    params,
    async prepare() {
      await importData({ cwd, source: "patterns" }, output);
      await prepareData({ cwd, params: params("none"), force: false }, output);
    },
    async train(backbone, stateDir) {
      return await trainModel({ cwd, params: params(backbone), stateDir }, output, new AbortController().signal);
    },
    remove: async () => await rm(cwd, { recursive: true, force: true }),
  };
  await writePatternSet(join(cwd, "patterns"), patterns);
  await project.prepare();
  return project;
}
