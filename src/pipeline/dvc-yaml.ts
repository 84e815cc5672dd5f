import { posix } from "node:path";
import { ServalError } from "../errors.ts";
import { hasExpression, interpolate, InterpolationProblem } from "./interpolate.ts";
import type { Pipeline, PlotDefinition, Stage, StageDep, StageOut, StageParams } from "./stage.ts";
import { isList, isYamlMap, parseYaml, sameValue, type ParsedYaml, type YamlMap, type YamlValue } from "./yaml-values.ts";

const defaultParamsFile = "params.yaml";

type Path = readonly (string | number)[];

const fileFields = ["stages", "vars", "params", "metrics", "plots", "artifacts"];
const stageFields = ["cmd", "wdir", "deps", "params", "outs", "metrics", "plots", "vars", "frozen", "always_changed", "desc", "meta"];
const outFields = ["cache", "persist", "push", "remote", "desc", "type", "labels", "meta"];
const plotFields = ["x", "y", "x_label", "y_label", "title", "template", "header"];
const unsupported: Readonly<Record<string, string>> = {
  foreach: "`foreach` is not supported yet",
  do: "`foreach` is not supported yet",
  matrix: "`matrix` is not supported yet",
  datasets: "`datasets` is not supported yet",
  checkpoint: "`checkpoint` was removed from DVC 3 and is not supported",
};

/** Gives the text of a file relative to the repository; undefined where there is none. */
export type ReadText = (path: string) => string | undefined;

/**
 * Reads a dvc.yaml (`file`, relative to the repository) with its variables filled in. Throws E_PIPELINE, which names the line,
 * for a field that Serval does not know: nothing is ever silently ignored.
 */
export function parsePipeline(text: string, file: string, read: ReadText): Pipeline {
  const parsed = parseYaml(text, file, "E_PIPELINE");
  const reader = new Reader(parsed, file, read);
  return reader.pipeline();
}

class Reader {
  readonly parsed: ParsedYaml;
  readonly file: string;
  readonly dir: string;
  readonly read: ReadText;
  constructor(parsed: ParsedYaml, file: string, read: ReadText) {
    this.parsed = parsed;
    this.file = file;
    this.dir = posix.dirname(file) === "." ? "" : posix.dirname(file);
    this.read = read;
  }

  pipeline(): Pipeline {
    const top = this.map(this.parsed.value ?? new Map<string, YamlValue>(), []);
    this.checkFields(top, fileFields, []);
    const variables = this.variables(top.get("vars"), ["vars"], this.dir, new Map(), true);
    const fill = (value: YamlValue | undefined, path: Path): YamlValue => this.fill(value ?? [], variables, path);
    const stages = this.map(top.get("stages") ?? new Map<string, YamlValue>(), ["stages"]);
    const read = [...stages].map(([name, value]) => this.stage(name, value, variables));
    const paths = (key: string): string[] =>
      this.list(fill(top.get(key), [key]), [key]).map((item, i) => this.resolve(this.dir, this.string(item, [key, i])));
    return {
      file: this.file,
      stages: read.map(({ stage }) => stage),
      metrics: paths("metrics"),
      params: paths("params"),
      plots: [...this.topPlots(fill(top.get("plots"), ["plots"])), ...read.flatMap(({ plots }) => plots)],
    };
  }

