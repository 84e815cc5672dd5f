import { join, posix } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { writeFileAtomic } from "../../files.ts";
import { paramsFile } from "../../paths.ts";
import type { Stage } from "./stage.ts";
import { isList, isYamlMap, parseYaml, type YamlMap, type YamlValue } from "./yaml-values.ts";
import { workspaceReader } from "./workspace-files.ts";
import { renderYaml } from "./yaml-writer.ts";

/** What the lock knows of a dep or an out. */
export interface LockedItem {
  /** As dvc.yaml has it, relative to the stage's working folder. */
  readonly path: string;
  readonly md5: string;
  readonly size?: number | undefined;
  readonly nfiles?: number | undefined;
  readonly isexec?: boolean | undefined;
}

/** A stage's entry in dvc.lock: what its last run read and wrote. */
export interface LockedStage {
  readonly cmd: string | readonly string[];
  readonly deps: readonly LockedItem[];
  /** File as dvc.yaml has it -> key -> value. */
  readonly params: ReadonlyMap<string, YamlMap>;
  readonly outs: readonly LockedItem[];
}

/** A stage's entry as a file has it. */
export interface RecordedStage extends LockedStage {
  /** All its outs, also those that `outs` leaves out because an older version of DVC wrote them. */
  readonly recordedOuts: readonly YamlMap[];
}

export function lockFileOf(stage: Pick<Stage, "dir">): string {
  return posix.join(stage.dir, "dvc.lock");
}

/** The entries of a repository's lock files. A file is parsed again only when its text has changed, not for each of its stages. */
export class LockFiles {
  readonly #root: string;
  readonly #parsed = new Map<string, { readonly text: string; readonly stages: ReadonlyMap<string, LockedStage> }>();

  constructor(root: string) {
    this.#root = root;
  }

