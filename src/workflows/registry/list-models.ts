import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { toServalError } from "../../errors/serval-error.ts";
import { loadBundle, shortDigest, type BundleManifest } from "../../model/bundle.ts";
import { provenanceFile } from "../../model/manifest.ts";
import { releasedModels } from "../../model/resolve-model.ts";
import { releasedModelsDir } from "../../paths.ts";
import { findRegisteredModel } from "../../registry/versions.ts";
import type { RegistryClient } from "../../tracking/client/registry-client.ts";
import type { ModelVersion, RegisteredModel } from "../../tracking/client/wire.ts";
import { findModel } from "../find-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { connectTracking } from "../tracking-connection.ts";

/** A model under models/. */
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

/** A registered model as `serval models list` and `show` give it. */
export interface RegisteredRow {
  /** Name in the registry. */
  readonly registered: string;
  readonly aliases: Readonly<Record<string, string>>;
  /** Newest first. */
  readonly versions: readonly ModelVersion[];
}

/** A bundle as `serval models show` gives it. */
export interface ShownModel {
  readonly version: string;
  readonly digest: string;
  readonly manifest: BundleManifest;
  /** When and where it was made; null where the file is not there. */
  readonly provenance: Readonly<Record<string, unknown>> | null;
}

export interface ModelList {
  readonly released: readonly ModelRow[];
  readonly registered: readonly RegisteredRow[];
}

/** The released models, and those of the registry; a registry that cannot be asked is a remark. */
export async function listModels({ cwd, reporter = silentReporter, signal }: UseCaseOptions): Promise<ModelList> {
  const released = await listReleased(cwd);
  try {
    return { released, registered: await listRegistered((await connectTracking(cwd)).registry, signal) };
  } catch (error) {
    const { code, message } = toServalError(error);
    reporter.warn(`${code}: ${message}`);
    return { released, registered: [] };
  }
}

export interface ShowModelOptions extends UseCaseOptions {
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: SERVAL_MODEL, else the released model. */
  readonly model?: string | undefined;
}

/** What a model is and where it comes from: a bundle; or, for `models:/NAME`, all versions of a registered model. */
export async function showModel(options: ShowModelOptions): Promise<(ShownModel & { readonly dir: string }) | RegisteredRow> {
  const { cwd, signal } = options;
  const [, registered] = /^models:\/+([^/@]+)$/.exec(options.model ?? "") ?? [];
  if (registered !== undefined) return await showRegistered((await connectTracking(cwd)).registry, registered, signal);
  const { dir } = await findModel(options.model ?? loadSettings().model ?? undefined, options);
  return { ...(await showBundle(dir)), dir: relative(cwd, dir) || "." };
}

/** Every bundle under models/; one that is damaged has its error in place of its facts. */
async function listReleased(cwd: string): Promise<ModelRow[]> {
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

async function showBundle(dir: string): Promise<ShownModel> {
  const bundle = await loadBundle(dir);
  const provenance = await readFile(join(bundle.dir, provenanceFile), "utf8").then(
    (text) => JSON.parse(text) as Record<string, unknown>,
    () => null,
  );
  return { version: shortDigest(bundle), digest: bundle.digest, manifest: bundle.manifest, provenance };
}

/** Every registered model with its versions. */
async function listRegistered(registry: RegistryClient, signal?: AbortSignal): Promise<RegisteredRow[]> {
  const rows: RegisteredRow[] = [];
  for (const model of await registry.listRegisteredModels(signal)) rows.push(await withVersions(registry, model, signal));
  return rows;
}

async function showRegistered(registry: RegistryClient, name: string, signal?: AbortSignal): Promise<RegisteredRow> {
  return await withVersions(registry, await findRegisteredModel(registry, name, signal), signal);
}

async function withVersions(registry: RegistryClient, { name, aliases }: RegisteredModel, signal?: AbortSignal): Promise<RegisteredRow> {
  return { registered: name, aliases, versions: await registry.listVersions(name, signal) };
}
