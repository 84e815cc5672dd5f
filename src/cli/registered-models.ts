import { accuracyTag, digestTag, findRegisteredModel, forcedTag, promotionTag, rollbackTag } from "../registry/versions.ts";
import type { RegistryClient } from "../tracking/client/registry-client.ts";
import type { ModelVersion, RegisteredModel } from "../tracking/client/wire.ts";
import { renderTable } from "./table.ts";

/** A registered model as `serval models list` and `show` give it. */
export interface RegisteredRow {
  /** Name in the registry. */
  readonly registered: string;
  readonly aliases: Readonly<Record<string, string>>;
  /** Newest first. */
  readonly versions: readonly ModelVersion[];
}

/** Every registered model with its versions. */
export async function listRegistered(registry: RegistryClient, signal: AbortSignal): Promise<RegisteredRow[]> {
  const rows: RegisteredRow[] = [];
  for (const model of await registry.listRegisteredModels(signal)) rows.push(await withVersions(registry, model, signal));
  return rows;
}

export async function showRegistered(registry: RegistryClient, name: string, signal: AbortSignal): Promise<RegisteredRow> {
  return await withVersions(registry, await findRegisteredModel(registry, name, signal), signal);
}

async function withVersions(registry: RegistryClient, { name, aliases }: RegisteredModel, signal: AbortSignal): Promise<RegisteredRow> {
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
      tags[accuracyTag] === undefined ? "" : Number(tags[accuracyTag]).toFixed(4),
      minute(new Date(createdAt).toISOString()),
      minute(readRecord(tags[promotionTag]).at),
      remarks(tags),
    ]),
  ]);
  return versions.length === 0 ? `${registered} has no version yet.` : `${registered}\n${table}`;
}

function remarks(tags: ModelVersion["tags"]): string {
  const { at, reason } = readRecord(tags[rollbackTag]);
  const forced = tags[forcedTag] === undefined ? [] : [`forced: ${tags[forcedTag]}`];
  const left = at === undefined ? [] : [`rolled back: ${reason ?? minute(at)}`];
  return [...forced, ...left].join("; ");
}

/** A tag that holds JSON; whoever edits it by hand on the server's page loses no more than the remark. */
function readRecord(text: string | undefined): { readonly at?: string; readonly reason?: string } {
  try {
    return JSON.parse(text ?? "{}") as { at?: string; reason?: string };
  } catch {
    return {};
  }
}

function minute(iso: string = ""): string {
  return iso.slice(0, 16).replace("T", " ");
}

function describeAliases(aliases: Readonly<Record<string, string>>): string {
  const names = Object.keys(aliases).sort();
  return names.map((alias) => `${alias}: ${aliases[alias]}`).join(", ");
}
