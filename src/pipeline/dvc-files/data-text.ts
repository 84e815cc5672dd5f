import { parse, type TomlTable, type TomlValue } from "smol-toml";
import { ServalError } from "../../errors/serval-error.ts";
import { parseYaml, YamlFloat, type YamlMap, type YamlValue } from "./yaml-values.ts";

/** A file of values: YAML, JSON, which is YAML, or TOML. Throws E_PARAMS where it is damaged, and E_PIPELINE for another kind. */
export function parseDataText(text: string, file: string): YamlValue {
  if (/\.toml$/i.test(file)) return parseToml(text, file);
  if (!/\.(ya?ml|json)$/i.test(file)) {
    throw new ServalError("E_PIPELINE", `"${file}": expected a .yaml, .json or .toml file; Python files are not supported.`);
  }
  return parseYaml(text, file, "E_PARAMS").value;
}

/** dvc.lock has no way to record a date, so one is refused. */
function parseToml(text: string, file: string): YamlMap {
  const read = (value: TomlValue, path: string): YamlValue => {
    if (Array.isArray(value)) return value.map((item, i) => read(item, `${path}[${i}]`));
    if (typeof value === "number") return new YamlFloat(value);
    if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    if (typeof value !== "object") return value;
    if (isTable(value)) return readTable(value, path);
    throw new ServalError("E_PARAMS", `${file}: ${path}: expected a text, number, boolean, list or table, got the date ${String(value)}.`, {
      hint: "Put the date in quotes.",
    });
  };
  const readTable = (table: TomlTable, path: string): YamlMap =>
    new Map(Object.entries(table).map(([key, value]) => [key, read(value, path === "" ? key : `${path}.${key}`)]));
  return readTable(parseTable(text, file), "");
}

function isTable(value: object): value is TomlTable {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function parseTable(text: string, file: string): TomlTable {
  try {
    return parse(text, { integersAsBigInt: true });
  } catch (error) {
    const { line, message } = error as Error & { line?: number };
    throw new ServalError("E_PARAMS", `${file}:${line ?? 1}: ${message.split("\n")[0] ?? message}.`, { cause: error });
  }
}
