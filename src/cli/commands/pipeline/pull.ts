import { stateDirectory } from "../../../config/env.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { findTrackedOuts, selectOuts } from "../../../pipeline/dvc-files/tracked-outs.ts";
import { forEachRemote } from "../../../pipeline/remote/by-remote.ts";
import { pullOuts, type Pulled } from "../../../pipeline/remote/pull.ts";
import { listErrors, listPaths } from "../../../pipeline/remote/push.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import { addFollowLinkFlag, allowLinks, type FollowLinkFlag } from "../../follow-link.ts";
import { addRemoteFlags, formatBytes, remoteOptions, transferBar, type RemoteFlags } from "../../remote-options.ts";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(addRemoteFlags(command.argument("[TARGETS...]", "outs, .dvc files or stages (default: all)")))
    .option("-f, --force", "give up data in the workspace that the cache does not have")
    .option("--json", "print the result as JSON")
    .action(async (targets: string[], options: RemoteFlags & FollowLinkFlag & { force?: boolean; json?: boolean }) => {
      const output = context.output(options);
      await allowLinks(context.cwd, options);
      const outs = selectOuts(await findTrackedOuts(context.cwd), targets).filter(({ cached }) => cached);
      const results: Pulled[] = [];
      await withCache(context, stateDirectory(), output, async (cache) => {
        const onRemotes = outs.filter(({ pushed }) => pushed);
        await forEachRemote(cache.config, onRemotes, remoteOptions(options, context.signal), async (link, group) => {
          const bar = transferBar(output, "Pulling");
          try {
            results.push(await pullOuts(cache, link, group, { force: options.force, onTransfer: bar.onTransfer }));
          } finally {
            bar.end();
          }
        });
        // `push: false`: no remote has it, so it is no error where this cache has not either.
        for (const out of outs) if (!out.pushed) await cache.restore(out, options);
      });
      const lines = results.map(({ remote, objects, bytes, restored }) => {
        const fetched = objects === 0 ? "everything was in the cache" : `fetched ${objects} files, ${formatBytes(bytes)}`;
        return `${remote}: ${fetched}; ${restored.length} outs are in the workspace.`;
      });
      output.result(
        results.map(({ corrupt, ...result }) => ({ ...result, corrupt: corrupt.map(({ message }) => message) })),
        lines.length === 0 ? "There is nothing to pull." : lines.join("\n"),
      );
      const corrupt = results.flatMap((result) => result.corrupt);
      if (corrupt.length > 0) throw listErrors("E_REMOTE_CORRUPT", corrupt);
      for (const { remote, url, missing } of results) {
        if (missing.length > 0)
          throw new ServalError(
            "E_REMOTE_MISSING",
            `${listPaths(missing)}: the remote "${remote}" (${url}) does not have all of the recorded version.`,
          );
      }
    });
};
