import { formatBytes } from "../../../workflows/format-bytes.ts";
import { findPullFailure, pullData } from "../../../workflows/pipeline/pull-data.ts";
import type { Configure } from "../../command.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";
import { addRemoteFlags, type RemoteFlags } from "../../options/remote.ts";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(addRemoteFlags(command.argument("[TARGETS...]", "outs, .dvc files or stages (default: all)")))
    .option("-f, --force", "discard data in the workspace that is not in the cache")
    .option("--json", "print the result as JSON")
    .action(async (targets: string[], { json, ...flags }: RemoteFlags & FollowLinkFlag & { force?: boolean; json?: boolean }) => {
      const output = context.output({ json });
      const results = await pullData({ cwd: context.cwd, targets, ...flags, reporter: output, signal: context.signal });
      const lines = results.map(({ remote, objects, bytes, restored }) => {
        const fetched = objects === 0 ? "everything was in the cache" : `fetched ${objects} files, ${formatBytes(bytes)}`;
        return `${remote}: ${fetched}; ${restored.length} outs are in the workspace.`;
      });
      output.result(
        results.map(({ corrupt, ...result }) => ({ ...result, corrupt: corrupt.map(({ message }) => message) })),
        lines.length === 0 ? "There is nothing to pull." : lines.join("\n"),
      );
      const failure = findPullFailure(results);
      if (failure) throw failure;
    });
};
