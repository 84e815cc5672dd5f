import { stateDirectory } from "../../../config/env.ts";
import { findTrackedOuts, selectOuts } from "../../../pipeline/dvc-files/tracked-outs.ts";
import { forEachRemote } from "../../../pipeline/remote/by-remote.ts";
import { pushOuts, type Transferred } from "../../../pipeline/remote/push.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import { addRemoteFlags, formatBytes, remoteOptions, transferBar, type RemoteFlags } from "../../remote-options.ts";

export const configure: Configure = (command, context) => {
  addRemoteFlags(command.argument("[TARGETS...]", "outs, .dvc files or stages (default: all)"))
    .option("--json", "print the result as JSON")
    .action(async (targets: string[], options: RemoteFlags & { json?: boolean }) => {
      const output = context.output(options);
      const outs = selectOuts(await findTrackedOuts(context.cwd), targets).filter(({ cached, pushed }) => cached && pushed);
      const results: Transferred[] = [];
      await withCache(context, stateDirectory(), output, (cache) =>
        forEachRemote(cache.config, outs, remoteOptions(options, context.signal), async (link, group) => {
          const bar = transferBar(output, "Pushing");
          try {
            results.push(await pushOuts(context.cwd, cache, link, group, bar.onTransfer));
          } finally {
            bar.end();
          }
        }),
      );
      const lines = results.map(({ remote, objects, bytes, present }) =>
        objects === 0
          ? `${remote}: everything is there already (${present} files).`
          : `${remote}: pushed ${objects} files, ${formatBytes(bytes)}; ${present} were there already.`,
      );
      output.result(results, lines.length === 0 ? "There is nothing to push." : lines.join("\n"));
    });
};
