import { posix } from "node:path";
import { paramsFile } from "../../paths.ts";
import { resolveBelow } from "../../safe-path.ts";
import { describe, FieldReader, type Path } from "./field-reader.ts";
import { hasExpression } from "./interpolate.ts";
import { readVariables } from "./read-variables.ts";
import { combinations, iterations } from "./stage-templates.ts";
import type { Pipeline, PlotDefinition, Stage, StageDep, StageOut, StageParams } from "./stage.ts";
import { isList, isYamlMap, parseYaml, type ParsedYaml, type ReadText, type YamlMap, type YamlValue } from "./yaml-values.ts";

/** `datasets` are for DVC's own commands: a stage that reads one names it in `deps` with an address, which is refused there. */
const fileFields = ["stages", "vars", "params", "metrics", "plots", "artifacts", "datasets"];
const stageFields = ["cmd", "wdir", "deps", "params", "outs", "metrics", "plots", "vars", "frozen", "always_changed", "desc", "meta"];
const outFields = ["cache", "persist", "push", "remote", "desc", "type", "labels", "meta"];
const plotFields = ["x", "y", "x_label", "y_label", "title", "template", "header"];

/** Stages that one `matrix` may make: ten lists of ten values would be ten thousand million. */
const maxStages = 100_000;

/**
 * Reads a dvc.yaml (`file`, relative to the repository) with its variables filled in. Throws E_PIPELINE, which names the line,
 * for a field that Serval does not know: nothing is ever silently ignored.
 */
