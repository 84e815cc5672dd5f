import { formatBytes } from "../../../workflows/format-bytes.ts";
import { pushData } from "../../../workflows/pipeline/push-data.ts";
import type { Configure } from "../../command.ts";
import { addRemoteFlags, type RemoteFlags } from "../../options/remote.ts";

export const configure: Configure = (command, context) => {
  addRemoteFlags(command.argument("[TARGETS...]", "outs, .dvc files or stages (default: all)"))
    .option("--json", "print the result as JSON")
    .action(async (targets: string[], { remote, jobs, json }: RemoteFlags & { json?: boolean }) => {
      const output = context.output({ json });
      const results = await pushData({ cwd: context.cwd, targets, remote, jobs, reporter: output, signal: context.signal });
      const lines = results.map(({ remote: name, objects, bytes, present }) =>
        objects === 0
          ? `${name}: everything is already there (${present} files).`
          : `${name}: pushed ${objects} files, ${formatBytes(bytes)}; ${present} were there already.`,
      );
      output.result(results, lines.length === 0 ? "There is nothing to push." : lines.join("\n"));
    });
};
