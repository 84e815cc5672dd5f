import type { YamlValue } from "../../pipeline/dvc-files/yaml-values.ts";
import { flattenFiles, numericDifference, toNumber, type ValuesByFile } from "../../pipeline/history/compare.ts";
import { show } from "../../pipeline/run/changes.ts";
import type { VersionChanges } from "../../workflows/pipeline/compare-versions.ts";
import { renderTable } from "./table.ts";

const none = "There are no metrics: `metrics` in dvc.yaml names their files, and `serval repro` makes them.";

/** What `serval metrics show` prints. */
export function describeMetrics(files: ValuesByFile, version: string): string {
  const rows = [...flattenFiles(files)].flatMap(([path, values]) => [...values].map(([key, value]) => [path, key, format(value)]));
  return rows.length === 0 ? none : renderTable([["file", "metric", version], ...rows]);
}

/** What `serval metrics diff` prints; `old` and `now` name the versions, and `all` shows metrics that are equal as well. */
export function describeMetricChanges({ changes, after }: VersionChanges, names: { old: string; now: string; all: boolean }): string {
  const changed = [...changes].flatMap(([path, list]) =>
    list.map((change) => {
      const difference = numericDifference(change);
      return [path, change.key, format(change.old), format(change.new), difference === undefined ? "-" : signed(difference)];
    }),
  );
  const equal = [...flattenFiles(after)].flatMap(([path, values]) =>
    [...values].flatMap(([key, value]) =>
      changes.get(path)?.some((change) => change.key === key) ? [] : [[path, key, format(value), format(value), "0"]],
    ),
  );
  const rows = names.all ? [...changed, ...equal].sort((a, b) => (a.join("\0") < b.join("\0") ? -1 : 1)) : changed;
  if (rows.length > 0) return renderTable([["file", "metric", names.old, names.now, "change"], ...rows]);
  return after.size === 0 ? none : "No metric differs.";
}

function format(value: YamlValue | undefined): string {
  const number = toNumber(value);
  if (number === undefined) return value === undefined ? "-" : show(value);
  return Number.isInteger(number) ? String(number) : String(Number(number.toPrecision(6)));
}

function signed(value: number): string {
  const text = String(Number(value.toPrecision(4)));
  return value > 0 ? `+${text}` : text;
}
