import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere } from "../../files.ts";
import { copyBundle, loadBundle, type Bundle } from "../../model/bundle.ts";
import { cardFile, modelNamePattern } from "../../model/manifest.ts";
import { evaluationDir, releasedModelsDir, trainedModelDir } from "../../paths.ts";
import { loadServedModel } from "../../serve/model/served-model.ts";
import type { AnsweredPart, Metrics } from "../../evaluate/metrics.ts";
import { addToCard, type CardAdditions } from "../../export/model-card.ts";
import type { EvaluationSubject } from "../../evaluate/evaluation-folder.ts";
import { findModel } from "../find-model.ts";
import { guardFolders } from "../guard-folders.ts";
import type { UseCaseOptions } from "../reporter.ts";

export interface ReleasedModel {
  readonly released: string;
  /** Relative to the working repository. */
  readonly dir: string;
  readonly version: string;
  readonly checks: number;
  /** Whether its card has figures on the test split from this release. */
  readonly evaluated: boolean;
  /** False where exactly this bundle was released before. */
  readonly changed: boolean;
}

export interface ReleaseModelOptions extends UseCaseOptions {
  /** Folder of the bundle. Default: artifacts/best. */
  readonly bundle?: string | undefined;
  /** Folder under models/. Default: the model's own name. */
  readonly name?: string | undefined;
  /** Folder of its evaluation on the test split; one of another model or split is left aside. Default: artifacts/evaluation. */
  readonly evaluation?: string | undefined;
  /** Markdown file for the card. */
  readonly knownFailures?: string | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

/**
 * Copies a bundle to models/NAME after its known-answer images gave the known answers, with the figures on the test split
 * in its card. Throws E_BUNDLE_CHECKS, also for a bundle without any: what cannot be checked is not released.
 */
export async function releaseModel(options: ReleaseModelOptions): Promise<ReleasedModel> {
  const { cwd, bundle: path = trainedModelDir, evaluation = evaluationDir, knownFailures, reporter, signal } = options;
  await guardFolders(cwd, options.followLink ?? [], [releasedModelsDir]);
  const name = checkReleaseName(options.name);
  const { dir } = await findModel(path, { cwd, reporter, signal });
  const model = await loadServedModel(dir, { workers: 1 });
  await model.close();
  const { bundle } = model;
  const checks = bundle.manifest.checks.length;
  if (checks === 0) throw new ServalError("E_BUNDLE_CHECKS", `${dir} has no check images, so nothing shows that it works.`);
  const released = name ?? bundle.manifest.name;
  const target = resolve(cwd, releasedModelsDir, released);
  const test = await readTestFigures(resolve(cwd, evaluation), bundle);
  const card = await writeCard(bundle, {
    ...(test && { test }),
    ...(knownFailures !== undefined && { knownFailures: await readText(resolve(cwd, knownFailures)) }),
  });
  const result = { released, dir: relative(cwd, target), version: model.version, checks, evaluated: test !== undefined };
  if (await isSame(bundle, target, card)) return { ...result, changed: false };
  await copyBundle(bundle, target, card);
  return { ...result, changed: true };
}

/** The card of a released bundle; undefined where it is sealed, as older bundles' cards are. */
async function writeCard(bundle: Bundle, additions: CardAdditions): Promise<string | undefined> {
  if (cardFile in bundle.manifest.files) return undefined;
  const card = await readIfThere(join(bundle.dir, cardFile));
  return card === undefined ? undefined : addToCard(card, additions);
}

/** What metrics.json says, where it is of this model on the test split. */
async function readTestFigures(dir: string, bundle: Bundle): Promise<CardAdditions["test"]> {
  const text = await readIfThere(join(dir, "metrics.json"));
  if (text === undefined) return undefined;
  const file = JSON.parse(text) as Metrics & EvaluationSubject & { readonly answered?: AnsweredPart };
  const ofTest = "split" in file.data && file.data.split === "test";
  if (file.model.digest !== bundle.digest || !ofTest) return undefined;
  return { labels: bundle.manifest.labels, metrics: file, answered: file.answered };
}

async function readText(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((error: unknown) => {
    throw new ServalError("E_USAGE", `--known-failures: ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  });
}

/** A name that a person chose, if any; throws E_USAGE where it cannot be a model's. */
export function checkReleaseName(name: string | undefined): string | undefined {
  if (name === undefined || new RegExp(modelNamePattern).test(name)) return name;
  throw new ServalError("E_USAGE", `--name: expected 1 to 63 of a-z, 0-9, dot, dash and underscore, got ${JSON.stringify(name)}.`);
}

async function isSame(bundle: Bundle, target: string, card: string | undefined): Promise<boolean> {
  const there = await loadBundle(target).catch(() => undefined);
  if (there?.digest !== bundle.digest) return false;
  return card === undefined || (await readIfThere(join(target, cardFile))) === card;
}
