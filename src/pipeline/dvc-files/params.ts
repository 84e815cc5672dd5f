import type { Stage, StageParams } from "./stage.ts";
import { parseDataText } from "./data-text.ts";
import { isList, isYamlMap, sameValue, type YamlMap, type YamlValue, type ReadText } from "./yaml-values.ts";

/** File as dvc.yaml has it -> key -> value. A file or key that is not there is left out. Throws E_PARAMS for a broken file. */
export function readStageParams(stage: Stage, read: ReadText): Map<string, YamlMap> {
  return new Map(
    stage.params.flatMap((params): [string, YamlMap][] => {
      const values = readParams(params, read);
      return values === undefined ? [] : [[params.definedAs, values]];
    }),
  );
}

function readParams({ path, keys }: StageParams, read: ReadText): YamlMap | undefined {
  const text = read(path);
  if (text === undefined) return undefined;
  const value = parseDataText(text, path);
  const file = isYamlMap(value) ? value : new Map<string, YamlValue>();
  if (keys.length === 0) return file;
  return new Map(
    keys.flatMap((key): [string, YamlValue][] => {
      const found = valueAt(file, key);
      return found === undefined ? [] : [[key, found]];
    }),
  );
}

/** The value at a dotted path such as `train.layers.0`; undefined where there is none. */
function valueAt(value: YamlValue, path: string): YamlValue | undefined {
  let at: YamlValue | undefined = value;
  for (const part of path.split(".")) {
    if (isYamlMap(at)) at = at.get(part);
    else if (isList(at) && /^\d+$/.test(part)) at = at[Number(part)];
    else return undefined;
    if (at === undefined) return undefined;
  }
  return at;
}

/** Dotted path -> value of everything in a mapping that is not a mapping itself. */
export function flatten(value: YamlValue, prefix = ""): Map<string, YamlValue> {
  if (!isYamlMap(value) || value.size === 0) return new Map([[prefix, value]]);
  return new Map([...value].flatMap(([key, item]) => [...flatten(item, prefix === "" ? key : `${prefix}.${key}`)]));
}

export interface ValueChange {
  readonly key: string;
  readonly old: YamlValue | undefined;
  readonly new: YamlValue | undefined;
}

/** What differs between two sets of values, by dotted path. */
export function changedValues(before: ReadonlyMap<string, YamlValue>, after: ReadonlyMap<string, YamlValue>): ValueChange[] {
  const [old, now] = [before, after].map((values) => new Map([...values].flatMap(([key, value]) => [...flatten(value, key)])));
  const keys = [...new Set([...(old ?? []), ...(now ?? [])].map(([key]) => key))];
  return keys.flatMap((key) => {
    const change = { key, old: old?.get(key), new: now?.get(key) };
    return sameValue(change.old, change.new) ? [] : [change];
  });
}
