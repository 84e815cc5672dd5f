import { ServalError } from "../../errors/serval-error.ts";
import type { OutputCache } from "../../pipeline/cache/output-cache.ts";
import { isWithin } from "../../pipeline/dvc-files/dvc-config.ts";
import { withRemote } from "../../pipeline/remote/by-remote.ts";
import {
  findCacheGarbage,
  findRemoteGarbage,
  findUsedObjects,
  findUsedOuts,
  removeFromCache,
  removeFromRemote,
  type Garbage,
} from "../../pipeline/remote/collect-garbage.ts";
import type { RemoteLink } from "../../pipeline/remote/link.ts";
import { findRemote } from "../../pipeline/remote/open-remote.ts";
import { withCache } from "../data-cache.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { remoteOptions, type RemoteChoice } from "./remote-options.ts";

export interface RemoveGarbageOptions extends UseCaseOptions, RemoteChoice {
  /** Keeps what the last commit of each branch needs, besides what the workspace needs. */
  readonly allBranches?: boolean | undefined;
  /** Keeps what each tag needs. */
  readonly allTags?: boolean | undefined;
  /** Keeps what any commit needs. */
  readonly allCommits?: boolean | undefined;
  /** Removes it from the remote as well. */
  readonly cloud?: boolean | undefined;
  /** Removes nothing. */
  readonly dry?: boolean | undefined;
}

export interface GarbageReport {
  readonly cache: Garbage;
  /** Null where no remote was asked for. */
  readonly remote: (Garbage & { readonly name: string; readonly url: string }) | null;
}

/** Removes data that no version needs from the cache, and from a remote on request. Throws E_GC_UNSURE where that cannot be told. */
export async function removeGarbage(options: RemoveGarbageOptions): Promise<GarbageReport> {
  return await withCache(options, async (cache) => await collect(cache, options));
}

async function collect(cache: OutputCache, options: RemoveGarbageOptions): Promise<GarbageReport> {
  const { cwd, cloud = false, dry = false, reporter = silentReporter, signal } = options;
  const outs = await findUsedOuts(cwd, options);
  const shared = remoteOptions(options, signal);
  const names = new Set([options.remote ?? cache.config.defaultRemote, ...outs.map(({ remote }) => remote)]);
  const used = await withRemotes(
    cache,
    [...names].filter((name) => name !== undefined),
    shared,
    (links) => findUsedObjects(cache, outs, links),
  );
  const local = findCacheGarbage(cache, used);
  if (!dry) refuseForeignPlaces(cwd, cache, options);
  let remote: GarbageReport["remote"] = null;
  if (cloud) {
    // The remote first: should it fail, the cache still has what the next try needs to know.
    await withRemote(cache.config, shared, async (link) => {
      const garbage = await findRemoteGarbage(link, used);
      const bar = reporter.progress("Removing", garbage.unused.length, "files");
      if (!dry) await removeFromRemote(link, garbage, (done) => bar.update(done));
      bar.end();
      remote = { ...garbage, name: link.remote.name, url: link.remote.url };
    });
  }
  if (!dry) removeFromCache(cache, local);
  return { cache: local, remote };
}

/**
 * A cache or remote that only .dvc/config names may belong to others, to which a repository was made to point. What is
 * in the repository, or in .dvc/config.local, is the user's own. Throws E_GC_UNSURE.
 */
function refuseForeignPlaces(root: string, { config }: OutputCache, { cloud, remote: name }: RemoveGarbageOptions): void {
  const refuse = (what: string, lines: string): ServalError =>
    new ServalError("E_GC_UNSURE", `Only .dvc/config, which comes with the repository, says that ${what}.`, {
      hint: `If no other repository uses it, say so in .dvc/config.local: ${lines}. Then run the same command again.`,
    });
  if (!config.cacheIsOwn) throw refuse(`the cache is "${config.cacheDir}"`, `[cache], and below it: dir = ${config.cacheDir}`);
  if (!cloud) return;
  const remote = findRemote(config, name);
  if (remote.isOwn || isWithin(remote.url, root)) return;
  throw refuse(`the remote "${remote.name}" is "${remote.url}"`, `['remote "${remote.name}"'], and below it: url = ${remote.url}`);
}

async function withRemotes<T>(
  cache: OutputCache,
  names: readonly string[],
  options: ReturnType<typeof remoteOptions>,
  use: (links: readonly RemoteLink[]) => Promise<T>,
): Promise<T> {
  const open = async (rest: readonly string[], links: readonly RemoteLink[]): Promise<T> => {
    const [remote, ...others] = rest;
    if (remote === undefined) return await use(links);
    return await withRemote(cache.config, { ...options, remote }, (link) => open(others, [...links, link]));
  };
  return await open(names, []);
}
