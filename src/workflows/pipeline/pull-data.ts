import { ServalError } from "../../errors/serval-error.ts";
import { findTrackedOuts, selectOuts } from "../../pipeline/dvc-files/tracked-outs.ts";
import { forEachRemote } from "../../pipeline/remote/by-remote.ts";
import { pullOuts, type Pulled } from "../../pipeline/remote/pull.ts";
import { listErrors, listPaths } from "../../pipeline/remote/push.ts";
import { withCache } from "../data-cache.ts";
import { allowLinks } from "../guard-folders.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { remoteOptions, transferBar, type RemoteChoice } from "./remote-options.ts";

export interface PullDataOptions extends UseCaseOptions, RemoteChoice {
  /** Outs, .dvc files or stages. Default: all. */
  readonly targets?: readonly string[] | undefined;
  /** Gives up data in the workspace that the cache does not have. */
  readonly force?: boolean | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

/** Brings the recorded version of the data into the workspace: one result for each remote that it came from. `findPullFailure` says what was not delivered. */
export async function pullData(options: PullDataOptions): Promise<Pulled[]> {
  const { cwd, targets = [], force, followLink = [], reporter = silentReporter, signal } = options;
  await allowLinks(cwd, followLink);
  const outs = selectOuts(await findTrackedOuts(cwd), targets).filter(({ cached }) => cached);
  const results: Pulled[] = [];
  await withCache(options, async (cache) => {
    const onRemotes = outs.filter(({ pushed }) => pushed);
    await forEachRemote(cache.config, onRemotes, remoteOptions(options, signal), async (link, group) => {
      const bar = transferBar(reporter, "Pulling");
      try {
        results.push(await pullOuts(cache, link, group, { force, onTransfer: bar.onTransfer }));
      } finally {
        bar.end();
      }
    });
    // `push: false`: no remote has it, so it is not an error where this cache does not have it either.
    for (const out of outs) if (!out.pushed) await cache.restore(out, { force });
  });
  return results;
}

/** What was not delivered, as an error: E_REMOTE_CORRUPT or E_REMOTE_MISSING. */
export function findPullFailure(results: readonly Pulled[]): ServalError | undefined {
  const corrupt = results.flatMap((result) => result.corrupt);
  if (corrupt.length > 0) return listErrors("E_REMOTE_CORRUPT", corrupt);
  const [lacking] = results.filter(({ missing }) => missing.length > 0);
  if (lacking === undefined) return undefined;
  const { remote, url, missing } = lacking;
  return new ServalError(
    "E_REMOTE_MISSING",
    `${listPaths(missing)}: the remote "${remote}" (${url}) does not have all of the recorded version.`,
  );
}
