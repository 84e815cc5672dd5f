import { loadSettings, type Settings } from "../../config/settings.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readLook } from "../../evaluate/accuracy-log.ts";
import { compareModels, reasonAgainst, type Comparison } from "../../registry/compare.ts";
import { fetchRegisteredModel, fetchValidation } from "../../registry/fetch.ts";
import { pairPredictions } from "../../registry/predictions.ts";
import { promote, readStanding, type Standing } from "../../registry/promote.ts";
import { digestOf, findRegisteredModel, findVersion } from "../../registry/versions.ts";
import type { RegistryClient } from "../../tracking/client/registry-client.ts";
import type { ModelVersion } from "../../tracking/client/wire.ts";
import { defaultModelName } from "../default-model-name.ts";
import { registryCacheDir } from "../find-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { connectTracking } from "../tracking-connection.ts";
import { answersToData, answersToValidation, readPrepared, type Answers, type ComparedModel } from "./compared-answers.ts";

export interface PromoteModelOptions extends UseCaseOptions {
  /** Registered model. Default: model.name of params.yaml. */
  readonly name?: string | undefined;
  /** Default: the newest. */
  readonly version?: string | undefined;
  /** A folder or zip of labelled images to compare on instead of the validation split. */
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
  /** What decided; null where there was no champion, or no comparison. */
  readonly comparison: Comparison | null;
  /** The pictures of the comparison: the validation split, or those of `data`. */
  readonly comparedOn: "validation" | "data" | null;
  /** What both had on the test split of the prepared data, where they were evaluated on it; null where neither was. It decides nothing. */
  readonly test: TestFigures | null;
  /** Why the pictures of the comparison may not be as new to a model as they should be. */
  readonly remarks: readonly string[];
  readonly standing: Standing;
}

/** As the log of looks at the test split has it. */
export interface TestFigure {
  readonly count: number;
  readonly accuracy: number;
}

export interface TestFigures {
  readonly champion: TestFigure | null;
  readonly challenger: TestFigure | null;
}

/** Compares a version with the champion on the validation split and, where it is good enough or forced, makes it the champion. */
export async function promoteModel(options: PromoteModelOptions): Promise<PromotionReport> {
  const { cwd, force, reporter = silentReporter, signal } = options;
  const name = options.name ?? (await defaultModelName(cwd));
  const settings = loadSettings();
  const { registry } = await connectTracking(cwd, settings.mlflowTrackingUri, settings.stateDir);
  const challenger = await findChallenger(registry, name, options);
  const { version } = challenger;
  const before = await readStanding(registry, name, signal);
  const unjudged = { refusal: null, comparison: null, comparedOn: null, test: null, remarks: [] };
  const base = { name, version, over: before.champion, forcedReason: force ?? null, ...unjudged };
  if (before.champion === version) return { ...base, promoted: false, standing: before };

  let judgement: Judgement | null = null;
  if (before.champion !== null) {
    const champion = await findVersion(registry, { name, version: before.champion }, signal);
    try {
      judgement = await judge({ ...options, settings, registry }, champion, challenger);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof ServalError) || error.code === "E_TRACKING_UNREACHABLE") throw error;
      // A version can be forced also where the two cannot be compared.
      if (force === undefined) throw notCompared(error, champion, challenger, options);
      reporter.warn(`Not compared: ${error.code}: ${error.message}`);
    }
  }
  const refusal = (judgement && reasonAgainst(judgement.comparison)) ?? null;
  const judged = { ...base, ...judgement, refusal };
  if (refusal !== null && force === undefined) return { ...judged, promoted: false, standing: before };
  const { comparison, comparedOn } = judged;
  const over = before.champion;
  const standing = await promote({ registry, name, version, over, comparison, comparedOn, reason: force, ...(signal && { signal }) });
  return { ...judged, promoted: true, standing };
}

async function findChallenger(registry: RegistryClient, name: string, { version, signal }: PromoteModelOptions): Promise<ModelVersion> {
  if (version !== undefined) return await findVersion(registry, { name, version }, signal);
  await findRegisteredModel(registry, name, signal);
  const [newest] = await registry.listVersions(name, signal);
  if (newest !== undefined) return newest;
  throw new ServalError("E_REGISTRY_MISSING", `"${name}" has no version yet.`);
}

/** Two models on the same pictures, and what should be known about it. */
interface Judgement {
  readonly comparison: Comparison;
  readonly comparedOn: "validation" | "data";
  readonly test: TestFigures | null;
  readonly remarks: readonly string[];
}

interface JudgeOptions extends PromoteModelOptions {
  readonly settings: Settings;
  readonly registry: RegistryClient;
}

async function judge(options: JudgeOptions, champion: ModelVersion, challenger: ModelVersion): Promise<Judgement> {
  const { cwd, data } = options;
  const { stateDir } = options.settings;
  const prepared = await readPrepared(cwd);
  const answers: Answers[] = [];
  for (const version of [champion, challenger]) {
    const model = await fetchVersion(options, version);
    const shared = { ...options, stateDir };
    answers.push(
      data === undefined ? await answersToValidation(model, prepared, shared) : await answersToData(model, data, prepared, shared),
    );
  }
  const [ofChampion = [], ofChallenger = []] = answers.map(({ predictions }) => predictions);
  const figure = async (version: ModelVersion): Promise<TestFigure | null> => {
    const look = { digest: digestOf(version), dataVersion: prepared?.dataVersion ?? "", split: "test" };
    return (await readLook(cwd, look, stateDir)) ?? null;
  };
  const test = { champion: await figure(champion), challenger: await figure(challenger) };
  return {
    comparison: compareModels(pairPredictions(ofChampion, ofChallenger)),
    comparedOn: data === undefined ? "validation" : "data",
    test: test.champion === null && test.challenger === null ? null : test,
    remarks: answers.flatMap(({ remark }) => remark ?? []),
  };
}

/** What made the comparison impossible, with the ways that are left. */
function notCompared(
  error: ServalError,
  champion: ModelVersion,
  { name, version }: ModelVersion,
  { data }: PromoteModelOptions,
): ServalError {
  const { code, message, details } = error;
  const other = data === undefined ? " Or compare on other labelled pictures with --data SOURCE." : "";
  return new ServalError(code, `Version ${version} of ${name} was not compared with version ${champion.version}: ${message}`, {
    cause: error,
    details,
    hint: `${error.hint}${other} --force --reason TEXT promotes it without a comparison.`,
  });
}

async function fetchVersion(options: JudgeOptions, { name, version }: ModelVersion): Promise<ComparedModel> {
  const { cwd, settings, registry, signal } = options;
  const asked = { registry, reference: { name, version }, cacheDir: registryCacheDir(cwd, settings), ...(signal && { signal }) };
  const fetched = await fetchRegisteredModel(asked);
  if (options.data === undefined) await fetchValidation(asked, fetched);
  return { dir: fetched.dir, called: `Version ${version} of ${name}` };
}
