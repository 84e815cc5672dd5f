import { posix } from "node:path";
import { ServalError } from "../errors.ts";
import { hasExpression, interpolate, InterpolationProblem, toText } from "./interpolate.ts";
import type { Pipeline, PlotDefinition, Stage, StageDep, StageOut, StageParams } from "./stage.ts";
import { isList, isYamlMap, parseYaml, sameValue, type ParsedYaml, type YamlMap, type YamlValue } from "./yaml-values.ts";

const defaultParamsFile = "params.yaml";

type Path = readonly (string | number)[];

const fileFields = ["stages", "vars", "params", "metrics", "plots", "artifacts"];
const stageFields = ["cmd", "wdir", "deps", "params", "outs", "metrics", "plots", "vars", "frozen", "always_changed", "desc", "meta"];
const outFields = ["cache", "persist", "push", "remote", "desc", "type", "labels", "meta"];
const plotFields = ["x", "y", "x_label", "y_label", "title", "template", "header"];
const unsupported: Readonly<Record<string, string>> = {
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

/** Where a stage runs, and what it says of its outs, by the paths that dvc.lock has. */
export interface StageOuts {
  /** Relative to the repository. */
  readonly wdir: string;
  /** Options such as `cache: false`, with which dvc.lock does not repeat an out. */
  readonly options: ReadonlyMap<string, YamlMap>;
}

/**
 * What a dvc.yaml says of its stages' outs, by the stages' names, and no more: so that a field which Serval does not know is
 * no hindrance to the data. Throws E_PIPELINE, which names the line.
 */
export function readStageOuts(text: string, file: string, read: ReadText): Map<string, StageOuts> {
  return new Reader(parseYaml(text, file, "E_PIPELINE"), file, read).stageOuts(hasExpression(text));
}

/** A stage before its variables are filled in; `foreach` and `matrix` make several of one. */
interface StageTemplate {
  readonly name: string;
  readonly group: string | undefined;
  readonly body: YamlMap;
  readonly path: Path;
  readonly variables: YamlMap;
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
    const read = this.templates(top, variables).map((template) => this.stage(template));
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

  /** Without `usesVariables` no file of them is read, which could be damaged. */
  stageOuts(usesVariables: boolean): Map<string, StageOuts> {
    const top = this.map(this.parsed.value ?? new Map<string, YamlValue>(), []);
    const variables = usesVariables ? this.variables(top.get("vars"), ["vars"], this.dir, new Map(), true) : new Map<string, YamlValue>();
    return new Map(
      this.templates(top, variables).map((template): [string, StageOuts] => {
        const { name, body, path } = template;
        const { wdir, variables: own } = this.place(template);
        const outs = (["outs", "metrics", "plots"] as const).flatMap((kind) =>
          this.list(this.fill(body.get(kind) ?? [], own, [...path, kind]), [...path, kind]).map((item, i) =>
            this.entry(item, [...path, kind, i]),
          ),
        );
        return [name, { wdir, options: new Map(outs.flatMap(([out, options]) => (isYamlMap(options) ? [[out, options]] : []))) }];
      }),
    );
  }

  /** The stages of the file; those that `foreach` and `matrix` make of one have DVC's names, `name@key`. */
  templates(top: YamlMap, fileVariables: YamlMap): StageTemplate[] {
    const stages = this.map(top.get("stages") ?? new Map<string, YamlValue>(), ["stages"]);
    return Array.from(stages, ([name, value]): StageTemplate[] => {
      const path: Path = ["stages", name];
      const raw = this.map(value, path);
      if (/[$/\\@:;,#?*\s]/.test(name)) this.fail(path, `"${name}" is no name of a stage: $, /, \\, @, :, ;, # and blanks are not allowed`);
      const make = (body: YamlMap, at: Path, items: ReadonlyMap<string, YamlMap>): StageTemplate[] =>
        Array.from(items, ([key, item]) => ({
          name: `${name}@${key}`,
          group: name,
          body,
          path: at,
          variables: new Map([...fileVariables, ...item]),
        }));
      if (raw.has("matrix")) {
        const axes = this.map(this.fill(raw.get("matrix"), fileVariables, [...path, "matrix"]), [...path, "matrix"]);
        const lists = Array.from(axes, ([axis, values]) => [axis, this.list(values, [...path, "matrix", axis])] as const);
        return make(new Map([...raw].filter(([key]) => key !== "matrix")), path, combinations(lists));
      }
      if (raw.has("foreach") || raw.has("do")) {
        this.checkFields(raw, ["foreach", "do"], path);
        const values = this.fill(raw.get("foreach"), fileVariables, [...path, "foreach"]);
        if (!isList(values) && !isYamlMap(values)) this.fail([...path, "foreach"], `expected a list or a mapping, got ${describe(values)}`);
        return make(this.map(raw.get("do") ?? null, [...path, "do"]), [...path, "do"], iterations(values));
      }
      return [{ name, group: undefined, body: raw, path, variables: fileVariables }];
    }).flat();
  }

  /** Where a stage runs, relative to the repository, and its variables with its own `vars`. */
  place({ body, path, variables }: StageTemplate): { wdir: string; variables: YamlMap } {
    const text = body.has("wdir") ? this.string(this.fill(body.get("wdir"), variables, [...path, "wdir"]), [...path, "wdir"]) : ".";
    const resolved = this.resolve(this.dir, text);
    const wdir = resolved === "." ? "" : resolved;
    if (wdir.startsWith("..")) this.fail([...path, "wdir"], `"${text}" lies outside the repository`);
    const own = body.get("vars");
    return { wdir, variables: own === undefined ? variables : this.variables(own, [...path, "vars"], wdir, variables, false) };
  }

  stage(template: StageTemplate): { stage: Stage; plots: PlotDefinition[] } {
    const { name, group, body: raw, path } = template;
    this.checkFields(raw, stageFields, path);
    const { wdir, variables } = this.place(template);
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
      address: this.address(name),
      group: group === undefined ? undefined : this.address(group),
      dir: this.dir,
      wdir,
      cmd: this.command(filled.get("cmd"), path),
      deps,
      params: this.params(filled.get("params"), path, wdir),
      outs,
      frozen: this.boolean(filled, "frozen", path),
      alwaysChanged: this.boolean(filled, "always_changed", path),
      desc: filled.has("desc") ? this.string(filled.get("desc") ?? null, [...path, "desc"]) : undefined,
    };
    return { stage, plots };
  }

  address(name: string): string {
    return this.dir === "" ? name : `${this.file}:${name}`;
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

  params(value: YamlValue | undefined, stagePath: Path, wdir: string): StageParams[] {
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

/** What `item`, and of a mapping `key`, are in the stages of a `foreach`, by the keys in their names. */
function iterations(values: readonly YamlValue[] | YamlMap): Map<string, YamlMap> {
  if (isYamlMap(values))
    return new Map(
      Array.from(values, ([key, item]) => [
        key,
        new Map<string, YamlValue>([
          ["item", item],
          ["key", key],
        ]),
      ]),
    );
  // As in DVC: where any value is a list or a mapping they are counted, else each is its own name.
  const counted = values.some(isCollection);
  return new Map(values.map((item, i) => [counted ? String(i) : (toText(item, false) ?? ""), new Map([["item", item]])]));
}

/** What `item` and `key` are in the stages of a `matrix`: one for each combination, whose last list changes fastest. */
function combinations(axes: readonly (readonly [string, readonly YamlValue[]])[]): Map<string, YamlMap> {
  let found: { readonly names: readonly string[]; readonly item: YamlMap }[] = [{ names: [], item: new Map() }];
  for (const [axis, values] of axes) {
    found = found.flatMap(({ names, item }) =>
      values.map((value, i) => ({
        names: [...names, isCollection(value) ? `${axis}${i}` : (toText(value, false) ?? "")],
        item: new Map([...item, [axis, value]]),
      })),
    );
  }
  return new Map(
    found.map(({ names, item }) => [
      names.join("-"),
      new Map<string, YamlValue>([
        ["item", item],
        ["key", names.join("-")],
      ]),
    ]),
  );
}

function isCollection(value: YamlValue): boolean {
  return isList(value) || isYamlMap(value);
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
