import { stateDirectory } from "../../../config/env.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import type { OutputCache } from "../../../pipeline/cache/output-cache.ts";
import { isWithin } from "../../../pipeline/dvc-files/dvc-config.ts";
import { withRemote } from "../../../pipeline/remote/by-remote.ts";
import { findRemote } from "../../../pipeline/remote/open-remote.ts";
import {
  findCacheGarbage,
  findRemoteGarbage,
  findUsedObjects,
  findUsedOuts,
  removeFromCache,
  removeFromRemote,
  type Garbage,
} from "../../../pipeline/remote/collect-garbage.ts";
import type { RemoteLink } from "../../../pipeline/remote/link.ts";
import type { CommandContext, Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import type { Output } from "../../output.ts";
import { addRemoteFlags, formatBytes, remoteOptions, type RemoteFlags } from "../../remote-options.ts";

interface GcOptions extends RemoteFlags {
  readonly workspace?: boolean;
  readonly allBranches?: boolean;
  readonly allTags?: boolean;
  readonly allCommits?: boolean;
  readonly cloud?: boolean;
  readonly dry?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addRemoteFlags(
    command
      .option("-w, --workspace", "keep what the workspace needs (the other three keep that as well)")
      .option("-a, --all-branches", "keep what the last commit of each branch needs")
      .option("-T, --all-tags", "keep what each tag needs")
      .option("-A, --all-commits", "keep what any commit needs")
      .option("-c, --cloud", "remove it from the remote as well"),
  )
    .option("--dry", "say what would be removed, and remove nothing")
    .option("-f, --force", "remove it: without this (or --dry) nothing happens")
    .option("--json", "print the result as JSON")
    .action(async (options: GcOptions) => {
      checkOptions(options);
      const output = context.output(options);
      await withCache(context, stateDirectory(), output, (cache) => collect(context, cache, options, output));
    });
};

function checkOptions({ workspace, allBranches, allTags, allCommits, cloud, remote, dry, force }: GcOptions): void {
  const scopes = "--workspace, --all-branches, --all-tags or --all-commits";
  if (![workspace, allBranches, allTags, allCommits].includes(true)) {
    throw new ServalError("E_USAGE", `Which versions of the data are to stay is not said: expected some of ${scopes}.`, {
      hint: "`serval gc --all-branches --all-tags --dry` shows what would go.",
    });
  }
  if (remote !== undefined && cloud !== true) throw new ServalError("E_USAGE", "--remote says where --cloud removes data: expected both.");
  if (dry !== true && force !== true) {
    throw new ServalError("E_USAGE", "What is removed is gone for good: expected --force, or --dry to see it first.", {
      hint: "Run the same command with --dry, then with --force.",
    });
  }
}

async function collect(context: CommandContext, cache: OutputCache, options: GcOptions, output: Output): Promise<void> {
  const outs = await findUsedOuts(context.cwd, options);
  const shared = remoteOptions(options, context.signal);
  const names = new Set([options.remote ?? cache.config.defaultRemote, ...outs.map(({ remote }) => remote)]);
  const used = await withRemotes(
    cache,
    [...names].filter((name) => name !== undefined),
    shared,
    (links) => findUsedObjects(cache, outs, links),
  );
  const local = findCacheGarbage(cache, used);
  const remove = options.dry !== true;
  if (remove) refuseForeignPlaces(context.cwd, cache, options);
  const result: Record<string, unknown> = { dry: !remove, cache: describe(local) };
  const lines = [summarize("The cache", local, remove)];
  if (options.cloud === true) {
    // The remote first: should it fail, the cache still has what the next try needs to know.
    await withRemote(cache.config, shared, async (link) => {
      const garbage = await findRemoteGarbage(link, used);
      const bar = output.progress("Removing", garbage.unused.length, "files");
      if (remove) await removeFromRemote(link, garbage, (done) => bar.update(done));
      bar.end();
      result["remote"] = { name: link.remote.name, url: link.remote.url, ...describe(garbage) };
      lines.push(summarize(`The remote ${link.remote.name}`, garbage, remove));
    });
  }
  if (remove) removeFromCache(cache, local);
  output.result(result, lines.join("\n"));
}

/**
 * A cache or remote that only .dvc/config names may be that of somebody else, to which a repository was made to point. What is
 * in the repository, or in .dvc/config.local, is the user's own. Throws E_GC_UNSURE.
 */
function refuseForeignPlaces(root: string, { config }: OutputCache, { cloud, remote: name }: GcOptions): void {
  const refuse = (what: string, lines: string): ServalError =>
    new ServalError("E_GC_UNSURE", `Only .dvc/config, which comes with the repository, says that ${what}.`, {
      hint: `If no other repository uses it, say so in .dvc/config.local: ${lines}. Then run the same command again.`,
    });
  if (!config.cacheIsOwn) throw refuse(`the cache is "${config.cacheDir}"`, `[cache], and below it: dir = ${config.cacheDir}`);
  if (cloud !== true) return;
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

function describe({ unused, kept, bytes }: Garbage): { kept: number; bytes: number; removed: string[] } {
  return { kept, bytes, removed: unused.map(({ md5 }) => md5) };
}

function summarize(where: string, { unused, kept, bytes }: Garbage, removed: boolean): string {
  if (unused.length === 0) return `${where} holds nothing that is not needed (${kept} files).`;
  return `${where}: ${removed ? "removed" : "would remove"} ${unused.length} files, ${formatBytes(bytes)}; ${kept} stay.`;
}
