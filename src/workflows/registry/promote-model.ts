import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { loadSettings, type Settings } from "../../config/settings.ts";
import { openShards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { evaluationDir, shardsDir } from "../../paths.ts";
import { compareModels, reasonAgainst, type Comparison } from "../../registry/compare.ts";
import { fetchRegisteredModel } from "../../registry/fetch.ts";
import { pairPredictions, readPredictions, type Prediction } from "../../registry/predictions.ts";
import { promote, readStanding, type Standing } from "../../registry/promote.ts";
import { digestOf, findRegisteredModel, findVersion } from "../../registry/versions.ts";
import type { RegistryClient } from "../../tracking/client/registry-client.ts";
import type { ModelVersion } from "../../tracking/client/wire.ts";
import { registryCacheDir } from "../find-model.ts";
import { evaluateModel } from "../model/evaluate-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { connectTracking } from "../tracking-connection.ts";
import { defaultModelName } from "./default-model-name.ts";

export interface PromoteModelOptions extends UseCaseOptions {
  /** Registered model. Default: model.name of params.yaml. */
  readonly name?: string | undefined;
  /** Default: the newest. */
  readonly version?: string | undefined;
  /** A folder or zip of labelled images to compare on instead of the test split. */
  readonly data?: string | undefined;
  /** Promote against the comparison, or without one, for this reason. */
  readonly force?: string | undefined;
}

export interface PromotionReport {
  readonly name: string;
  readonly version: string;
  /** False where it is the champion already, or was refused. */
  readonly promoted: boolean;
  /** Why it was not good enough; null where it was. */
  readonly refusal: string | null;
  /** Recorded on the version. */
  readonly forcedReason: string | null;
  /** The version that it was compared with; null where there was no champion. */
  readonly over: string | null;
  readonly comparison: Comparison | null;
  readonly standing: Standing;
}

/** Compares a version with the champion and, where it is good enough or forced, makes it the champion. */
export async function promoteModel(options: PromoteModelOptions): Promise<PromotionReport> {
  const { cwd, force, reporter = silentReporter, signal } = options;
  const name = options.name ?? (await defaultModelName(cwd));
  const settings = loadSettings();
  const { registry } = await connectTracking(cwd, settings.mlflowTrackingUri, settings.stateDir);
  const challenger = await findChallenger(registry, name, options);
  const { version } = challenger;
  const before = await readStanding(registry, name, signal);
  const base = { name, version, over: before.champion, forcedReason: force ?? null, refusal: null, comparison: null };
  if (before.champion === version) return { ...base, promoted: false, standing: before };

  let comparison: Comparison | null = null;
  if (before.champion !== null) {
    const champion = await findVersion(registry, { name, version: before.champion }, signal);
    try {
      comparison = await compare({ ...options, settings, registry }, champion, challenger);
    } catch (error) {
      // A version can be forced also where the data is not at hand.
      if (force === undefined || !(error instanceof ServalError) || error.code === "E_TRACKING_UNREACHABLE") throw error;
      reporter.warn(`Not compared: ${error.code}: ${error.message}`);
    }
  }
  const refusal = (comparison && reasonAgainst(comparison)) ?? null;
  if (refusal !== null && force === undefined) return { ...base, promoted: false, refusal, comparison, standing: before };
  const standing = await promote({ registry, name, version, over: before.champion, comparison, reason: force, ...(signal && { signal }) });
  return { ...base, promoted: true, refusal, comparison, standing };
}

async function findChallenger(registry: RegistryClient, name: string, { version, signal }: PromoteModelOptions): Promise<ModelVersion> {
  if (version !== undefined) return await findVersion(registry, { name, version }, signal);
  await findRegisteredModel(registry, name, signal);
  const [newest] = await registry.listVersions(name, signal);
  if (newest !== undefined) return newest;
  throw new ServalError("E_REGISTRY_MISSING", `"${name}" has no version yet.`);
}

interface ComparisonOptions extends PromoteModelOptions {
  readonly settings: Settings;
  readonly registry: RegistryClient;
}

async function compare(options: ComparisonOptions, champion: ModelVersion, challenger: ModelVersion): Promise<Comparison> {
  const answers: Prediction[][] = [];
  for (const version of [champion, challenger]) answers.push(await predictionsOf(options, version));
  const [ofChampion = [], ofChallenger = []] = answers;
  return compareModels(pairPredictions(ofChampion, ofChallenger));
}

/** What a version says about the held-out images: of an evaluation that was made before, or of one that is made now. */
async function predictionsOf(options: ComparisonOptions, version: ModelVersion): Promise<Prediction[]> {
  const { cwd, settings, registry, data, reporter = silentReporter, signal } = options;
  const digest = digestOf(version);
  const subject = data === undefined ? await preparedDataVersion(cwd) : null;
  const folder = join(settings.stateDir, "evaluations", `${digest.slice(0, 12)}-${(subject ?? "source").slice(0, 12)}`);
  for (const dir of subject === null ? [] : [evaluationDir, folder]) {
    if (await isAbout(resolve(cwd, dir), digest, subject)) return await readPredictions(resolve(cwd, dir, "predictions.jsonl"));
  }
  const reference = { name: version.name, version: version.version };
  const fetched = await fetchRegisteredModel({ registry, reference, cacheDir: registryCacheDir(cwd, settings), ...(signal && { signal }) });
  reporter.warn(`Evaluating version ${version.version} on ${data ?? "the test split"}.`);
  await evaluateModel({ cwd, model: fetched.dir, data, out: folder, reporter, signal });
  return await readPredictions(resolve(cwd, folder, "predictions.jsonl"));
}

async function preparedDataVersion(cwd: string): Promise<string> {
  const shards = await openShards(join(cwd, shardsDir));
  shards.close();
  return shards.dataVersion;
}

/** Whether an evaluation folder holds what this model said about the test split of this data. */
async function isAbout(dir: string, digest: string, dataVersion: string | null): Promise<boolean> {
  try {
    const { model, data } = JSON.parse(await readFile(join(dir, "metrics.json"), "utf8")) as {
      model?: { digest?: string };
      data?: { version?: string; split?: string };
    };
    return model?.digest === digest && data?.version === dataVersion && data.split === "test";
  } catch {
    // No evaluation, or one that was cut off: it is made again.
    return false;
  }
}
