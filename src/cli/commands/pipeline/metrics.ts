import { toPlain } from "../../../pipeline/dvc-files/yaml-values.ts";
import { changesToJson } from "../../../pipeline/history/compare.ts";
import { compareMetrics, readMetrics } from "../../../workflows/pipeline/compare-versions.ts";
import type { Configure } from "../../command.ts";
import { describeMetricChanges, describeMetrics } from "../../describe/metrics.ts";

export const configure: Configure = (command, context) => {
  command
    .command("show")
    .description("Show the metrics of the workspace, or of a commit.")
    .argument("[REVISION]", "branch, tag or commit (default: the workspace)")
    .option("--json", "print the values by file as JSON")
    .action(async (revision: string | undefined, options: { json?: boolean }) => {
      const output = context.output(options);
      const files = await readMetrics({ cwd: context.cwd, revision, reporter: output, signal: context.signal });
      const data = Object.fromEntries([...files].map(([path, values]) => [path, toPlain(values)]));
      output.result(data, describeMetrics(files, revision ?? "workspace"));
    });
  command
    .command("diff")
    .description("Compare the metrics of a commit with the workspace, or with another commit.")
    .argument("[OLD]", "branch, tag or commit", "HEAD")
    .argument("[NEW]", "branch, tag or commit (default: the workspace)")
    .option("--all", "show metrics that are equal as well")
    .option("--json", "print what `dvc metrics diff --json` prints")
    .action(async (old: string, now: string | undefined, { all = false, json }: { all?: boolean; json?: boolean }) => {
      const output = context.output({ json });
      const compared = await compareMetrics({ cwd: context.cwd, old, now, reporter: output, signal: context.signal });
      output.result(changesToJson(compared.changes), describeMetricChanges(compared, { old, now: now ?? "workspace", all }));
    });
};
