import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { ServalError, toServalError } from "../errors/serval-error.ts";
import { readIfThere } from "../files.ts";
import { copyBundle, loadBundle, shortDigest, type Bundle, type BundleManifest } from "../model/bundle.ts";
import { cardFile, modelNamePattern, provenanceFile } from "../model/manifest.ts";
import { releasedModels, releasedModelsDir } from "../model/resolve-model.ts";
import { loadServedModel } from "../serve/model/served-model.ts";
import type { AnsweredPart, Metrics } from "../evaluate/metrics.ts";
import { addToCard, type CardAdditions } from "../export/model-card.ts";
import type { EvaluationSubject } from "../train/report.ts";
import { findModel } from "./find-model.ts";
import type { Output } from "./output.ts";

export interface ModelRow {
  /** Folder name under models/. */
  readonly released: string;
  readonly name?: string;
  readonly version?: string;
  readonly labels?: readonly string[];
  readonly metrics?: Readonly<Record<string, number>>;
  /** Why it cannot be used. */
  readonly error?: { readonly code: string; readonly message: string };
}

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

/** Every bundle under models/; one that is damaged has its error in place of its facts. */
export async function listModels(cwd: string): Promise<ModelRow[]> {
  const rows: ModelRow[] = [];
  for (const released of await releasedModels(cwd)) {
    try {
      const bundle = await loadBundle(join(cwd, releasedModelsDir, released));
      const { name, labels, metrics } = bundle.manifest;
      rows.push({ released, name, version: shortDigest(bundle), labels, metrics });
    } catch (error) {
      const { code, message } = toServalError(error);
      rows.push({ released, error: { code, message } });
    }
  }
  return rows;
}

export interface ShownModel {
  readonly version: string;
  readonly digest: string;
  readonly manifest: BundleManifest;
  /** When, where and by whom it was made; null where the file is not there. */
  readonly provenance: Readonly<Record<string, unknown>> | null;
}

export async function showModel(dir: string): Promise<ShownModel> {
  const bundle = await loadBundle(dir);
  const provenance = await readFile(join(bundle.dir, provenanceFile), "utf8").then(
    (text) => JSON.parse(text) as Record<string, unknown>,
    () => null,
  );
  return { version: shortDigest(bundle), digest: bundle.digest, manifest: bundle.manifest, provenance };
}

export interface ReleaseRequest {
  readonly cwd: string;
  readonly bundle: string;
  readonly name?: string | undefined;
  /** Folder of `serval evaluate`; one of another model or split is left aside. */
  readonly evaluation: string;
  /** Markdown file for the card. */
  readonly knownFailures?: string | undefined;
}

/**
 * Copies a bundle to models/NAME after its known-answer images gave the known answers, with the figures on the test split
 * in its card. Throws E_BUNDLE_CHECKS, also for a bundle without any: what nobody can check is not released.
 */
export async function releaseModel(request: ReleaseRequest, output: Output): Promise<ReleasedModel> {
  const { cwd } = request;
  const name = checkName(request.name);
  const { dir } = await findModel(request.bundle, cwd, output);
  const model = await loadServedModel(dir, { workers: 1 });
  await model.close();
  const { bundle } = model;
  const checks = bundle.manifest.checks.length;
  if (checks === 0) throw new ServalError("E_BUNDLE_CHECKS", `${dir} holds no check images, so nothing shows that it works.`);
  const released = name ?? bundle.manifest.name;
  const target = resolve(cwd, releasedModelsDir, released);
  const test = await readTestFigures(resolve(cwd, request.evaluation), bundle);
  const card = await writeCard(bundle, {
    ...(test && { test }),
    ...(request.knownFailures !== undefined && { knownFailures: await readText(resolve(cwd, request.knownFailures)) }),
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
export function checkName(name: string | undefined): string | undefined {
  if (name === undefined || new RegExp(modelNamePattern).test(name)) return name;
  throw new ServalError("E_USAGE", `--name: expected 1 to 63 of a-z, 0-9, dot, dash and underscore, got ${JSON.stringify(name)}.`);
}

async function isSame(bundle: Bundle, target: string, card: string | undefined): Promise<boolean> {
  const there = await loadBundle(target).catch(() => undefined);
  if (there?.digest !== bundle.digest) return false;
  return card === undefined || (await readIfThere(join(target, cardFile))) === card;
}

export function describeRows(rows: readonly ModelRow[]): string {
  if (rows.length === 0) return "No model is released. `serval models release` copies the trained one to models/.";
  const width = Math.max(...rows.map(({ released }) => released.length));
  return rows
    .map(({ released, version, labels = [], metrics = {}, error }) => {
      const facts = error
        ? `${error.code}: ${error.message}`
        : [version, `${labels.length} classes`, ...describeMetrics(metrics, ["accuracy"])].join("  ");
      return `${released.padEnd(width)}  ${facts}`;
    })
    .join("\n");
}

function describeMetrics(metrics: Readonly<Record<string, number>>, names: readonly string[]): string[] {
  return names.filter((name) => name in metrics).map((name) => `${name} ${metrics[name]?.toFixed(4)}`);
}

export function describeModel({ version, manifest, provenance }: ShownModel, dir: string): string {
  const { name, labels, preprocess, metrics, dataVersion, paramsHash, seed, checks, files } = manifest;
  const { width, height, fit, kernel, crop } = preprocess;
  const input = `${width}x${height} ${fit} ${kernel}${crop ? `, centre ${crop.width}x${crop.height}` : ""}`;
  const facts: [string, string][] = [
    ["model", `${name}, version ${version}, in ${dir}`],
    ["labels", labels.join(", ")],
    ["input", input],
    ["metrics", describeMetrics(metrics, Object.keys(metrics)).join(", ") || "none"],
    ["data", dataVersion],
    ["params", `${paramsHash}, seed ${seed}`],
    ["checks", `${checks.length} known-answer images`],
    ["files", Object.keys(files).join(", ")],
    ...Object.entries(provenance ?? {}).map(([key, value]): [string, string] => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  ];
  const widest = Math.max(...facts.map(([key]) => key.length));
  return facts.map(([key, value]) => `${key.padEnd(widest)}  ${value}`).join("\n");
}