export function parsePipeline(text: string, file: string, read: ReadText): Pipeline {
  const parsed = parseYaml(text, file, "E_PIPELINE");
  const reader = new PipelineReader(parsed, file, read);
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
 * What a dvc.yaml says of its stages' outs, by the stages' names, and no more: a field that Serval does not know does
 * not prevent work with the data. Throws E_PIPELINE, which names the line.
 */
export function readStageOuts(text: string, file: string, read: ReadText): Map<string, StageOuts> {
  return new PipelineReader(parseYaml(text, file, "E_PIPELINE"), file, read).stageOuts(hasExpression(text));
}

/** A stage before its variables are filled in; `foreach` and `matrix` make several of one. */
interface StageTemplate {
  readonly name: string;
  readonly group: string | undefined;
  readonly body: YamlMap;
  readonly path: Path;
  readonly variables: YamlMap;
}

class PipelineReader extends FieldReader {
  readonly dir: string;
  readonly read: ReadText;
  constructor(parsed: ParsedYaml, file: string, read: ReadText) {
    super(parsed, file);
    this.dir = posix.dirname(file) === "." ? "" : posix.dirname(file);
    this.read = read;
  }

  pipeline(): Pipeline {
    const top = this.map(this.parsed.value ?? new Map<string, YamlValue>(), []);
    this.checkFields(top, fileFields, []);
    const variables = readVariables(this, this.read, { value: top.get("vars"), path: ["vars"], dir: this.dir });
    const fill = (value: YamlValue | undefined, path: Path): YamlValue => this.fill(value ?? [], variables, path);
    const read = this.templates(top, variables).map((template) => this.stage(template));
    const paths = (key: string): string[] =>
      this.list(fill(top.get(key), [key]), [key]).map((item, i) => this.inside(this.dir, this.string(item, [key, i]), [key, i]));
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
    const variables = usesVariables
      ? readVariables(this, this.read, { value: top.get("vars"), path: ["vars"], dir: this.dir })
      : new Map<string, YamlValue>();
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
      if (/[$/\\@:;,#?*\s]/.test(name))
        this.fail(path, `"${name}" is not a valid stage name: $, /, \\, @, :, ;, # and blanks are not allowed`);
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
        const count = lists.reduce((product, [, values]) => product * values.length, 1);
        if (count > maxStages) this.fail([...path, "matrix"], `expected at most ${maxStages} combinations, got ${count}`);
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
    const wdir = this.inside(this.dir, text, [...path, "wdir"]);
    const own = body.get("vars");
    return {
      wdir,
      variables:
        own === undefined
          ? variables
          : readVariables(this, this.read, { value: own, path: [...path, "vars"], dir: wdir, outer: variables }),
    };
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
      return { definedAs, path: this.readable(wdir, definedAs, [...path, "deps", i]) };
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
          plots.push(this.plot(definedAs, wdir, new Map([...one].filter(([name]) => plotFields.includes(name))), path));
        }
      }
      const flag = (name: string, fallback: boolean): boolean =>
        flags.some((one) => one.has(name)) ? flags.every((one) => this.boolean(one, name, [...path, definedAs], fallback)) : fallback;
      const cache = flag("cache", true);
      flag("push", true);
      const out = { definedAs, path: this.inside(wdir, definedAs, path), kind, cache, persist: flag("persist", false) } as const;
      if (out.path === "") this.fail(path, "the repository itself cannot be an out");
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
      if (!isYamlMap(item)) add(paramsFile, [this.string(item, path)]);
      else {
        for (const [file, keys] of item) {
          const list = keys === null ? [] : this.list(keys, [...path, file]).map((key, k) => this.string(key, [...path, file, k]));
          add(file, list.length === 0 ? null : list);
        }
      }
    });
    return [...keysOf].map(([definedAs, keys]) => ({
      definedAs,
      path: this.inside(wdir, definedAs, [...stagePath, "params"]),
      keys: keys ?? [],
    }));
  }

  topPlots(value: YamlValue): PlotDefinition[] {
    return this.list(value, ["plots"]).flatMap((item, i) => {
      if (typeof item === "string") return [this.plot(item, this.dir, new Map(), ["plots", i])];
      return Array.from(this.map(item, ["plots", i]), ([id, options]) => {
        const properties = this.map(options ?? new Map<string, YamlValue>(), ["plots", i, id]);
        this.checkFields(properties, plotFields, ["plots", i, id]);
        return this.plot(id, this.dir, properties, ["plots", i, id]);
      });
    });
  }

  /** Its files are those that `y` names, or the one that it is called by. */
  plot(id: string, dir: string, properties: YamlMap, path: Path): PlotDefinition {
    const y = properties.get("y");
    for (const file of isYamlMap(y) ? y.keys() : [id]) this.inside(dir, file, path);
    return { id, dir, properties: Object.fromEntries(properties) };
  }

  checkOwnPaths(deps: readonly StageDep[], outs: readonly StageOut[], path: Path): void {
    const seen = new Set<string>();
    for (const { path: one } of [...deps, ...outs]) {
      if (seen.has(one)) this.fail(path, `"${one}" is named twice`);
      seen.add(one);
    }
  }

  /** A path below the repository, relative to it; "" for the repository itself. What a stage writes, and what pages show. */
  inside(dir: string, text: string, path: Path): string {
    this.checkLocal(text, path);
    const resolved = resolveBelow(dir, text);
    if (resolved.fault !== undefined) this.fail(path, `${JSON.stringify(text)} ${resolved.fault}: expected a path below the repository`);
    return resolved.path;
  }

  /** A path that a stage only reads, relative to the repository. It may lie outside, because the command could read there as well. */
  readable(dir: string, text: string, path: Path): string {
    this.checkLocal(text, path);
    if (posix.isAbsolute(text)) this.fail(path, `"${text}" is absolute: expected a path relative to the stage's working folder`);
    if (/\p{Cc}/u.test(text)) this.fail(path, `${JSON.stringify(text)} holds a control character`);
    return posix.join(dir, text).replace(/(?<=.)\/$/, "");
  }

  checkLocal(text: string, path: Path): void {
    if (text === "") this.fail(path, "expected a path, got an empty string");
    if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) this.fail(path, `"${text}": addresses are not supported yet, only files and folders`);
  }
}
