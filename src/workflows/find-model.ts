import { join, resolve } from "node:path";
import { loadSettings, type Settings } from "../config/settings.ts";
import { resolveDefaultModel, resolveModel, type ResolvedModel } from "../model/resolve-model.ts";
import { fetchRegisteredModel, type FetchedModel } from "../registry/fetch.ts";
import { parseModelUri } from "../registry/model-uri.ts";
import { defaultModelName } from "./default-model-name.ts";
import { silentReporter, type UseCaseOptions } from "./reporter.ts";
import { connectTracking } from "./tracking-connection.ts";

/** What was downloaded from a registry lies here, in the state folder. */
export function registryCacheDir(cwd: string, { stateDir }: Pick<Settings, "stateDir">): string {
  return resolve(cwd, join(stateDir, "registry"));
}

export interface FoundModel extends ResolvedModel {
  /** Where it came from a registry. */
  readonly registered: (FetchedModel & { readonly again: FetchAgain }) | null;
}

/** Asks the registry again which version the address points to, and fetches that one. */
export type FetchAgain = (signal: AbortSignal) => Promise<FetchedModel>;

export interface FindOptions extends UseCaseOptions {
  /** A registry that refuses, or a damaged version, does not prevent the start: the last downloaded version is used. */
  readonly lastGood?: boolean;
}

/**
 * Finds the bundle that a person means by `name`, as `resolveModel` does, or by a `models:/` address: that of the registry,
 * or of the disk while the registry does not answer, with a remark. Without a name it is the released model, of several the
 * one that model.name of params.yaml names, else what was trained last.
 */
export async function findModel(
  name: string | undefined,
  { cwd, reporter = silentReporter, signal, lastGood = false }: FindOptions,
): Promise<FoundModel> {
  if (name === undefined) return { ...(await resolveDefaultModel(cwd, async () => await defaultModelName(cwd))), registered: null };
  if (!name.startsWith("models:")) return { ...(await resolveModel(name, cwd)), registered: null };
  const settings = loadSettings();
  const { registry } = await connectTracking(cwd, settings.mlflowTrackingUri, settings.stateDir);
  const reference = parseModelUri(name);
  const cacheDir = registryCacheDir(cwd, settings);
  const fetchModel = async (stop?: AbortSignal, first = false): Promise<FetchedModel> =>
    await fetchRegisteredModel({ registry, reference, cacheDir, lastGood: first && lastGood, ...(stop && { signal: stop }) });
  const registered = await fetchModel(signal, true);
  const { dir, version, trouble } = registered;
  if (trouble) {
    reporter.warn(
      `${trouble.code}: ${trouble.message}\n  Continuing with version ${version}, which ${name} was when the registry last answered.`,
    );
  }
  return { dir, released: null, registered: { ...registered, again: async (stop) => await fetchModel(stop) } };
}
