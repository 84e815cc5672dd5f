import { posix } from "node:path";
import { paramsFile } from "../../paths.ts";
import { resolveBelow } from "../../safe-path.ts";
import type { FieldReader, Path } from "./field-reader.ts";
import { hasExpression } from "./interpolate.ts";
import { parseDataText } from "./data-text.ts";
import { isYamlMap, parseYaml, sameValue, type ReadText, type YamlMap, type YamlValue } from "./yaml-values.ts";

export interface VariablesPlace {
  readonly value: YamlValue | undefined;
  /** Where `value` is in the file. */
  readonly path: Path;
  /** The folder that files are relative to, relative to the repository. */
  readonly dir: string;
  /** Those of the file, for a stage; without them `value` is the file's, on top of params.yaml beside it where there is one. */
  readonly outer?: YamlMap | undefined;
}

/** The variables of `vars` on top of those around them. Throws E_PIPELINE, and E_PARAMS for a file of values that is none. */
export function readVariables(fields: FieldReader, read: ReadText, { value, path, dir, outer }: VariablesPlace): YamlMap {
  const isTop = outer === undefined;
  const variables = new Map(outer ?? []);
  const merge = (from: YamlMap, where: string, at: Path): void => {
    for (const [key, item] of from) {
      const before = variables.get(key);
      if (isYamlMap(before) && isYamlMap(item)) variables.set(key, merged(fields, before, item, `${where}: ${key}`, at));
      else if (before === undefined || sameValue(before, item)) variables.set(key, item);
      else fields.fail(at, `${where}: "${key}" has another value already`);
    }
  };
  if (isTop) {
    const text = read(posix.join(dir, paramsFile));
    if (text !== undefined)
      merge(fields.map(parseYaml(text, posix.join(dir, paramsFile), "E_PARAMS").value ?? new Map(), []), paramsFile, path);
  }
  fields.list(value ?? [], path).forEach((item, i) => {
    const at: Path = [...path, i];
    if (isYamlMap(item)) {
      merge(item, "vars", at);
      return;
    }
    const name = fields.string(item, at);
    if (hasExpression(name)) fields.fail(at, "`vars` itself cannot hold ${}");
    const [file = "", keys] = name.split(":");
    if (isTop && posix.normalize(file) === paramsFile && keys === undefined) return;
    const resolved = resolveBelow(dir, file);
    if (resolved.fault !== undefined) fields.fail(at, `${JSON.stringify(file)} ${resolved.fault}: expected a file below the repository`);
    const full = resolved.path;
    const text = read(full);
    if (text === undefined) fields.fail(at, `"${full}" does not exist`);
    const loaded = parseDataText(text, full);
    if (!isYamlMap(loaded)) fields.fail(at, `"${full}" does not contain a mapping`);
    const wanted = keys?.split(",").map((key) => key.trim());
    for (const key of wanted ?? []) if (!loaded.has(key)) fields.fail(at, `"${full}" has no "${key}"`);
    merge(wanted === undefined ? loaded : new Map([...loaded].filter(([key]) => wanted.includes(key))), full, at);
  });
  return variables;
}

function merged(fields: FieldReader, a: YamlMap, b: YamlMap, where: string, at: Path): YamlMap {
  const out = new Map(a);
  for (const [key, item] of b) {
    const before = out.get(key);
    if (isYamlMap(before) && isYamlMap(item)) out.set(key, merged(fields, before, item, `${where}.${key}`, at));
    else if (before === undefined || sameValue(before, item)) out.set(key, item);
    else fields.fail(at, `${where}.${key} has another value already`);
  }
  return out;
}
