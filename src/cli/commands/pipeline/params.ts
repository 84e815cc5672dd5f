import { changesToJson } from "../../../pipeline/history/compare.ts";
import { show } from "../../../pipeline/run/changes.ts";
import { compareParams } from "../../../workflows/pipeline/compare-versions.ts";
import type { Configure } from "../../command.ts";
import { renderTable } from "../../describe/table.ts";

export const configure: Configure = (command, context) => {
  command
    .command("diff")
    .description("Show the parameters that differ between a commit and the workspace, or between two commits.")
    .argument("[OLD]", "branch, tag or commit", "HEAD")
    .argument("[NEW]", "branch, tag or commit (default: the workspace)")
    .option("--json", "print what `dvc params diff --json` prints")
    .action(async (old: string, now: string | undefined, options: { json?: boolean }) => {
      const output = context.output(options);
      const { changes } = await compareParams({ cwd: context.cwd, old, now, reporter: output, signal: context.signal });
      const rows = [...changes].flatMap(([path, list]) => list.map(({ key, old: a, new: b }) => [path, key, show(a), show(b)]));
      const head = ["file", "parameter", old, now ?? "workspace"];
      output.result(changesToJson(changes), rows.length === 0 ? "No parameter differs." : renderTable([head, ...rows]));
    });
};
