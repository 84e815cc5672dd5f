import { copyFile, mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere, writeFileAtomic } from "../../files.ts";
import { loadBundle } from "../../model/bundle.ts";
import { exists } from "../../model/replace-folder.ts";
import { evaluationDir, releasedModelsDir, trainedModelDir } from "../../paths.ts";
import { loadDvcConfig } from "../../pipeline/dvc-files/dvc-config.ts";
import { readAtCommit } from "../../pipeline/dvc-files/git.ts";
import type { StageEvent } from "../../pipeline/run/reproduce.ts";
import { compareModels, reasonAgainst, type Comparison } from "../../registry/compare.ts";
import { pairPredictions, readPredictions, type Prediction } from "../../registry/predictions.ts";
import { evaluateModel } from "../model/evaluate-model.ts";
import { compareMetrics, compareParams } from "../pipeline/compare-versions.ts";
import { findPullFailure, pullData } from "../pipeline/pull-data.ts";
import { pushData } from "../pipeline/push-data.ts";
import { reproducePipeline } from "../pipeline/reproduce-pipeline.ts";
import { answersToValidation, readPrepared } from "../registry/compared-answers.ts";
import { releaseModel } from "../registry/release-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { renderRetrainReport, type RetrainVerdict } from "./retrain-report.ts";

export interface RetrainModelOptions extends UseCaseOptions {
  /** Folder for the report, relative to `cwd`; emptied first. Default: reports/retrain. */
  readonly out?: string | undefined;
  readonly onStageEvent?: ((event: StageEvent) => void) | undefined;
}

export interface RetrainReport {
  readonly verdict: RetrainVerdict;
  /** report.md: verdict, metrics and parameters against the last commit. */
  readonly text: string;
}

export const retrainReportDir: string = join("reports", "retrain");
const pictures = ["confusion-matrix.png", "roc.png", "reliability.png", "curves.png"];
const lockFile = "dvc.lock";

/**
 * Brings the model up to date with the data and the parameters, and compares it with the released one on the same validation
 * images: pulls (where .dvc/config names a remote), runs what is due, evaluates the released model, releases the new one where
 * it is good enough, and pushes. How both did on the test split is in the report, and decides nothing. Writes report.md, its pictures and verdict.json; null, and no folder, where nothing was due. Throws
 * what any of these steps throws: only a released model that knows other data or labels is a verdict, which people look at.
 */
export async function retrainModel(options: RetrainModelOptions): Promise<RetrainReport | null> {
  const { cwd, reporter = silentReporter, signal, onStageEvent } = options;
  const shared = { cwd, reporter, signal };
  const out = resolve(cwd, options.out ?? retrainReportDir);
  await rm(out, { recursive: true, force: true });
  const hasRemote = (await loadDvcConfig(cwd)).remotes.size > 0;
  if (hasRemote) await pullWhatIsThere(shared);
  // The committed one: a run that failed later on left its lock in the workspace.
  const before = (await readAtCommit(cwd, "HEAD", lockFile)) ?? "";
  await reproducePipeline({ ...shared, outputToStderr: true, onEvent: onStageEvent });
  if (((await readIfThere(join(cwd, lockFile))) ?? "") === before) return null;
  const metrics = (await compareMetrics(shared)).changes;
  const params = (await compareParams(shared)).changes;
  const verdict = await compareWithReleased(shared);
  if (verdict.released) await releaseModel(shared);
  if (hasRemote) await pushData(shared);
  await mkdir(out, { recursive: true });
  const drawn: string[] = [];
  for (const name of pictures) if (await exists(join(cwd, evaluationDir, name))) drawn.push(name);
  for (const name of drawn) await copyFile(join(cwd, evaluationDir, name), join(out, name));
  const text = renderRetrainReport(verdict, { metrics, params, pictures: drawn });
  await writeFileAtomic(join(out, "report.md"), text);
  await writeFileAtomic(join(out, "verdict.json"), `${JSON.stringify(verdict, null, 2)}\n`);
  return { verdict, text };
}

/** What the remote lacks is made by the stages. */
async function pullWhatIsThere(options: UseCaseOptions): Promise<void> {
  const failure = findPullFailure(await pullData(options));
  if (failure && failure.code !== "E_REMOTE_MISSING") throw failure;
}

/** The new model against the released one on the data as it is now: the validation split decides, the test split is reported. */
async function compareWithReleased(options: UseCaseOptions): Promise<RetrainVerdict> {
  const { cwd } = options;
  const { name: model } = (await loadBundle(join(cwd, trainedModelDir))).manifest;
  const champion = join(cwd, releasedModelsDir, model);
  const uncompared = { model, comparison: null, test: null, remarks: [] };
  if (!(await exists(join(champion, "bundle.json")))) {
    return { ...uncompared, released: true, reason: "It is the first model: there is no other to compare it with." };
  }
  try {
    const prepared = await readPrepared(cwd);
    const shared = { ...options, stateDir: stateDirectory() };
    const old = await answersToValidation({ dir: champion, called: "The released model" }, prepared, shared);
    const now = await answersToValidation({ dir: join(cwd, trainedModelDir), called: "The new model" }, prepared, shared);
    const comparison = compareModels(pairPredictions(old.predictions, now.predictions));
    const test = await compareOnTest(options, champion);
    const against = reasonAgainst(comparison);
    return {
      model,
      released: against === undefined,
      reason:
        against === undefined
          ? "On the validation split it is as good as the released one or better."
          : `The released one stays: on the validation split, of the new one ${against}.`,
      comparison,
      test,
      remarks: [old, now].flatMap(({ remark }) => remark ?? []),
    };
  } catch (error) {
    // The data has changed since: people decide then.
    if (!(error instanceof ServalError) || error.code !== "E_MODEL_DATA") throw error;
    return { ...uncompared, released: false, reason: `It was not compared with the released one: ${error.code}: ${error.message}` };
  }
}

/** For the report: the pipeline evaluated the new model on the test split. */
async function compareOnTest(options: UseCaseOptions, champion: string): Promise<Comparison> {
  const { cwd } = options;
  const championDir = join(stateDirectory(), "evaluations", "champion");
  await evaluateModel({ ...options, model: champion, out: championDir });
  const read = async (dir: string): Promise<Prediction[]> => await readPredictions(resolve(cwd, dir, "predictions.jsonl"));
  return compareModels(pairPredictions(await read(championDir), await read(evaluationDir)));
}
