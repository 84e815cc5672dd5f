import { ServalError } from "../errors/serval-error.ts";
import type { RegistryClient } from "../tracking/client/registry-client.ts";
import type { Comparison } from "./compare.ts";
import { championAlias, findRegisteredModel, forcedTag, previousAlias, promotionTag, rollbackTag } from "./versions.ts";

/** Where the two aliases stand. */
export interface Standing {
  readonly champion: string | null;
  readonly previous: string | null;
}

export interface PromoteOptions {
  readonly registry: RegistryClient;
  readonly name: string;
  readonly version: string;
  /** The champion that the version is to follow, null where there was none: the one it was compared with. */
  readonly over: string | null;
  /** Null where there is no champion to compare with, or no data to compare on. */
  readonly comparison: Comparison | null;
  /** The pictures of the comparison; recorded with it. */
  readonly comparedOn?: "validation" | "data" | null;
  /** Why it is promoted against the comparison. */
  readonly reason?: string | undefined;
  readonly signal?: AbortSignal;
}

export async function readStanding(registry: RegistryClient, name: string, signal?: AbortSignal): Promise<Standing> {
  const { aliases } = await findRegisteredModel(registry, name, signal);
  return { champion: aliases[championAlias] ?? null, previous: aliases[previousAlias] ?? null };
}

/**
 * Makes a version the champion and keeps the old champion as `previous`. What it was judged by is recorded on the version
 * first. The registry has no transactions, so the order is what keeps it consistent: `previous` moves to the champion before
 * `champion` moves on. Cut off in between, the old champion is still the champion, and the same command finishes. Throws
 * E_PROMOTION_OVERTAKEN where the champion is not `over` any more.
 */
export async function promote({
  registry,
  name,
  version,
  over,
  comparison,
  comparedOn,
  reason,
  signal,
}: PromoteOptions): Promise<Standing> {
  const before = await readStanding(registry, name, signal);
  if (before.champion === version) return before;
  if (before.champion !== over) {
    const said = (champion: string | null): string => (champion === null ? "no version" : `version ${champion}`);
    throw new ServalError(
      "E_PROMOTION_OVERTAKEN",
      `Version ${version} of ${name} was not promoted: it was to follow ${said(over)}, and by now ${said(before.champion)} is the champion.`,
    );
  }
  const record = { at: new Date().toISOString(), over, ...(comparison && { comparedOn, ...summarize(comparison) }) };
  await registry.setVersionTag(name, version, { key: promotionTag, value: JSON.stringify(record) }, signal);
  if (reason !== undefined) await registry.setVersionTag(name, version, { key: forcedTag, value: reason }, signal);
  if (over !== null) await registry.setAlias(name, previousAlias, over, signal);
  await registry.setAlias(name, championAlias, version, signal);
  return { champion: version, previous: over };
}

/**
 * Makes the previous version the champion again; the two aliases change places. The champion moves first, because it is
 * what a service follows: cut off in between, both aliases point to the wanted version. Throws
 * E_REGISTRY_MISSING where there is nothing to go back to.
 */
export async function rollback(registry: RegistryClient, name: string, reason?: string, signal?: AbortSignal): Promise<Standing> {
  const { champion, previous } = await readStanding(registry, name, signal);
  if (previous === null || previous === champion) {
    const why = previous === null ? `no alias "${previousAlias}"` : `version ${previous} as both "${championAlias}" and "${previousAlias}"`;
    throw new ServalError("E_REGISTRY_MISSING", `There is nothing to go back to: "${name}" has ${why}.`, {
      hint: `Choose a version with \`serval models promote ${name}/N\`; \`serval models show models:/${name}\` lists them.`,
    });
  }
  await registry.setAlias(name, championAlias, previous, signal);
  if (champion !== null) {
    await registry.setAlias(name, previousAlias, champion, signal);
    const value = JSON.stringify({ at: new Date().toISOString(), ...(reason !== undefined && { reason }) });
    await registry.setVersionTag(name, champion, { key: rollbackTag, value }, signal);
  }
  return { champion: previous, previous: champion };
}

function summarize({ difference, interval, mcnemarP, images }: Comparison): object {
  return { difference, interval, mcnemarP, images };
}
