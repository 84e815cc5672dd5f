import { join, resolve } from "node:path";
import { loadParams } from "../../config/params.ts";
import type { IngestReport } from "../../data/ingest.ts";
import type { PrepareReport } from "../../data/prepare.ts";
import { exists } from "../../model/replace-folder.ts";
import { paramsFile, trainedModelDir } from "../../paths.ts";
import type { TrackingClient } from "../../tracking/client/tracking-client.ts";
import { importData } from "../data/import-data.ts";
import { prepareData } from "../data/prepare-data.ts";
import { evaluateModel, type EvaluateReport } from "../model/evaluate-model.ts";
import { trainModel, type TrainReport } from "../model/train-model.ts";
import type { UseCaseOptions } from "../reporter.ts";
import { initProject, isRemote } from "./init-project.ts";

export interface OwnModelOptions extends UseCaseOptions {
  /** A folder with one folder for each class, a zip of it, or a URL; a path relative to `cwd`. */
  readonly data: string;
  /** Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
  /** As in `trainModel`. */
  readonly tracking?: TrackingClient | null | undefined;
  /** Told when a step begins, and what came out of it. */
  readonly onStep?: ((event: OwnModelEvent) => void) | undefined;
}

export type OwnModelEvent =
  /** Steps count from 1. */
  | { readonly type: "begin"; readonly step: number; readonly steps: number; readonly what: string }
  /** The files that were written; none where params.yaml was there. */
  | { readonly type: "settings"; readonly created: readonly string[] }
  | { readonly type: "import"; readonly report: IngestReport }
  | { readonly type: "prepare"; readonly report: PrepareReport }
  | { readonly type: "train"; readonly report: TrainReport }
  | { readonly type: "evaluate"; readonly report: EvaluateReport };

export interface OwnModel {
  /** Folder of the bundle. */
  readonly dir: string;
  readonly seconds: number;
}

const steps = 5;

/** The whole way from labelled images to an evaluated model, with a params.yaml where there is none. */
export async function buildOwnModel(options: OwnModelOptions): Promise<OwnModel> {
  const { cwd, data, stateDir, tracking, onStep = () => undefined, reporter, signal } = options;
  const shared = { cwd, stateDir, reporter, signal };
  const startedAt = performance.now();
  let step = 0;
  const begin = (what: string): void => {
    signal?.throwIfAborted();
    onStep({ type: "begin", step: ++step, steps, what });
  };
  begin(`Settings: ${paramsFile}`);
  const isSetUp = await exists(join(cwd, paramsFile));
  const { created } = isSetUp ? { created: [] } : await initProject({ dir: cwd, images: isRemote(data) ? data : resolve(cwd, data) });
  onStep({ type: "settings", created });
  const params = await loadParams(cwd);
  begin(`Import: serval data import ${data}`);
  onStep({ type: "import", report: await importData({ ...shared, source: data }) });
  begin("Prepare: serval prepare");
  onStep({ type: "prepare", report: await prepareData({ cwd, params, reporter, signal }) });
  begin("Train: serval train");
  onStep({ type: "train", report: await trainModel({ ...shared, params, tracking }) });
  begin("Evaluate: serval evaluate");
  onStep({ type: "evaluate", report: await evaluateModel(shared) });
  return { dir: join(cwd, trainedModelDir), seconds: (performance.now() - startedAt) / 1000 };
}
