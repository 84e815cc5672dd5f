import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Settings } from "../config/settings.ts";
import { openShards } from "../data/shards.ts";
import { ServalError } from "../errors/serval-error.ts";
import { compareModels, points, reasonAgainst, type Comparison } from "../registry/compare.ts";
import { fetchRegisteredModel } from "../registry/fetch.ts";
import { pairPredictions, readPredictions, type Prediction } from "../registry/predictions.ts";
import { promote, readStanding, type Standing } from "../registry/promote.ts";
import { digestOf, findRegisteredModel, findVersion } from "../registry/versions.ts";
import type { ModelVersion } from "../tracking/client/wire.ts";
import { evaluateModel, evaluationDir } from "./commands/model/evaluate.ts";
import { registryCacheDir } from "./find-model.ts";
import type { Output } from "./output.ts";
import { connectTracking } from "./tracking-connection.ts";
import { renderTable } from "./table.ts";

export interface PromoteCommandOptions {
  /** The working repository. */
  readonly cwd: string;
  readonly settings: Settings;
  /** Registered model. */
  readonly name: string;
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
export async function promoteModel(options: PromoteCommandOptions, output: Output, signal: AbortSignal): Promise<PromotionReport> {
  const { cwd, settings, name, force } = options;
  const { registry } = await connectTracking(cwd, settings.mlflowTrackingUri, settings.stateDir);
  const challenger = await findChallenger(options, signal);
  const { version } = challenger;
  const before = await readStanding(registry, name, signal);
  const base = { name, version, over: before.champion, forcedReason: force ?? null, refusal: null, comparison: null };
  if (before.champion === version) return { ...base, promoted: false, standing: before };

  let comparison: Comparison | null = null;
  if (before.champion !== null) {
    const champion = await findVersion(registry, { name, version: before.champion }, signal);
    try {
      comparison = await compare(options, champion, challenger, output, signal);
    } catch (error) {
      // Whoever forces a version does so, too, where the data is not at hand.
      if (force === undefined || !(error instanceof ServalError) || error.code === "E_TRACKING_UNREACHABLE") throw error;
      output.warn(`Not compared: ${error.code}: ${error.message}`);
    }
  }
  const refusal = (comparison && reasonAgainst(comparison)) ?? null;
  if (refusal !== null && force === undefined) return { ...base, promoted: false, refusal, comparison, standing: before };
  const standing = await promote({ registry, name, version, over: before.champion, comparison, reason: force, signal });
  return { ...base, promoted: true, refusal, comparison, standing };
}

async function findChallenger({ cwd, settings, name, version }: PromoteCommandOptions, signal: AbortSignal): Promise<ModelVersion> {
  const { registry } = await connectTracking(cwd, settings.mlflowTrackingUri, settings.stateDir);
  if (version !== undefined) return await findVersion(registry, { name, version }, signal);
  await findRegisteredModel(registry, name, signal);
  const [newest] = await registry.listVersions(name, signal);
  if (newest !== undefined) return newest;
  throw new ServalError("E_REGISTRY_MISSING", `"${name}" has no version yet.`);
}

async function compare(
  options: PromoteCommandOptions,
  champion: ModelVersion,
  challenger: ModelVersion,
  output: Output,
  signal: AbortSignal,
): Promise<Comparison> {
  const answers: Prediction[][] = [];
  for (const version of [champion, challenger]) answers.push(await predictionsOf(options, version, output, signal));
  const [ofChampion = [], ofChallenger = []] = answers;
  return compareModels(pairPredictions(ofChampion, ofChallenger));
}

/** What a version says about the held-out images: of an evaluation that was made before, or of one that is made now. */
async function predictionsOf(
  options: PromoteCommandOptions,
  version: ModelVersion,
  output: Output,
  signal: AbortSignal,
): Promise<Prediction[]> {
  const { cwd, settings, data } = options;
  const digest = digestOf(version);
  const subject = data === undefined ? await preparedDataVersion(cwd) : null;
  const folder = join(settings.stateDir, "evaluations", `${digest.slice(0, 12)}-${(subject ?? "source").slice(0, 12)}`);
  for (const dir of subject === null ? [] : [evaluationDir, folder]) {
    if (await isAbout(resolve(cwd, dir), digest, subject)) return await readPredictions(resolve(cwd, dir, "predictions.jsonl"));
  }
  const reference = { name: version.name, version: version.version };
  const { registry } = await connectTracking(cwd, settings.mlflowTrackingUri, settings.stateDir);
  const fetched = await fetchRegisteredModel({ registry, reference, cacheDir: registryCacheDir(cwd, settings), signal });
  output.warn(`Evaluating version ${version.version} on ${data ?? "the test split"}.`);
  await evaluateModel(
    {
      cwd,
      model: fetched.dir,
      data,
      out: folder,
      stateDir: settings.stateDir,
      limits: { maxBytes: settings.maxBodyBytes, maxPixels: settings.maxPixels },
    },
    output,
    signal,
  );
  return await readPredictions(resolve(cwd, folder, "predictions.jsonl"));
}

async function preparedDataVersion(cwd: string): Promise<string> {
  const shards = await openShards(join(cwd, "data", "processed"));
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

/** What is printed: both models side by side, the verdict, and where the aliases stand. */
export function describePromotion(report: PromotionReport): string {
  const { name, version, over, comparison, promoted, refusal, forcedReason, standing } = report;
  const lines: string[] = [];
  if (comparison) lines.push(...describeComparison(comparison, over ?? "", version), "");
  if (standing.champion === version && !promoted) lines.push(`Version ${version} of ${name} is the champion already.`);
  else if (promoted) {
    const instead = over === null ? "the first champion: there was none to compare with" : `the champion in place of version ${over}`;
    lines.push(`Version ${version} of ${name} is ${instead}.`);
    if (forcedReason !== null) lines.push(`Forced${refusal === null ? "" : ` although ${refusal}`}; recorded: ${forcedReason}`);
    if (over !== null) lines.push(`Undo it with: serval models rollback ${name}`);
  } else lines.push(`Version ${standing.champion} of ${name} stays the champion.`);
  return lines.join("\n");
}

function describeComparison(comparison: Comparison, champion: string, challenger: string): string[] {
  const { images, onlyChampionRight, onlyChallengerRight, championAccuracy, challengerAccuracy, difference, interval, mcnemarP } =
    comparison;
  const table = renderTable([
    ["", "version", "accuracy", "images", "only this one right"],
    ["champion", champion, `${points(championAccuracy)} %`, images.toLocaleString("en-US"), onlyChampionRight.toLocaleString("en-US")],
    [
      "challenger",
      challenger,
      `${points(challengerAccuracy)} %`,
      images.toLocaleString("en-US"),
      onlyChallengerRight.toLocaleString("en-US"),
    ],
  ]);
  const signed = (share: number): string => (share > 0 ? `+${points(share)}` : points(share));
  return [
    table,
    `difference  ${signed(difference)} points, 95 % interval ${signed(interval[0])} to ${signed(interval[1])} (paired bootstrap); McNemar's exact p = ${mcnemarP.toPrecision(2)}`,
  ];
}