  /** The entry of a stage; undefined where it never ran. Throws E_DVC_FILE. */
  read(stage: Pick<Stage, "dir" | "name">): LockedStage | undefined {
    const file = lockFileOf(stage);
    const text = workspaceReader(this.#root)(file);
    if (text === undefined) return undefined;
    const known = this.#parsed.get(file);
    if (known?.text === text) return known.stages.get(stage.name);
    const stages = parseLock(text, file);
    this.#parsed.set(file, { text, stages });
    return stages.get(stage.name);
  }
}

/**
 * The stages of a dvc.lock of schema 2.0; nothing else reads such a file. With `skipLegacy` a lock of DVC 1, which has no
 * schema, has no stages. Throws E_DVC_FILE, with the line.
 */
export function parseLock(text: string, file: string, options: { readonly skipLegacy?: boolean } = {}): Map<string, RecordedStage> {
  const { stages, line } = readStages(text, file, options.skipLegacy);
  return new Map([...stages].map(([name, value]) => [name, parseLockedStage(value, `${file}:${line(["stages", name])}: ${name}`)]));
}

interface Stages {
  readonly top: YamlMap;
  readonly stages: YamlMap;
  readonly line: (path: readonly string[]) => number;
}

function readStages(text: string, file: string, skipLegacy = false): Stages {
  const parsed = parseYaml(text, file, "E_DVC_FILE");
  const top = parsed.value ?? new Map<string, YamlValue>();
  if (!isYamlMap(top)) throw new ServalError("E_DVC_FILE", `${file}: expected a mapping.`);
  const schema = top.get("schema");
  if (skipLegacy && schema === undefined) return { top: new Map(), stages: new Map(), line: () => 1 };
  if (top.size > 0 && schema !== "2.0") {
    throw new ServalError("E_DVC_FILE", `${file}: expected schema '2.0', got ${JSON.stringify(schema)}: another version of DVC wrote it.`);
  }
  for (const key of top.keys()) {
    if (!["schema", "stages", "datasets"].includes(key)) {
      throw new ServalError("E_DVC_FILE", `${file}:${parsed.line([key])}: unknown field "${key}": a newer DVC may have written it.`);
    }
  }
  const stages = top.get("stages") ?? new Map<string, YamlValue>();
  if (!isYamlMap(stages)) throw new ServalError("E_DVC_FILE", `${file}:${parsed.line(["stages"])}: stages: expected a mapping.`);
  return { top, stages, line: (path) => parsed.line(path) };
}

export function parseLockedStage(value: YamlValue, where: string): RecordedStage {
  const fail = (text: string): never => {
    throw new ServalError("E_DVC_FILE", `${where}: ${text}.`);
  };
  if (!isYamlMap(value)) return fail("expected a mapping");
  for (const key of value.keys()) {
    if (!["cmd", "deps", "params", "outs"].includes(key)) fail(`unknown field "${key}": a newer DVC may have written it`);
  }
  const cmd = value.get("cmd");
  const entries = (key: string): YamlMap[] => {
    const list = value.get(key) ?? [];
    if (!isList(list)) return fail(`${key}: expected a list`);
    return list.map((item) => (isYamlMap(item) ? item : fail(`${key}: expected \`path\` in each entry`)));
  };
  const items = (key: string): LockedItem[] => entries(key).flatMap((item) => parseLockedItem(item, (text) => fail(`${key}: ${text}`)));
  const params = value.get("params") ?? new Map<string, YamlValue>();
  if (!isYamlMap(params)) return fail("params: expected a mapping");
  const files = [...params].map(([file, values]): [string, YamlMap] => [
    file,
    isYamlMap(values) ? values : fail(`params: ${file}: expected a mapping`),
  ]);
  if (!isCommand(cmd)) return fail("expected `cmd`");
  return { cmd, deps: items("deps"), params: new Map(files), outs: items("outs"), recordedOuts: entries("outs") };
}

/** A list with the item, or an empty one where an older version of DVC wrote it. */
function parseLockedItem(item: YamlMap, fail: (text: string) => never): LockedItem[] {
  const path = item.get("path");
  if (typeof path !== "string") return fail("expected `path` in each entry");
  const md5 = item.get("md5");
  // DVC 2 wrote no `hash`. Its MD5 is the same except for texts with Windows line ends, which count as changed.
  if (![undefined, "md5"].includes(item.get("hash") as string | undefined) || typeof md5 !== "string") return [];
  if (!/^[0-9a-f]{32}(\.dir)?$/.test(md5)) fail(`"${path}": expected an MD5, got "${md5}"`);
  const number = (name: string): number | undefined => {
    const found = item.get(name);
    return typeof found === "number" ? found : undefined;
  };
  return [{ path, md5, size: number("size"), nfiles: number("nfiles"), isexec: item.get("isexec") === true }];
}

function isCommand(value: YamlValue | undefined): value is string | readonly string[] {
  return typeof value === "string" || (isList(value) && value.every((line) => typeof line === "string"));
}

/** The text of a dvc.lock with one stage's entry put in: byte for byte what `dvc commit` writes. */
export function renderLock(previous: string | undefined, file: string, name: string, entry: LockedStage): string {
  const before = previous === undefined ? undefined : readStages(previous, file);
  const top = new Map<string, YamlValue>(before?.top.size ? before.top : [["schema", "2.0"]]);
  top.set("stages", new Map([...(before?.stages ?? []), [name, lockedStageToYaml(entry)]]));
  return renderYaml(top);
}

export async function writeLockedStage(root: string, stage: Pick<Stage, "dir" | "name">, entry: LockedStage): Promise<void> {
  const file = lockFileOf(stage);
  const previous = workspaceReader(root)(file);
  const text = renderLock(previous, file, stage.name, entry);
  if (text !== previous) await writeFileAtomic(join(root, file), text);
}

/** In the order and with the sorting of DVC's `to_single_stage_lockfile`. */
export function lockedStageToYaml(entry: LockedStage): YamlMap {
  const map = new Map<string, YamlValue>([["cmd", entry.cmd]]);
  const items = (list: readonly LockedItem[]): YamlValue[] =>
    [...list].sort((a, b) => compareCodePoints(a.path, b.path)).map((item) => new Map(itemFields(item)));
  if (entry.deps.length > 0) map.set("deps", items(entry.deps));
  const files = [...entry.params].sort(([a], [b]) => Number(b === paramsFile) - Number(a === paramsFile) || compareCodePoints(a, b));
  if (files.length > 0) {
    const sorted = files.map(([file, values]): [string, YamlMap] => [
      file,
      new Map([...values].sort(([a], [b]) => compareCodePoints(a, b))),
    ]);
    map.set("params", new Map(sorted));
  }
  if (entry.outs.length > 0) map.set("outs", items(entry.outs));
  return map;
}

function itemFields({ path, md5, size, nfiles, isexec }: LockedItem): [string, YamlValue][] {
  return [
    ["path", path],
    ["hash", "md5"],
    ["md5", md5],
    ...(size === undefined ? [] : [["size", size] as [string, number]]),
    ...(nfiles === undefined ? [] : [["nfiles", nfiles] as [string, number]]),
    ...(isexec === true ? [["isexec", true] as [string, boolean]] : []),
  ];
}

/** Python's order of strings. */
export function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
