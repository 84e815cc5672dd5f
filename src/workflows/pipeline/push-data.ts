import { findTrackedOuts, selectOuts } from "../../pipeline/dvc-files/tracked-outs.ts";
import { forEachRemote } from "../../pipeline/remote/by-remote.ts";
import { pushOuts, type Transferred } from "../../pipeline/remote/push.ts";
import { withCache } from "../data-cache.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { remoteOptions, transferBar, type RemoteChoice } from "./remote-options.ts";

export interface PushDataOptions extends UseCaseOptions, RemoteChoice {
  /** Outs, .dvc files or stages. Default: all. */
  readonly targets?: readonly string[] | undefined;
}

/** Brings data from the cache to its remotes: one result for each. */
export async function pushData(options: PushDataOptions): Promise<Transferred[]> {
  const { cwd, targets = [], reporter = silentReporter, signal } = options;
  const outs = selectOuts(await findTrackedOuts(cwd), targets).filter(({ cached, pushed }) => cached && pushed);
  const results: Transferred[] = [];
  await withCache(options, (cache) =>
    forEachRemote(cache.config, outs, remoteOptions(options, signal), async (link, group) => {
      const bar = transferBar(reporter, "Pushing");
      try {
        results.push(await pushOuts(cwd, cache, link, group, bar.onTransfer));
      } finally {
        bar.end();
      }
    }),
  );
  return results;
}
