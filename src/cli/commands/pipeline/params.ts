import { stateDirectory } from "../../../config/env.ts";
import { show } from "../../../pipeline/run/changes.ts";
import { changesToJson, compareValues, readParamFiles } from "../../../pipeline/history/compare.ts";
import { commitVersion, workspaceVersion } from "../../../pipeline/history/versions.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import { renderTable } from "../../table.ts";

export const configure: Configure = (command, context) => {
  command
    .command("diff")
    .description("Show the parameters that differ between a commit and the workspace, or between two commits.")
    .argument("[OLD]", "branch, tag or commit", "HEAD")
    .argument("[NEW]", "branch, tag or commit (default: the workspace)")
    .option("--json", "print what `dvc params diff --json` prints")
    .action(async (old: string, now: string | undefined, options: { json?: boolean }) => {
      const output = context.output(options);
      const changes = await withCache(context, stateDirectory(), output, async (cache) => {
        const [before, after] = [
          await commitVersion(context.cwd, old, cache),
          now === undefined ? await workspaceVersion(context.cwd) : await commitVersion(context.cwd, now, cache),
        ];
        return compareValues(readParamFiles(before), readParamFiles(after));
      });
      const rows = [...changes].flatMap(([path, list]) => list.map(({ key, old: a, new: b }) => [path, key, show(a), show(b)]));
      const head = ["file", "parameter", old, now ?? "workspace"];
      output.result(changesToJson(changes), rows.length === 0 ? "No parameter differs." : renderTable([head, ...rows]));
    });
};
