import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { readShardIndex, type ShardIndex } from "../../data/shard-index.ts";
import { splitNames } from "../../data/split.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { sha256 } from "../../files.ts";
import { loadBundle, shortDigest, type Bundle } from "../../model/bundle.ts";
import { validationFile } from "../../model/manifest.ts";
import { exists } from "../../model/replace-folder.ts";
import { evaluationDir, shardsDir } from "../../paths.ts";
import { readPredictions, type Prediction } from "../../registry/predictions.ts";
import { thousands } from "../../text.ts";
import { evaluateModel } from "../model/evaluate-model.ts";
import { silentReporter, type Reporter, type UseCaseOptions } from "../reporter.ts";

/** One of the models that are compared. */
export interface ComparedModel {
  /** Folder of its bundle. */
  readonly dir: string;
  /** Such as "Version 2 of flowers". */
  readonly called: string;
}

export interface ComparisonOptions extends UseCaseOptions {
  readonly stateDir: string;
}

/** What a model says about the pictures of a comparison, and why they may not be as new to it as they should be. */
export interface Answers {
  readonly predictions: readonly Prediction[];
  readonly remark: string | null;
}

/** What was prepared here; null where nothing was. */
export async function readPrepared(cwd: string): Promise<ShardIndex | null> {
  try {
    return await readShardIndex(join(cwd, shardsDir));
  } catch (error) {
    if (error instanceof ServalError && error.code === "E_SHARDS_MISSING") return null;
    throw error;
  }
}

/**
 * What a model says about the validation pictures of the prepared data: as its training wrote it down, as an evaluation on this
 * machine did, or as one says that is made now. Without prepared data it is what its training wrote down. Throws
 * E_SHARDS_MISSING, and what `evaluateModel` throws.
 */
export async function answersToValidation(model: ComparedModel, prepared: ShardIndex | null, options: ComparisonOptions): Promise<Answers> {
  const { cwd, stateDir, reporter = silentReporter, signal } = options;
  const { dir, called } = model;
  const bundle = await loadBundle(dir);
  const own = await readOwnAnswers(bundle, called, reporter);
  if (own !== undefined && (prepared === null || areAbout(own, prepared))) return { predictions: own, remark: null };
  if (prepared === null) {
    throw new ServalError("E_SHARDS_MISSING", `${called} has no ${validationFile}, and there is no prepared data here to evaluate it on.`);
  }
  const remark = describeDoubt(bundle, called, own, prepared);
  const folder = join(stateDir, "evaluations", `${shortDigest(bundle)}-${prepared.dataVersion.slice(0, 12)}-val`);
  for (const place of [`${evaluationDir}-val`, folder]) {
    const known = await readEvaluation(resolve(cwd, place), bundle, prepared);
    if (known) return { predictions: known, remark };
  }
  const why = own === undefined ? "has no validation predictions yet" : "has validation predictions of other pictures";
  reporter.warn(`${called} ${why}: evaluating it on the validation split first.`);
  await evaluateModel({ cwd, model: dir, split: "val", out: folder, stateDir, reporter, signal });
  return { predictions: await readPredictions(resolve(cwd, folder, "predictions.jsonl")), remark };
}

/** The same about the pictures of a folder or zip, evaluated now. */
export async function answersToData(
  { dir, called }: ComparedModel,
  data: string,
  prepared: ShardIndex | null,
  { cwd, stateDir, reporter = silentReporter, signal }: ComparisonOptions,
): Promise<Answers> {
  const bundle = await loadBundle(dir);
  // Another promotion may compare the same model on other pictures at the same time.
  const out = join(stateDir, "evaluations", `${shortDigest(bundle)}-source-${sha256(resolve(cwd, data)).slice(0, 12)}`);
  reporter.warn(`Evaluating ${called.replace("Version", "version")} on ${data}.`);
  await evaluateModel({ cwd, model: dir, data, out, stateDir, reporter, signal });
  const predictions = await readPredictions(resolve(cwd, out, "predictions.jsonl"));
  const learned = countLearned(bundle, predictions, prepared);
  const remark = `${called} learned from ${thousands(learned)} of these ${thousands(predictions.length)} pictures, which makes its result too good.`;
  return { predictions, remark: learned === 0 ? null : remark };
}

