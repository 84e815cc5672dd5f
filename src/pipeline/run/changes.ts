import type { OutEntry } from "../dvc-files/out-entry.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import { isInside } from "./graph.ts";
import type { LockedStage } from "../dvc-files/lock-file.ts";
import { changedValues, readStageParams, type ValueChange } from "../dvc-files/params.ts";
import type { Stage } from "../dvc-files/stage.ts";
import { isList, isYamlMap, toPlain, type YamlValue, type ReadText } from "../dvc-files/yaml-values.ts";

/** DVC's words for what may be the matter with a path. */
export type PathState = "new" | "modified" | "deleted" | "not in cache";

/** Why a stage is not up to date. All empty and false: it is. */
export interface StageChanges {
  readonly neverRan: boolean;
  readonly always: boolean;
  readonly command: boolean;
  /** By path as dvc.yaml has it. */
  readonly deps: ReadonlyMap<string, PathState>;
  readonly outs: ReadonlyMap<string, PathState>;
  /** By file as dvc.yaml has it. */
  readonly params: ReadonlyMap<string, readonly ValueChange[]>;
}

/** The hashes of the workspace, each computed once until the path is written again. */
export class WorkspaceHashes {
  readonly #cache: OutputCache;
  readonly #known = new Map<string, Promise<OutEntry | null>>();

  constructor(cache: OutputCache) {
    this.#cache = cache;
  }

  of(path: string): Promise<OutEntry | null> {
    const known = this.#known.get(path);
    if (known) return known;
    const hashed = this.#cache.hash(path);
    this.#known.set(path, hashed);
    // A failure is not kept: the next call tries again.
    hashed.catch(() => this.#known.delete(path));
    return hashed;
  }

  /** Forgets a path that is about to be written, and what lies around it or inside it. */
  forget(path: string): void {
    for (const known of this.#known.keys()) {
      if (known === path || isInside(known, path) || isInside(path, known)) this.#known.delete(known);
    }
  }
}

export async function findChanges(
  stage: Stage,
  locked: LockedStage | undefined,
  cache: OutputCache,
  hashes: WorkspaceHashes,
  read: ReadText,
): Promise<StageChanges> {
  const deps = new Map<string, PathState>();
  const outs = new Map<string, PathState>();
  const params = new Map<string, readonly ValueChange[]>();
  if (!stage.frozen) {
    for (const { definedAs, path } of stage.deps) {
      const now = await hashes.of(path);
      const before = locked?.deps.find((item) => item.path === definedAs);
      if (now === null) deps.set(definedAs, "deleted");
      else if (now.md5 !== before?.md5) deps.set(definedAs, "modified");
    }
    const now = readStageParams(stage, read);
    for (const { definedAs } of stage.params) {
      const changes = changedValues(locked?.params.get(definedAs) ?? new Map(), now.get(definedAs) ?? new Map());
      if (changes.length > 0) params.set(definedAs, changes);
    }
  }
  for (const out of stage.outs) {
    const before = locked?.outs.find((item) => item.path === out.definedAs);
    if (before && out.cache && !(await cache.has(before.md5))) outs.set(out.definedAs, "not in cache");
    else {
      const now = await hashes.of(out.path);
      if (now === null) outs.set(out.definedAs, "deleted");
      else if (now.md5 !== before?.md5) outs.set(out.definedAs, "modified");
    }
  }
  return {
    neverRan: locked === undefined,
    always: stage.alwaysChanged || isCallback(stage),
    command: locked !== undefined && !sameCommand(locked.cmd, stage.cmd),
    deps,
    outs,
    params,
  };
}

/** A stage with neither deps nor outs is run each time, as by DVC: nothing says whether it is done. */
export function isCallback(stage: Stage): boolean {
  return stage.deps.length === 0 && stage.params.length === 0 && stage.outs.length === 0;
}

export function isUpToDate(changes: StageChanges): boolean {
  const { neverRan, always, command, deps, outs, params } = changes;
  return !neverRan && !always && !command && deps.size === 0 && outs.size === 0 && params.size === 0;
}

/** The changes except for data that is not there and that the lock knows: as by `dvc repro --allow-missing`. */
export function withoutMissing(changes: StageChanges, locked: LockedStage | undefined): StageChanges {
  const known = (items: readonly { readonly path: string }[] | undefined, path: string): boolean =>
    items?.some((item) => item.path === path) === true;
  const deps = [...changes.deps].filter(([path, state]) => state !== "deleted" || !known(locked?.deps, path));
  const outs = [...changes.outs].filter(([path, state]) => !["deleted", "not in cache"].includes(state) || !known(locked?.outs, path));
  return { ...changes, deps: new Map(deps), outs: new Map(outs) };
}

function sameCommand(a: LockedStage["cmd"], b: LockedStage["cmd"]): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** One line for each reason, for people. */
export function describeChanges(changes: StageChanges): string[] {
  const reasons: string[] = [];
  if (changes.neverRan) reasons.push("it has not run yet");
  if (changes.always) reasons.push("it runs each time");
  if (changes.command) reasons.push("its command changed");
  if (!changes.neverRan) {
    for (const [path, state] of changes.deps) reasons.push(`dep ${path} ${state === "deleted" ? "is not there" : `is ${state}`}`);
    for (const [file, values] of changes.params) {
      for (const { key, old, new: now } of values) reasons.push(`${file}: ${key} changed from ${show(old)} to ${show(now)}`);
    }
    for (const [path, state] of changes.outs) reasons.push(`out ${path} is ${state === "deleted" ? "not there" : state}`);
  }
  return reasons;
}

/** As `dvc status --json` gives it. */
export function statusOf(stage: Stage, changes: StageChanges): (string | Record<string, unknown>)[] {
  const result: (string | Record<string, unknown>)[] = [];
  const deps: Record<string, unknown> = Object.fromEntries(changes.deps);
  for (const { definedAs, keys } of stage.params) {
    const values = changes.params.get(definedAs);
    if (values === undefined) continue;
    // By the key that the stage names, which may be a whole section.
    const states = new Map<string, PathState>();
    for (const change of values) {
      const key = keys.find((known) => change.key === known || change.key.startsWith(`${known}.`)) ?? change.key.split(".")[0] ?? "";
      const state = change.old === undefined ? "new" : change.new === undefined ? "deleted" : "modified";
      states.set(key, states.has(key) && states.get(key) !== state ? "modified" : state);
    }
    deps[definedAs] = changes.neverRan ? "new" : Object.fromEntries(states);
  }
  if (Object.keys(deps).length > 0) result.push({ "changed deps": deps });
  if (changes.outs.size > 0) result.push({ "changed outs": Object.fromEntries(changes.outs) });
  if (changes.always) result.push("always changed");
  if (changes.command) result.push("changed command");
  return result;
}

/** A value in a message: short, and strings without quotes. */
export function show(value: YamlValue | undefined): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return value;
  const text = isList(value) ? `[${value.map(show).join(", ")}]` : isYamlMap(value) ? "a section" : String(toPlain(value));
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
