import { stateDirectory } from "../../../config/env.ts";
import { show } from "../../../pipeline/run/changes.ts";
import {
  changesToJson,
  compareValues,
  flattenFiles,
  numericDifference,
  readMetricFiles,
  toNumber,
} from "../../../pipeline/history/compare.ts";
import { commitVersion, workspaceVersion, type Version } from "../../../pipeline/history/versions.ts";
import { toPlain, type YamlValue } from "../../../pipeline/dvc-files/yaml-values.ts";
import type { CommandContext, Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import type { Output } from "../../output.ts";
import { renderTable } from "../../table.ts";

/** Gives the versions that revisions name, the workspace for undefined, to `use`. */
async function withVersions<T>(
  context: CommandContext,
  output: Output,
  revisions: readonly (string | undefined)[],
  use: (versions: readonly Version[]) => T,
): Promise<T> {
  return await withCache(context, stateDirectory(), output, async (cache) => {
    const versions: Version[] = [];
    for (const revision of revisions)
      versions.push(revision === undefined ? await workspaceVersion(context.cwd) : await commitVersion(context.cwd, revision, cache));
    return use(versions);
  });
}

export const configure: Configure = (command, context) => {
  command
    .command("show")
    .description("Show the metrics of the workspace, or of a commit.")
    .argument("[REVISION]", "branch, tag or commit (default: the workspace)")
    .option("--json", "print the values by file as JSON")
    .action(async (revision: string | undefined, options: { json?: boolean }) => {
      const output = context.output(options);
      const files = await withVersions(context, output, [revision], ([version]) => readMetricFiles(version as Version));
      const rows = [...flattenFiles(files)].flatMap(([path, values]) => [...values].map(([key, value]) => [path, key, format(value)]));
      const data = Object.fromEntries([...files].map(([path, values]) => [path, toPlain(values)]));
      output.result(data, rows.length === 0 ? none : renderTable([["file", "metric", revision ?? "workspace"], ...rows]));
    });
  command
    .command("diff")
    .description("Compare the metrics of a commit with the workspace, or with another commit.")
    .argument("[OLD]", "branch, tag or commit", "HEAD")
    .argument("[NEW]", "branch, tag or commit (default: the workspace)")
    .option("--all", "show metrics that are equal as well")
    .option("--json", "print what `dvc metrics diff --json` prints")
    .action(async (old: string, now: string | undefined, options: { all?: boolean; json?: boolean }) => {
      const output = context.output(options);
      const [before, after] = await withVersions(context, output, [old, now], ([a, b]) => [
        readMetricFiles(a as Version),
        readMetricFiles(b as Version),
      ]);
      const changes = compareValues(before ?? new Map(), after ?? new Map());
      const changed = [...changes].flatMap(([path, list]) =>
        list.map((change) => {
          const difference = numericDifference(change);
          return [path, change.key, format(change.old), format(change.new), difference === undefined ? "-" : signed(difference)];
        }),
      );
      const equal = [...flattenFiles(after ?? new Map())].flatMap(([path, values]) =>
        [...values].flatMap(([key, value]) =>
          changes.get(path)?.some((change) => change.key === key) ? [] : [[path, key, format(value), format(value), "0"]],
        ),
      );
      const rows = options.all ? [...changed, ...equal].sort((a, b) => (a.join("\0") < b.join("\0") ? -1 : 1)) : changed;
      const text =
        rows.length > 0
          ? renderTable([["file", "metric", old, now ?? "workspace", "change"], ...rows])
          : after?.size === 0
            ? none
            : "No metric differs.";
      output.result(changesToJson(changes), text);
    });
};

const none = "There are no metrics: `metrics` in dvc.yaml names their files, and `serval repro` makes them.";

function format(value: YamlValue | undefined): string {
  const number = toNumber(value);
  if (number === undefined) return value === undefined ? "-" : show(value);
  return Number.isInteger(number) ? String(number) : String(Number(number.toPrecision(6)));
}

function signed(value: number): string {
  const text = String(Number(value.toPrecision(4)));
  return value > 0 ? `+${text}` : text;
}