/** validation.jsonl of the bundle, where it has one that agrees with what is sealed in bundle.json. */
async function readOwnAnswers(bundle: Bundle, called: string, reporter: Reporter): Promise<Prediction[] | undefined> {
  const path = join(bundle.dir, validationFile);
  if (!(await exists(path))) return undefined;
  const { count, accuracy } = bundle.manifest.metrics;
  try {
    const answers = await readPredictions(path);
    if (answers.length === count && countRight(answers) / answers.length === accuracy) return answers;
    reporter.warn(`${called}: ${validationFile} is not used, because its figures do not match bundle.json.`);
  } catch (error) {
    if (!(error instanceof ServalError)) throw error;
    reporter.warn(`${called}: ${validationFile} is not used: ${error.message}`);
  }
  return undefined;
}

/** The predictions of an evaluation folder, where they are of this model on exactly these validation pictures; else undefined. */
async function readEvaluation(dir: string, { digest }: Bundle, prepared: ShardIndex): Promise<Prediction[] | undefined> {
  try {
    const { model, data } = JSON.parse(await readFile(join(dir, "metrics.json"), "utf8")) as {
      model?: { digest?: string };
      data?: { split?: string };
    };
    if (model?.digest !== digest || data?.split !== "val") return undefined;
    const predictions = await readPredictions(join(dir, "predictions.jsonl"));
    return areAbout(predictions, prepared) ? predictions : undefined;
  } catch {
    // No evaluation, or one that was cut off: it is made again.
    return undefined;
  }
}

/** Whether the predictions are about the validation pictures, all of them, with their labels. */
function areAbout(predictions: readonly Prediction[], prepared: ShardIndex): boolean {
  const wanted = prepared.splits.val.rows.map(([sha256, label]) => `${sha256} ${label}`).sort();
  const got = predictions.map(({ sha256, label }) => `${sha256} ${label}`).sort();
  return wanted.length === got.length && wanted.every((row, i) => row === got[i]);
}

/** Why some validation pictures may be among those that the model learned from; null where none is. */
function describeDoubt({ manifest }: Bundle, called: string, own: readonly Prediction[] | undefined, prepared: ShardIndex): string | null {
  if (isSameSplit(manifest, prepared)) return null;
  if (manifest.split === undefined) {
    return `${called} does not say which pictures it learned from, because it was trained before that was recorded: some of these may be among them.`;
  }
  const { rows } = prepared.splits.val;
  const kept = new Set(own?.map(({ sha256 }) => sha256));
  const known =
    own === undefined
      ? ""
      : ` ${thousands(rows.filter(([sha256]) => kept.has(sha256)).length)} of these ${thousands(rows.length)} pictures were in its own validation split.`;
  return (
    `${called} was trained on other data (${manifest.dataVersion.slice(0, 12)}; prepared here is ${prepared.dataVersion.slice(0, 12)}).${known} ` +
    "Pictures stay in their split when others are added, except for near duplicates and small classes: the model may have learned from a few of these."
  );
}

/** Whether the model was trained on the data that is prepared here, split in the same way. */
function isSameSplit({ dataVersion, split }: Bundle["manifest"], prepared: ShardIndex): boolean {
  return (
    dataVersion === prepared.dataVersion &&
    split !== undefined &&
    split.seed === prepared.seed &&
    split.dedupe === prepared.dedupe &&
    splitNames.every((name) => split.shares[name] === prepared.shares[name])
  );
}

/** How many of these pictures a model learned from, as far as that can be told: where it was trained on the data that is prepared here. */
function countLearned({ manifest }: Bundle, predictions: readonly Prediction[], prepared: ShardIndex | null): number {
  if (prepared === null || !isSameSplit(manifest, prepared)) return 0;
  const training = new Set(prepared.splits.train.rows.map(([sha256]) => sha256));
  return predictions.filter(({ sha256 }) => training.has(sha256)).length;
}

function countRight(predictions: readonly Prediction[]): number {
  return predictions.filter(({ label, predicted }) => label === predicted).length;
}
