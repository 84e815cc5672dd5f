import { join, resolve } from "node:path";
import { loadParams, paramsFile } from "../config/params.ts";
import { exists } from "../model/replace-folder.ts";
import { trainedModelDir } from "../model/resolve-model.ts";
import type { TrackingClient } from "../tracking/client/tracking-client.ts";
import { describeImport, importData } from "./commands/data/data.ts";
import { describeEvaluation, evaluateModel } from "./commands/model/evaluate.ts";
import { initProject, isRemote } from "./commands/project/init.ts";
import { describePrepare, prepareData } from "./commands/data/prepare.ts";
import { describeTraining, trainModel } from "./commands/model/train.ts";
import { formatDuration, type Output } from "./output.ts";

export interface OwnModelOptions {
  /** The working folder: params.yaml is written here where there is none. */
  readonly cwd: string;
  /** A folder with one folder for each class, a zip of it, or a URL; a path relative to `cwd`. */
  readonly data: string;
  readonly stateDir: string;
  readonly tracking: TrackingClient | undefined;
}

const steps = 5;

/** Goes the whole way from labelled images to an evaluated model, and shows each step. Returns the folder of the bundle. */
export async function buildOwnModel(options: OwnModelOptions, output: Output, signal: AbortSignal): Promise<string> {
  const { cwd, data, stateDir, tracking } = options;
  const startedAt = performance.now();
  let step = 0;
  const announce = (what: string): void => {
    output.line(`${step === 0 ? "" : "\n"}[${++step}/${steps}] ${what}`);
    signal.throwIfAborted();
  };
  announce(`Settings: ${paramsFile}`);
  if (await exists(join(cwd, paramsFile))) output.line(`${paramsFile} is there and stays as it is.`);
  else {
    const { created } = await initProject({ dir: cwd, images: isRemote(data) ? data : resolve(cwd, data) });
    output.line(`Wrote ${created.join(", ")}.`);
  }
  const params = await loadParams(cwd);
  announce(`Import: serval data import ${data}`);
  output.line(describeImport(await importData({ cwd, source: data, stateDir }, output, signal), "data/raw"));
  announce("Prepare: serval prepare");
  output.line(describePrepare(await prepareData({ cwd, params }, output, signal)));
  announce("Train: serval train");
  output.line(describeTraining(await trainModel({ cwd, params, stateDir, tracking }, output, signal)));
  announce("Evaluate: serval evaluate");
  output.line(describeEvaluation(await evaluateModel({ cwd, stateDir }, output, signal)));
  output.line(
    `\nFrom images to a model in ${formatDuration((performance.now() - startedAt) / 1000)}. \`serval models release\` keeps it as a release.`,
  );
  return join(cwd, trainedModelDir);
}
