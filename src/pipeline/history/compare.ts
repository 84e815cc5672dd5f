import { paramsFile } from "../../paths.ts";
import { changedValues, flatten, type ValueChange } from "../dvc-files/params.ts";
import type { Version } from "./versions.ts";
import { parseDataText } from "../dvc-files/data-text.ts";
import { isList, isYamlMap, toPlain, YamlFloat, type YamlMap, type YamlValue } from "../dvc-files/yaml-values.ts";

/** Path -> key -> value. */
export type ValuesByFile = ReadonlyMap<string, YamlMap>;

/** The parameter files of a version: those that its pipelines name, and params.yaml at the top. */
export function readParamFiles(version: Version): ValuesByFile {
  const named = version.pipelines.flatMap(({ stages, params }) => [
    ...params,
    ...stages.flatMap((stage) => stage.params.map(({ path }) => path)),
  ]);
  return readFiles(version, new Set([paramsFile, ...named]));
}

/** The metrics files of a version. Files of other formats than JSON and YAML are left out. */
export function readMetricFiles(version: Version): ValuesByFile {
  const named = version.pipelines.flatMap(({ stages, metrics }) => [
    ...metrics,
    ...stages.flatMap(({ outs }) => outs.filter(({ kind }) => kind === "metric").map(({ path }) => path)),
  ]);
  return new Map([...readFiles(version, new Set(named))].map(([path, values]) => [path, withoutLists(values)]));
}

/** Metrics are numbers and texts by name: as for DVC, a list is none. */
function withoutLists(values: YamlMap): YamlMap {
  return new Map(
    [...values].flatMap(([key, value]): [string, YamlValue][] => {
      if (isYamlMap(value)) return [[key, withoutLists(value)]];
      return isList(value) || value === null ? [] : [[key, value]];
    }),
  );
}

function readFiles(version: Version, paths: ReadonlySet<string>): ValuesByFile {
  return new Map(
    [...paths].sort().flatMap((path): [string, YamlMap][] => {
      const bytes = version.read(path);
      if (bytes === undefined || !/\.(ya?ml|json)$/i.test(path)) return [];
      const value = parseDataText(bytes.toString("utf8"), path);
      return [[path, isYamlMap(value) ? value : new Map<string, YamlValue>([["", value]])]];
    }),
  );
}

/** What differs, by file; files without a difference are left out. */
export function compareValues(before: ValuesByFile, after: ValuesByFile): Map<string, ValueChange[]> {
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  return new Map(
    paths.flatMap((path): [string, ValueChange[]][] => {
      const changes = changedValues(before.get(path) ?? new Map(), after.get(path) ?? new Map());
      return changes.length === 0 ? [] : [[path, changes.sort((a, b) => (a.key < b.key ? -1 : 1))]];
    }),
  );
}

/** As `dvc params diff --json` and `dvc metrics diff --json` give it; `diff` stands only where both are numbers. */
export function changesToJson(changes: ReadonlyMap<string, readonly ValueChange[]>): unknown {
  return Object.fromEntries(
    [...changes].map(([path, list]) => [
      path,
      Object.fromEntries(
        list.map((change) => {
          const difference = numericDifference(change);
          const both = { old: toPlain(change.old ?? null), new: toPlain(change.new ?? null) };
          return [change.key, { ...both, ...(difference !== undefined && { diff: difference }) }];
        }),
      ),
    ]),
  );
}

export function numericDifference({ old, new: now }: ValueChange): number | undefined {
  const [a, b] = [toNumber(old), toNumber(now)];
  return a === undefined || b === undefined ? undefined : b - a;
}

export function toNumber(value: YamlValue | undefined): number | undefined {
  const number = value instanceof YamlFloat ? value.value : value;
  return typeof number === "number" ? number : undefined;
}

/** Path -> dotted key -> value. */
export function flattenFiles(files: ValuesByFile): Map<string, Map<string, YamlValue>> {
  return new Map([...files].map(([path, values]) => [path, flatten(values)]));
}
