import { createHash } from "node:crypto";
import { compareCodePoints, lockedStageToYaml, type LockedItem, type LockedStage } from "../dvc-files/lock-file.ts";
import { isList, isYamlMap, pythonFloat, YamlFloat, type YamlMap, type YamlValue } from "../dvc-files/yaml-values.ts";

/**
 * The two names of an entry of DVC's run cache (`dvc/stage/cache.py`): the hash of what a stage reads, and of that with what it
 * wrote. Sizes do not count.
 */
export function runCacheNames(entry: LockedStage): { key: string; value: string } {
  const full = new Map(lockedStageToYaml(entry));
  const keyed = new Map(full);
  keyed.set(
    "outs",
    ((full.get("outs") ?? []) as readonly YamlMap[]).map((out) => out.get("path") ?? null),
  );
  return { key: hashJson(keyed), value: hashJson(full) };
}

/** Whether two entries read the same. The names of DVC's run cache leave parameters out that are called `size` or `nfiles`. */
export function readsTheSame(a: LockedStage, b: LockedStage): boolean {
  const read = ({ cmd, deps, params }: LockedStage): string => {
    const items = deps.map(({ path, md5 }): LockedItem => ({ path, md5 }));
    return pythonJson(lockedStageToYaml({ cmd, deps: items, params, outs: [] }), []);
  };
  return read(a) === read(b);
}

const uncounted: readonly string[] = ["size", "nfiles"];

function hashJson(value: YamlValue): string {
  return createHash("sha256").update(pythonJson(value, uncounted)).digest("hex");
}

/** Python's `json.dumps(value, sort_keys=True)`, without the keys of some names. */
function pythonJson(value: YamlValue, without: readonly string[]): string {
  if (value instanceof YamlFloat) {
    const text = pythonFloat(value.value);
    return text === "nan" ? "NaN" : text.replace("inf", "Infinity");
  }
  if (isList(value)) return `[${value.map((item) => pythonJson(item, without)).join(", ")}]`;
  if (isYamlMap(value)) {
    const members = [...value].filter(([key]) => !without.includes(key)).sort(([a], [b]) => compareCodePoints(a, b));
    return `{${members.map(([key, item]) => `${pythonJson(key, without)}: ${pythonJson(item, without)}`).join(", ")}}`;
  }
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value).replaceAll(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