  stage(name: string, value: YamlValue, fileVariables: YamlMap): { stage: Stage; plots: PlotDefinition[] } {
    const path: Path = ["stages", name];
    const raw = this.map(value, path);
    this.checkFields(raw, stageFields, path);
    if (/[$/\\@:;,#?*\s]/.test(name)) this.fail(path, `"${name}" is no name of a stage: $, /, \\, @, :, ;, # and blanks are not allowed`);
    const own = raw.get("vars");
    const wdirText = raw.has("wdir")
      ? this.string(this.fill(raw.get("wdir") ?? null, fileVariables, [...path, "wdir"]), [...path, "wdir"])
      : ".";
    const wdir = this.resolve(this.dir, wdirText) === "." ? "" : this.resolve(this.dir, wdirText);
    if (wdir.startsWith("..")) this.fail([...path, "wdir"], `"${wdirText}" lies outside the repository`);
    const variables = own === undefined ? fileVariables : this.variables(own, [...path, "vars"], wdir, fileVariables, false);
    const filled = new Map<string, YamlValue>();
    for (const [key, item] of raw) {
      if (key === "vars") continue;
      filled.set(key, key === "desc" || key === "meta" ? item : this.fill(item, variables, [...path, key], key === "cmd"));
    }
    const deps = this.list(filled.get("deps") ?? [], [...path, "deps"]).map((item, i): StageDep => {
      const definedAs = this.string(item, [...path, "deps", i]);
      return { definedAs, path: this.local(wdir, definedAs, [...path, "deps", i]) };
    });
    const plots: PlotDefinition[] = [];
    const outs = (["outs", "metrics", "plots"] as const).flatMap((kind) => this.outs(filled, kind, path, wdir, plots));
    this.checkOwnPaths(deps, outs, path);
    const stage: Stage = {
      name,
      address: this.dir === "" ? name : `${this.file}:${name}`,
      dir: this.dir,
      wdir,
      cmd: this.command(filled.get("cmd"), path),
      deps,
      params: this.params(filled.get("params"), path, wdir, variables),
      outs,
      frozen: this.boolean(filled, "frozen", path),
      alwaysChanged: this.boolean(filled, "always_changed", path),
      desc: filled.has("desc") ? this.string(filled.get("desc") ?? null, [...path, "desc"]) : undefined,
    };
    return { stage, plots };
  }

  command(value: YamlValue | undefined, path: Path): string | readonly string[] {
    if (value === undefined || value === null || value === "") this.fail(path, "expected `cmd`, a command line or a list of them");
    if (!isList(value)) return this.string(value, [...path, "cmd"]);
    if (value.length === 0) this.fail([...path, "cmd"], "expected at least one command line");
    return value.map((item, i) => this.string(item, [...path, "cmd", i]));
  }

  outs(filled: YamlMap, key: "outs" | "metrics" | "plots", stagePath: Path, wdir: string, plots: PlotDefinition[]): StageOut[] {
    const kind = key === "outs" ? "out" : key === "metrics" ? "metric" : "plot";
    return this.list(filled.get(key) ?? [], [...stagePath, key]).map((item, i) => {
      const path: Path = [...stagePath, key, i];
      const [definedAs, options] = this.entry(item, path);
      const list = isList(options) && kind === "plot" ? options : [options];
      const flags = list.map((one) => this.map(one, [...path, definedAs]));
      for (const one of flags) this.checkFields(one, kind === "plot" ? [...outFields, ...plotFields] : outFields, [...path, definedAs]);
      if (kind === "plot") {
        for (const one of flags) {
          plots.push({ id: definedAs, dir: wdir, properties: Object.fromEntries([...one].filter(([name]) => plotFields.includes(name))) });
        }
      }
      const flag = (name: string, fallback: boolean): boolean =>
        flags.some((one) => one.has(name)) ? flags.every((one) => this.boolean(one, name, [...path, definedAs], fallback)) : fallback;
      const cache = flag("cache", true);
      flag("push", true);
      const out = { definedAs, path: this.local(wdir, definedAs, path), kind, cache, persist: flag("persist", false) } as const;
      if (out.path.startsWith("..")) this.fail(path, `"${definedAs}" lies outside the repository`);
      if (out.path === ".") this.fail(path, "the repository itself cannot be an out");
      return out;
    });
  }

  params(value: YamlValue | undefined, stagePath: Path, wdir: string, _variables: YamlMap): StageParams[] {
    const keysOf = new Map<string, string[] | null>();
    const add = (file: string, keys: readonly string[] | null): void => {
      const before = keysOf.get(file);
      keysOf.set(file, keys === null || before === null ? null : [...new Set([...(before ?? []), ...keys])]);
    };
    this.list(value ?? [], [...stagePath, "params"]).forEach((item, i) => {
      const path: Path = [...stagePath, "params", i];
      if (!isYamlMap(item)) add(defaultParamsFile, [this.string(item, path)]);
      else {
        for (const [file, keys] of item) {
          const list = keys === null ? [] : this.list(keys, [...path, file]).map((key, k) => this.string(key, [...path, file, k]));
          add(file, list.length === 0 ? null : list);
        }
      }
    });
    return [...keysOf].map(([definedAs, keys]) => ({
      definedAs,
      path: this.local(wdir, definedAs, [...stagePath, "params"]),
      keys: keys ?? [],
    }));
  }

  topPlots(value: YamlValue): PlotDefinition[] {
    return this.list(value, ["plots"]).flatMap((item, i) => {
      if (typeof item === "string") return [{ id: item, dir: this.dir, properties: {} }];
      return Array.from(this.map(item, ["plots", i]), ([id, options]) => {
        const properties = this.map(options ?? new Map<string, YamlValue>(), ["plots", i, id]);
        this.checkFields(properties, plotFields, ["plots", i, id]);
        return { id, dir: this.dir, properties: Object.fromEntries(properties) };
      });
    });
  }

  /** The variables of `vars` on top of `outer`; without a file named, params.yaml beside dvc.yaml, where there is one. */
  variables(value: YamlValue | undefined, path: Path, dir: string, outer: YamlMap, isTop: boolean): YamlMap {
    const variables = new Map(outer);
    const merge = (from: YamlMap, where: string, at: Path): void => {
      for (const [key, item] of from) {
        const before = variables.get(key);
        if (isYamlMap(before) && isYamlMap(item)) variables.set(key, this.merged(before, item, `${where}: ${key}`, at));
        else if (before === undefined || sameValue(before, item)) variables.set(key, item);
        else this.fail(at, `${where}: "${key}" has another value already`);
      }
    };
    if (isTop) {
      const text = this.read(posix.join(dir, defaultParamsFile));
      if (text !== undefined)
        merge(this.map(parseYaml(text, posix.join(dir, defaultParamsFile), "E_PARAMS").value ?? new Map(), []), defaultParamsFile, path);
    }
    this.list(value ?? [], path).forEach((item, i) => {
      const at: Path = [...path, i];
      if (isYamlMap(item)) {
        merge(item, "vars", at);
        return;
      }
      const name = this.string(item, at);
      if (hasExpression(name)) this.fail(at, "`vars` itself cannot hold ${}");
      const [file = "", keys] = name.split(":");
      if (isTop && posix.normalize(file) === defaultParamsFile && keys === undefined) return;
      const full = posix.join(dir, file);
      const text = this.read(full);
      if (text === undefined) this.fail(at, `"${full}" does not exist`);
      const loaded = parseDataText(text, full);
      if (!isYamlMap(loaded)) this.fail(at, `"${full}" holds no mapping`);
      const wanted = keys?.split(",").map((key) => key.trim());
      for (const key of wanted ?? []) if (!loaded.has(key)) this.fail(at, `"${full}" has no "${key}"`);
      merge(wanted === undefined ? loaded : new Map([...loaded].filter(([key]) => wanted.includes(key))), full, at);
    });
    return variables;
  }

  merged(a: YamlMap, b: YamlMap, where: string, at: Path): YamlMap {
    const out = new Map(a);
    for (const [key, item] of b) {
      const before = out.get(key);
      if (isYamlMap(before) && isYamlMap(item)) out.set(key, this.merged(before, item, `${where}.${key}`, at));
      else if (before === undefined || sameValue(before, item)) out.set(key, item);
      else this.fail(at, `${where}.${key} has another value already`);
    }
    return out;
  }

  fill(value: YamlValue | undefined, variables: YamlMap, path: Path, isCommand = false): YamlValue {
    const filled = interpolate(value ?? null, variables, isCommand);
    if (filled instanceof InterpolationProblem) this.fail(path, filled.text);
    return filled;
  }

  checkOwnPaths(deps: readonly StageDep[], outs: readonly StageOut[], path: Path): void {
    const seen = new Set<string>();
    for (const { path: one } of [...deps, ...outs]) {
      if (seen.has(one)) this.fail(path, `"${one}" is named twice`);
      seen.add(one);
    }
  }

  /** A path relative to the repository. A stage may read, but not write, outside of it. */
  local(wdir: string, text: string, path: Path): string {
    if (text === "") this.fail(path, "expected a path, got an empty string");
    if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) this.fail(path, `"${text}": addresses are not supported yet, only files and folders`);
    return this.resolve(wdir, text);
  }

  resolve(dir: string, text: string): string {
    return (posix.isAbsolute(text) ? posix.normalize(text) : posix.join(dir, text)).replace(/(?<=.)\/$/, "");
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

function describe(value: YamlValue): string {
  if (isList(value)) return "a list";
  if (isYamlMap(value)) return "a mapping";
  return value === null ? "nothing" : JSON.stringify(typeof value === "bigint" ? String(value) : value);
}

/** A YAML or JSON file of values; JSON is YAML. */
export function parseDataText(text: string, file: string): YamlValue {
  if (!/\.(ya?ml|json)$/i.test(file)) {
    throw new ServalError("E_PIPELINE", `"${file}": expected a .yaml or .json file; TOML and Python files are not supported yet.`);
  }
  return parseYaml(text, file, "E_PARAMS").value;
}
