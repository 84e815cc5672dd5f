import { relative } from "node:path";
import type { Settings } from "../config/settings.ts";
import { ServalError } from "../errors.ts";
import { registerBundle } from "../registry/register.ts";
import { digestTag, findRegisteredModel } from "../registry/versions.ts";
import type { ModelVersion, RegisteredModel } from "../tracking/client/registry-client.ts";
import { loadServedModel } from "../serve/served-model.ts";
import { connectRegistry, findModel } from "./find-model.ts";
import type { Output } from "./output.ts";
import { renderTable } from "./table.ts";

/** A registered model as `serval models list` and `show` give it. */
export interface RegisteredRow {
  /** Name in the registry. */
  readonly registered: string;
  readonly aliases: Readonly<Record<string, string>>;
  /** Newest first. */
  readonly versions: readonly ModelVersion[];
}

export interface RegisterReport {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  /** False where this bundle is a version already. */
  readonly created: boolean;
  /** The run that made it, on the server; null where the server does not know. */
  readonly runId: string | null;
  readonly page: string;
}

/** Makes a bundle whose known-answer images pass a version of a registered model. */
export async function registerModel(
  { cwd, settings, bundle: path, name }: { cwd: string; settings: Settings; bundle: string; name?: string | undefined },
  output: Output,
  signal: AbortSignal,
): Promise<RegisterReport> {
  const { tracking, registry } = connectRegistry(settings);
  const { dir } = await findModel(path, cwd, output, signal);
  const served = await loadServedModel(dir);
  await served.close();
  const { bundle } = served;
  if (bundle.manifest.checks.length === 0) {
    throw new ServalError("E_BUNDLE_CHECKS", `${relative(cwd, dir)} holds no check images, so nothing shows that it works.`);
  }
  const progress = output.progress("Uploading", Object.keys(bundle.manifest.files).length, "files");
  const onProgress = (done: number): void => progress.update(done);
  const { version, created } = await registerBundle({
    tracking,
    registry,
    bundle,
    name: name ?? bundle.manifest.name,
    signal,
    onProgress,
  }).finally(() => progress.end());
  return {
    name: version.name,
    version: version.version,
    digest: bundle.digest,
    created,
    runId: version.runId,
    page: registry.pageOfVersion(version.name, version.version),
  };
}

export function describeRegistered({ name, version, digest, created, page }: RegisterReport): string {
  const which = `version ${version} of ${name} (bundle ${digest.slice(0, 12)})`;
  return [
    created ? `Registered ${which}: ${page}` : `This bundle is ${which} already: ${page}`,
    `Next: serval models promote ${name} --version ${version}`,
  ].join("\n");
}

/** Every registered model with its versions. */
export async function listRegistered(settings: Settings, signal: AbortSignal): Promise<RegisteredRow[]> {
  const { registry } = connectRegistry(settings);
  const rows: RegisteredRow[] = [];
  for (const model of await registry.listRegisteredModels(signal)) rows.push(await withVersions(settings, model, signal));
  return rows;
}

export async function showRegistered(settings: Settings, name: string, signal: AbortSignal): Promise<RegisteredRow> {
  const { registry } = connectRegistry(settings);
  return await withVersions(settings, await findRegisteredModel(registry, name, signal), signal);
}

async function withVersions(settings: Settings, { name, aliases }: RegisteredModel, signal: AbortSignal): Promise<RegisteredRow> {
  const { registry } = connectRegistry(settings);
  return { registered: name, aliases, versions: await registry.listVersions(name, signal) };
}

/** One line a model. */
export function describeRegisteredList(rows: readonly RegisteredRow[]): string {
  return renderTable([
    ["registered", "newest", "aliases"],
    ...rows.map(({ registered, aliases, versions }) => [registered, versions[0]?.version ?? "", describeAliases(aliases)]),
  ]);
}

/** One line a version. */
export function describeVersions({ registered, aliases, versions }: RegisteredRow): string {
  const table = renderTable([
    ["version", "aliases", "bundle", "accuracy", "registered", "promoted", "remark"],
    ...versions.map(({ version, tags, createdAt }) => [
      version,
      Object.keys(aliases)
        .filter((alias) => aliases[alias] === version)
        .sort()
        .join(", "),
      tags[digestTag]?.slice(0, 12) ?? "(not Serval's)",
      tags["serval.accuracy"] === undefined ? "" : Number(tags["serval.accuracy"]).toFixed(4),
      minute(new Date(createdAt).toISOString()),
      minute(tags["serval.promoted_at"] ?? ""),
      [
        tags["serval.forced_reason"] !== undefined && `forced: ${tags["serval.forced_reason"]}`,
        tags["serval.rolled_back_at"] !== undefined &&
          `rolled back: ${tags["serval.rolled_back_reason"] ?? minute(tags["serval.rolled_back_at"])}`,
      ]
        .filter(Boolean)
        .join("; "),
    ]),
  ]);
  return versions.length === 0 ? `${registered} has no version yet.` : `${registered}\n${table}`;
}

function minute(iso: string): string {
  return iso.slice(0, 16).replace("T", " ");
}

function describeAliases(aliases: Readonly<Record<string, string>>): string {
  const names = Object.keys(aliases).sort();
  return names.map((alias) => `${alias}: ${aliases[alias]}`).join(", ");
}
