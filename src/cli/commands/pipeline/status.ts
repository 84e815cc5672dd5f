import { readPipelineStatus } from "../../../workflows/pipeline/read-pipeline-status.ts";
import type { Configure } from "../../command.ts";

export const configure: Configure = (command, context) => {
  command
    .argument("[TARGETS...]", "stages, dvc.yaml files, outs or .dvc files (default: all)")
    .option("--json", "print what `dvc status --json` prints")
    .action(async (targets: string[], options: { json?: boolean }) => {
      const output = context.output(options);
      const status = await readPipelineStatus({ cwd: context.cwd, targets, reporter: output, signal: context.signal });
      const lines = [...status.reasons].flatMap(([name, list]) => [`${name}:`, ...list.map((reason) => `  ${reason}`)]);
      const summary =
        status.checked === 0
          ? "Nothing is versioned here yet: `serval add PATH` for data, `serval init` for a pipeline."
          : lines.length === 0
            ? "Data and pipeline are up to date."
            : "`serval repro` brings the pipeline up to date; `serval checkout` brings recorded data back.";
      output.result(status.changed, [...lines, summary].join("\n"));
    });
};
