import { ServalError } from "../../errors/serval-error.ts";
import { fillLimit, interpolate, InterpolationProblem, type FillBudget } from "./interpolate.ts";
import { isList, isYamlMap, type ParsedYaml, type YamlMap, type YamlValue } from "./yaml-values.ts";

/** Keys and positions from the top of the file down to a value. */
export type Path = readonly (string | number)[];

/** Says of each unknown field that another DVC knows why it is none here. */
const unsupported: Readonly<Record<string, string>> = {
  datasets: "`datasets` is not supported yet",
  checkpoint: "`checkpoint` was removed from DVC 3 and is not supported",
};

/** Takes values of a dvc.yaml for what they should be. Each method throws E_PIPELINE, which names file, line and field. */
export class FieldReader {
  readonly parsed: ParsedYaml;
  readonly file: string;
  readonly #budget: FillBudget = { left: fillLimit };
  constructor(parsed: ParsedYaml, file: string) {
    this.parsed = parsed;
    this.file = file;
  }

  /** With its variables filled in. */
  fill(value: YamlValue | undefined, variables: YamlMap, path: Path, isCommand = false): YamlValue {
    const filled = interpolate(value ?? null, variables, isCommand, this.#budget);
    if (filled instanceof InterpolationProblem) this.fail(path, filled.text);
    return filled;
  }

  entry(item: YamlValue, path: Path): [string, YamlValue] {
    if (!isYamlMap(item)) return [this.string(item, path), new Map()];
    const [first, ...more] = item;
    if (first === undefined || more.length > 0) this.fail(path, "expected one path with its options");
    return [first[0], first[1] ?? new Map()];
  }

  boolean(map: YamlMap, key: string, path: Path, fallback = false): boolean {
    const value = map.get(key) ?? fallback;
    if (typeof value !== "boolean") this.fail([...path, key], `${key}: expected true or false, got ${JSON.stringify(value)}`);
    return value;
  }

  string(value: YamlValue, path: Path): string {
    if (typeof value !== "string") this.fail(path, `expected a string, got ${describe(value)}`);
    return value;
  }

  list(value: YamlValue, path: Path): readonly YamlValue[] {
    if (value === null) return [];
    if (!isList(value)) this.fail(path, `expected a list, got ${describe(value)}`);
    return value;
  }

  map(value: YamlValue, path: Path): YamlMap {
    if (!isYamlMap(value)) this.fail(path, `expected a mapping, got ${describe(value)}`);
    return value;
  }

  checkFields(map: YamlMap, known: readonly string[], path: Path): void {
    for (const key of map.keys()) {
      if (known.includes(key)) continue;
      const why = unsupported[key] ?? `unknown field "${key}"; expected one of ${known.join(", ")}`;
      this.fail([...path, key], why);
    }
  }

  fail(path: Path, text: string): never {
    const where = path.length === 0 ? "" : ` ${path.join(".")}:`;
    throw new ServalError("E_PIPELINE", `${this.file}:${this.parsed.line(path)}:${where} ${text}.`);
  }
}

/** What a value is, for a message. */
export function describe(value: YamlValue): string {
  if (isList(value)) return "a list";
  if (isYamlMap(value)) return "a mapping";
  return value === null ? "nothing" : JSON.stringify(typeof value === "bigint" ? String(value) : value);
}
