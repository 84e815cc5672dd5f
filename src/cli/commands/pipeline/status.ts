import { stateDirectory } from "../../../config/env.ts";
import { readStatus } from "../../../pipeline/run/status.ts";
import { loadWorkspace } from "../../../pipeline/run/workspace.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";

export const configure: Configure = (command, context) => {
  command
    .argument("[TARGETS...]", "stages, dvc.yaml files, outs or .dvc files (default: all)")
    .option("--json", "print what `dvc status --json` prints")
    .action(async (targets: string[], options: { json?: boolean }) => {
      const output = context.output(options);
      const workspace = await loadWorkspace(context.cwd);
      const { changed, reasons, checked } = await withCache(context, stateDirectory(), output, (cache) =>
        readStatus(workspace, cache, targets),
      );
      const lines = [...reasons].flatMap(([name, list]) => [`${name}:`, ...list.map((reason) => `  ${reason}`)]);
      const summary =
        checked === 0
          ? "Nothing is versioned here yet: `serval add PATH` for data, `serval init` for a pipeline."
          : lines.length === 0
            ? "Data and pipeline are up to date."
            : "`serval repro` brings the pipeline up to date; `serval checkout` brings recorded data back.";
      output.result(changed, [...lines, summary].join("\n"));
    });
};
