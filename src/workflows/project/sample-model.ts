import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { stateDirectory, trackingUri } from "../../config/env.ts";
import { paramsHash, parseParams, type Params } from "../../config/params.ts";
import { readManifest } from "../../data/manifest.ts";
import { defaultStateDir, rawDir, trainedModelDir } from "../../paths.ts";
import { percent } from "../../text.ts";
import type { TrackingClient } from "../../tracking/client/tracking-client.ts";
import { loadBundle } from "../../model/bundle.ts";
import { importData } from "../data/import-data.ts";
import { prepareData } from "../data/prepare-data.ts";
import { formatDuration } from "../format-duration.ts";
import { evaluateModel } from "../model/evaluate-model.ts";
import { trainModel } from "../model/train-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { openTracking } from "../tracking-connection.ts";

export interface SampleModelOptions extends UseCaseOptions {
  /** The sample lies in its sample/. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
  /** As in `trainModel`. */
  readonly tracking?: TrackingClient | null | undefined;
}

/** Small enough for a minute on two cores; with so few steps AdamW comes further than SGD. */
const sampleSettings = [
  "data.source=sample",
  "prepare.width=56",
  "prepare.height=56",
  "train.cropSize=48",
  "train.sizes=[48]",
  "train.channels=[16, 32, 64, 128]",
  "train.epochs=16",
  "train.batchSize=16",
  "train.optimizer=adamw",
  "train.learningRate=0.003",
  "train.dropout=0",
  "model.name=drawn-sample",
];

const notice = "Trained on drawings made by code, for a first look and for tests: its figures say nothing about photographs.";

/**
 * Draws, prepares, trains and evaluates in the folder `sample` of the state folder, and nowhere else: nothing of the user's is
 * touched. Returns the bundle's folder; what is done is not done again.
 */
export async function makeSampleModel(options: SampleModelOptions): Promise<string> {
  const { cwd, stateDir = stateDirectory(), tracking, reporter = silentReporter, signal } = options;
  const startedAt = performance.now();
  const sampleDir = join(stateDir, "sample");
  const dir = resolve(cwd, sampleDir);
  await mkdir(dir, { recursive: true });
  const params = parseParams("", sampleSettings);
  // A separate project in every way: its runs and journals lie in it as well.
  const inSample = { cwd: dir, stateDir: defaultStateDir, reporter, signal };
  const imported = await importData({ ...inSample, source: "sample" });
  reporter.line(
    `Sample: ${Object.entries(imported.counts)
      .map(([label, count]) => `${count} drawings of a ${label}`)
      .join(", ")} in ${join(sampleDir, rawDir)}`,
  );
  await prepareData({ cwd: dir, params, reporter, signal });
  if (await isTrained(dir, params)) {
    reporter.line(`The model that was trained on it before is in ${join(sampleDir, trainedModelDir)}.`);
    return join(dir, trainedModelDir);
  }
  const usual = { mlflowTrackingUri: trackingUri(), stateDir };
  const client = tracking === undefined ? await openTracking(cwd, usual, reporter) : tracking;
  await trainModel({ ...inSample, params, notice, tracking: client });
  const { metrics } = await evaluateModel({ ...inSample, recordLook: false });
  const seconds = (performance.now() - startedAt) / 1000;
  reporter.line(
    `Drawn sample: ${percent(metrics.accuracy)} of ${metrics.count} held-out drawings classified correctly, after ${formatDuration(seconds)} in all. It is a drawing: this says nothing about photographs.`,
  );
  return join(dir, trainedModelDir);
}

async function isTrained(dir: string, params: Params): Promise<boolean> {
  const bundle = await loadBundle(join(dir, trainedModelDir)).catch(() => undefined);
  const { dataVersion } = await readManifest(join(dir, rawDir));
  return bundle?.manifest.paramsHash === paramsHash(params) && bundle.manifest.dataVersion === dataVersion;
}
