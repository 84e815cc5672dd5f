import { rmSync } from "node:fs";
import { join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { objectPath } from "../cache/file-work.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import { findOutsInHistory, type HistoryScope, type OutInHistory } from "../history/outs-in-history.ts";
import { findTrackedOuts, type TrackedOut } from "../dvc-files/tracked-outs.ts";
import { fetchObjects } from "./fetch.ts";
import type { RemoteLink } from "./link.ts";
import { listObjects } from "./list-objects.ts";
import type { RemoteObject } from "./remote.ts";
import { firstOf } from "../../text.ts";

export interface Garbage {
  readonly unused: readonly RemoteObject[];
  readonly kept: number;
  readonly bytes: number;
}

/** What the workspace, and the chosen commits, version as data. Throws E_DVC_FILE, E_GC_UNSURE. */
export async function findUsedOuts(root: string, scope: HistoryScope): Promise<(TrackedOut | OutInHistory)[]> {
  return [...(await findTrackedOuts(root)), ...(await findOutsInHistory(root, scope))].filter(({ cached }) => cached);
}

/**
 * The objects that the outs need. A folder whose manifest the cache lacks is asked for from the remotes; throws E_GC_UNSURE
 * where none of them has it either, because needed objects cannot be told from unneeded ones.
 */
export async function findUsedObjects(
  cache: OutputCache,
  outs: readonly (TrackedOut | OutInHistory)[],
  links: readonly RemoteLink[],
): Promise<Set<string>> {
  const folders = new Map(outs.filter(({ md5 }) => md5.endsWith(".dir")).map((out) => [out.md5, out]));
  for (const link of links) {
    const lacking = [...folders.keys()].filter((md5) => cache.entries(md5) === null);
    if (lacking.length > 0) await fetchObjects(cache, link, lacking, { nameOf: (md5) => folders.get(md5)?.path ?? md5 });
  }
  const used = new Set(outs.map(({ md5 }) => md5));
  const unknown: string[] = [];
  for (const [md5, out] of folders) {
    const entries = cache.entries(md5);
    if (entries === null)
      unknown.push(`"${out.path}" ${"commit" in out ? `of commit ${out.commit.slice(0, 12)}` : "of the workspace"} (${md5})`);
    for (const entry of entries ?? []) used.add(entry.md5);
  }
  if (unknown.length > 0) {
    throw new ServalError("E_GC_UNSURE", `Neither the cache nor a remote has the list of files of\n  ${firstOf(unknown, 5, "\n  ")}`, {
      details: { unknown },
    });
  }
  return used;
}

/** The objects of the cache that are not in `used`. */
export function findCacheGarbage(cache: OutputCache, used: ReadonlySet<string>): Garbage {
  const objects = join(cache.config.cacheDir, "files/md5");
  return sortOut(listObjects(objects, ""), used);
}

export async function findRemoteGarbage(link: RemoteLink, used: ReadonlySet<string>): Promise<Garbage> {
  return sortOut(await link.attempt("list", "", (request) => link.remote.list("", request)), used);
}

export function removeFromCache(cache: OutputCache, garbage: Garbage): void {
  const objects = join(cache.config.cacheDir, "files/md5");
  for (const { md5 } of garbage.unused) rmSync(objectPath(objects, md5), { force: true });
}

/** Manifests go first: a remote never shows a folder that it cannot deliver. */
export async function removeFromRemote(link: RemoteLink, garbage: Garbage, onProgress: (done: number) => void): Promise<void> {
  let done = 0;
  const remove = async ({ md5 }: RemoteObject): Promise<void> => {
    await link.attempt("remove", md5, (request) => link.remote.remove(md5, request));
    onProgress(++done);
  };
  const isManifest = ({ md5 }: RemoteObject): boolean => md5.endsWith(".dir");
  await link.each(garbage.unused.filter(isManifest), remove);
  await link.each(
    garbage.unused.filter((object) => !isManifest(object)),
    remove,
  );
}

function sortOut(objects: readonly RemoteObject[], used: ReadonlySet<string>): Garbage {
  // Manifests first, as they are to be removed.
  const rank = ({ md5 }: RemoteObject): string => (md5.endsWith(".dir") ? `0${md5}` : `1${md5}`);
  const unused = objects.filter(({ md5 }) => !used.has(md5)).sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  return { unused, kept: objects.length - unused.length, bytes: unused.reduce((sum, { size }) => sum + size, 0) };
}
