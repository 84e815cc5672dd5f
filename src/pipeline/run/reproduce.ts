import { join } from "node:path";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import { sha256 } from "../../files.ts";
import { endAbandonedCommand, noteCommand } from "./abandoned-command.ts";
import { recordData } from "./add-data.ts";
import { parseDataFile } from "../dvc-files/data-file.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import { describeChanges, findChanges, isUpToDate, withoutMissing, WorkspaceHashes, type StageChanges } from "./changes.ts";
import { ignoreFileOf, ignoreInGit, stageInGit } from "../dvc-files/git.ts";
import { selectStages, type StageSelection } from "./graph.ts";
import { lockFileOf, LockFiles, writeLockedStage, type LockedItem, type LockedStage } from "../dvc-files/lock-file.ts";
import { readStageParams } from "../dvc-files/params.ts";
import { takeLocks, type WantedLock } from "./path-locks.ts";
import { isRepeatable, openRunCache } from "./run-cache.ts";
import { runCommands } from "./run-commands.ts";
import type { OutEntry } from "../dvc-files/out-entry.ts";
import type { Stage } from "../dvc-files/stage.ts";
import { workspaceReader } from "../dvc-files/workspace-files.ts";
import type { Workspace } from "./workspace.ts";

export type StageEvent =
  | { readonly type: "waiting" | "recorded" | "restored" | "unchanged"; readonly stage: Stage; readonly reasons: readonly string[] }
  | { readonly type: "running" | "would run" | "skipped"; readonly stage: Stage; readonly reasons: readonly string[] }
  | { readonly type: "command" | "line" | "abandoned"; readonly stage: Stage; readonly text: string }
  | { readonly type: "ran"; readonly stage: Stage; readonly seconds: number }
  | { readonly type: "data"; readonly source: string; readonly path: string };

/** An out that a lock or a .dvc file records. */
export type RecordedOut = Pick<OutEntry, "path" | "md5" | "size"> & { readonly remote?: string | undefined };

export interface ReproduceOptions extends StageSelection {
  /** Stages, dvc.yaml files or outs; all stages where there is none. */
  readonly targets: readonly string[];
  /** Stages that may run at once. */
  readonly jobs: number;
  /** Says what would run, and changes nothing. */
  readonly dry: boolean;
  /** Runs stages that are up to date as well. */
  readonly force: boolean;
  /** Runs what does not depend on a stage that failed. */
  readonly keepGoing?: boolean | undefined;
  /** Takes deps and outs that are not there for what the lock says of them. */
  readonly allowMissing?: boolean | undefined;
  /** Brings recorded data into the cache that it lacks, before a stage is looked at. */
  readonly fetch?: ((outs: readonly RecordedOut[]) => Promise<void>) | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly shell: string;
  /** Keeps this process's stdout for its own result. */
  readonly outputToStderr: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent: (event: StageEvent) => void;
}

export interface StageResult {
  readonly stage: string;
  /** `recorded`: its outs were as the lock has them, and only the cache lacked them. */
  readonly action: "unchanged" | "ran" | "restored" | "recorded" | "would run";
  readonly reasons: readonly string[];
  readonly seconds: number;
}

const locksFolder = ".dvc/tmp/locks";

/**
 * Brings stages up to date in the order of their graph, as `dvc repro` does and with the same files: runs what changed, takes
 * from the run cache what ran before, and writes dvc.lock after each stage. When one fails, those that run are awaited and no
 * further one begins, or with `keepGoing` only none that reads from it. Throws what it failed with; where several fail, an error
 * with the code of the first and the messages of all.
 */
export async function reproduce({ root, graph }: Workspace, cache: OutputCache, options: ReproduceOptions): Promise<StageResult[]> {
  const chosen = selectStages(graph, options.targets, options);
  const run = new Reproduction(root, cache, options);
  const data = new Map(chosen.filter(({ frozen }) => !frozen).flatMap((stage) => graph.data(stage).map((node) => [node.source, node])));
  for (const { source, path } of data.values()) await run.recordData(source, path);

  const results = new Map<Stage, StageResult>();
  const running = new Map<Stage, Promise<void>>();
  const failures: unknown[] = [];
  const waiting = new Set(chosen);
  const isReady = (stage: Stage): boolean => graph.upstream(stage).every((before) => !chosen.includes(before) || results.has(before));
  while (waiting.size > 0 || running.size > 0) {
    for (const stage of waiting) {
      if ((failures.length > 0 && options.keepGoing !== true) || running.size >= options.jobs) break;
      if (!isReady(stage)) continue;
      waiting.delete(stage);
      const upstream = graph.upstream(stage);
      const rerun = upstream.filter((before) => results.get(before)?.action === "would run");
      const one = run
        .stage(stage, upstream, rerun)
        .then((result) => void results.set(stage, result))
        .catch((error: unknown) => void failures.push(error))
        .finally(() => running.delete(stage));
      running.set(stage, one);
    }
    if (running.size === 0) break;
    await Promise.race(running.values());
  }
  if (options.keepGoing === true)
    for (const stage of waiting) options.onEvent({ type: "skipped", stage, reasons: ["a stage that it reads from failed"] });
  if (failures.length > 0) throw joinFailures(failures, options.signal);
  return chosen.flatMap((stage) => results.get(stage) ?? []);
}

function joinFailures(failures: readonly unknown[], signal: AbortSignal | undefined): unknown {
  // Stages that were told to stop did not fail.
  const own = failures.filter((failure) => signal?.aborted !== true || failure !== signal.reason);
  const [first = failures[0]] = own;
  if (own.length <= 1) return first;
  const errors = own.map(toServalError);
  return new ServalError(
    toServalError(first).code,
    `${errors.length} stages failed:\n  ${errors.map(({ message }) => message).join("\n  ")}`,
    {
      hint: [...new Set(errors.map(({ hint }) => hint))].join(" "),
      cause: first,
      details: { failures: errors.map(({ code, message, details }) => ({ code, message, details })) },
    },
  );
}

class Reproduction {
  readonly #root: string;
  readonly #cache: OutputCache;
  readonly #options: ReproduceOptions;
  readonly #hashes: WorkspaceHashes;
  readonly #runs: ReturnType<typeof openRunCache>;
  readonly #read: (path: string) => string | undefined;
  readonly #locks: LockFiles;

  constructor(root: string, cache: OutputCache, options: ReproduceOptions) {
    this.#root = root;
    this.#cache = cache;
    this.#options = options;
    this.#hashes = new WorkspaceHashes(cache);
    this.#runs = openRunCache(cache.config.cacheDir);
    this.#read = workspaceReader(root);
    this.#locks = new LockFiles(root);
  }

  /** Data of a .dvc file that changed in the workspace becomes its new version, as with `dvc repro`. */
  async recordData(source: string, path: string): Promise<void> {
    const recorded = parseDataFile(this.#read(source) ?? "", source).find((out) => out.path === path);
    const now = await this.#hashes.of(path);
    if (now === null && recorded !== undefined && (await this.#fetch([recorded]))) {
      this.#hashes.forget(path);
      await this.#cache.restore(recorded);
      return;
    }
    if (now === null || this.#options.dry || (recorded?.md5 === now.md5 && (await this.#cache.has(now.md5)))) return;
    if (await recordData(this.#root, this.#cache, path, source)) this.#options.onEvent({ type: "data", source, path });
  }

  async stage(stage: Stage, upstream: readonly Stage[], rerun: readonly Stage[]): Promise<StageResult> {
    const { dry, force, onEvent } = this.#options;
    const startedAt = performance.now();
    const wanted: WantedLock[] = [
      { name: stage.address, mode: dry ? "read" : "write" },
      ...upstream.map(({ address }): WantedLock => ({ name: address, mode: "read" })),
    ];
    const release = await this.#lock(wanted, () => onEvent({ type: "waiting", stage, reasons: [] }));
    try {
      const locked = this.#locks.read(stage);
      const recorded = stage.outs.flatMap(({ cache, definedAs, path }) => {
        const item = cache ? locked?.outs.find((out) => out.path === definedAs) : undefined;
        return item === undefined ? [] : [{ path, md5: item.md5, size: item.size ?? 0 }];
      });
      await this.#fetch(recorded);
      const found = await findChanges(stage, locked, this.#cache, this.#hashes, this.#read);
      const changes = this.#options.allowMissing === true ? withoutMissing(found, locked) : found;
      const reasons = [
        ...describeChanges(changes),
        ...rerun.map(({ address }) => `it reads from ${address}`),
        ...(force && isUpToDate(changes) ? ["--force"] : []),
      ];
      const result = (action: StageResult["action"]): StageResult => {
        const seconds = (performance.now() - startedAt) / 1000;
        return { stage: stage.address, action, reasons, seconds };
      };
      if (reasons.length === 0) {
        onEvent({ type: "unchanged", stage, reasons });
        return result("unchanged");
      }
      if (dry) {
        onEvent({ type: "would run", stage, reasons });
        return result("would run");
      }
      const action = await this.#update(stage, locked, changes, reasons);
      return result(action);
    } finally {
      release();
    }
  }

  /** Brings what the cache lacks of the outs from a remote; whether there is a remote to ask. */
  async #fetch(outs: readonly RecordedOut[]): Promise<boolean> {
    const { fetch, dry } = this.#options;
    if (fetch === undefined || dry) return false;
    const lacking = [];
    for (const out of outs) if (!(await this.#cache.has(out.md5))) lacking.push(out);
    if (lacking.length > 0) await fetch(lacking);
    return true;
  }

  async #update(
    stage: Stage,
    locked: LockedStage | undefined,
    changes: StageChanges,
    reasons: readonly string[],
  ): Promise<StageResult["action"]> {
    const { force, onEvent } = this.#options;
    if (!force && locked && (await this.#isOnlyUncached(stage, locked, changes))) {
      onEvent({ type: "recorded", stage, reasons });
      await this.#record(stage, locked);
      return "recorded";
    }
    if (stage.frozen) {
      throw new ServalError("E_STAGE_INPUT", `Stage "${stage.address}" is frozen, and ${reasons.join("; ")}.`, {
        hint: "Bring its outs back with `serval checkout`, or take `frozen` out of dvc.yaml.",
      });
    }
    const inputs = await this.#inputs(stage);
    const cached = force ? undefined : await this.#fromCache(stage, locked, inputs, changes);
    if (cached) {
      onEvent({ type: "restored", stage, reasons });
      await this.#writeLock(stage, cached);
      return "restored";
    }
    await this.#run(stage, inputs, reasons);
    return "ran";
  }

  /** Whether the workspace is as the lock says, and only the cache has lost something: then there is nothing to run. */
  async #isOnlyUncached(stage: Stage, locked: LockedStage, changes: StageChanges): Promise<boolean> {
    if (!isUpToDate({ ...changes, outs: new Map() })) return false;
    for (const { definedAs, path } of stage.outs) {
      const now = await this.#hashes.of(path);
      if (now?.md5 !== locked.outs.find((item) => item.path === definedAs)?.md5) return false;
    }
    return true;
  }

  /** What the lock will say that the stage read: hashed before it runs, so that a change while it runs is seen next time. */
  async #inputs(stage: Stage): Promise<LockedStage> {
    const deps: LockedItem[] = [];
    for (const { definedAs, path } of stage.deps) {
      const entry = await this.#hashes.of(path);
      if (entry === null) throw new ServalError("E_STAGE_INPUT", `Stage "${stage.address}" reads "${path}", which is not there.`);
      deps.push({ ...entry, path: definedAs });
    }
    const params = readStageParams(stage, this.#read);
    for (const { definedAs, path, keys } of stage.params) {
      const values = params.get(definedAs);
      const missing = values === undefined ? [] : keys.filter((key) => !values.has(key));
      if (values !== undefined && missing.length === 0) continue;
      const what =
        values === undefined
          ? `"${path}", which is not there`
          : `${missing.map((key) => `"${key}"`).join(", ")} of "${path}", which has no such parameter`;
      throw new ServalError("E_STAGE_INPUT", `Stage "${stage.address}" reads ${what}.`, {
        hint: "Correct `params` in dvc.yaml, or add the parameter.",
      });
    }
    return { cmd: stage.cmd, deps, params, outs: stage.outs.map(({ definedAs }) => ({ path: definedAs, md5: "" })) };
  }

  /** Puts the outs of an earlier run that read the same into the workspace; undefined where there is none, or not all of it. */
  async #fromCache(
    stage: Stage,
    locked: LockedStage | undefined,
    inputs: LockedStage,
    changes: StageChanges,
  ): Promise<LockedStage | undefined> {
    if (!isRepeatable(stage)) return undefined;
    const sameInputs = locked && isUpToDate({ ...changes, outs: new Map() });
    const found = sameInputs && locked.outs.length === stage.outs.length ? locked : await this.#runs.find(inputs);
    if (found === undefined) return undefined;
    const pairs = stage.outs.map((out) => ({ out, item: found.outs.find((item) => item.path === out.definedAs) }));
    for (const { item } of pairs) if (item === undefined || !(await this.#cache.has(item.md5))) return undefined;
    await this.#removeOuts(stage);
    for (const { out, item } of pairs) {
      if (item === undefined) return undefined;
      const entry = { path: out.path, md5: item.md5, ...(item.isexec === true && { isexec: true as const }) };
      if (!(await this.#cache.restore(entry, { asCopy: !out.cache, force: true }))) return undefined;
    }
    return { ...inputs, outs: found.outs };
  }

  async #run(stage: Stage, inputs: LockedStage, reasons: readonly string[]): Promise<void> {
    const { onEvent, jobs, env, shell, outputToStderr, signal } = this.#options;
    const startedAt = performance.now();
    onEvent({ type: "running", stage, reasons });
    const note = join(this.#root, locksFolder, `${sha256(stage.address).slice(0, 32)}.running`);
    await endAbandonedCommand(note, (pids) => onEvent({ type: "abandoned", stage, text: pids.join(", ") }));
    await this.#removeOuts(stage);
    const noted = noteCommand(note);
    await runCommands(stage.address, stage.cmd, {
      cwd: join(this.#root, stage.wdir),
      shell,
      // Programs that DVC runs can rely on these.
      env: { ...env, DVC_ROOT: this.#root, DVC_STAGE: stage.address, ...noted.env },
      outputToStderr,
      signal,
      onCommand: (text) => onEvent({ type: "command", stage, text }),
      ...(jobs > 1 && { onLine: (text: string) => onEvent({ type: "line", stage, text }) }),
    }).finally(noted.ended);
    await this.#record(stage, inputs);
    onEvent({ type: "ran", stage, seconds: (performance.now() - startedAt) / 1000 });
  }

  /** Puts what the stage wrote into the cache, then into the lock. */
  async #record(stage: Stage, inputs: LockedStage): Promise<void> {
    const repeatable = isRepeatable(stage);
    const outs: LockedItem[] = [];
    for (const { definedAs, path, cache } of stage.outs) {
      this.#hashes.forget(path);
      // Others may take an out of the run cache that Git tracks here, so the cache holds it as well.
      const entry = cache || repeatable ? await this.#storeOut(stage, path, !cache) : await this.#hashes.of(path);
      if (entry === null) throw this.#missingOut(stage, path);
      outs.push({ ...entry, path: definedAs });
      if (cache) await ignoreInGit(this.#root, path);
    }
    const entry = { ...inputs, outs };
    await this.#writeLock(stage, entry);
    if (repeatable) await this.#runs.save(entry);
  }

  async #storeOut(stage: Stage, path: string, asCopy: boolean): Promise<LockedItem> {
    try {
      return await this.#cache.store(path, { asCopy });
    } catch (error) {
      throw error instanceof ServalError && error.code === "E_FILE_NOT_FOUND" ? this.#missingOut(stage, path) : error;
    }
  }

  #missingOut(stage: Stage, path: string): ServalError {
    return new ServalError("E_STAGE_FAILED", `Stage "${stage.address}" ended well but did not write its out "${path}".`, {
      hint: "Correct the path under `outs` in dvc.yaml, or the command.",
    });
  }

  async #removeOuts(stage: Stage): Promise<void> {
    for (const { path, persist } of stage.outs) {
      this.#hashes.forget(path);
      if (persist) await this.#cache.unlink(path);
      else await this.#cache.remove(path);
    }
  }

  /** One at a time, in this process and in others: a lock file holds all stages of its dvc.yaml. */
  async #writeLock(stage: Stage, entry: LockedStage): Promise<void> {
    const release = await this.#lock([{ name: lockFileOf(stage), mode: "write" }]);
    try {
      await writeLockedStage(this.#root, stage, entry);
      if (this.#cache.config.autostage)
        await stageInGit(this.#root, [lockFileOf(stage), ...stage.outs.map(({ path }) => ignoreFileOf(path))]);
    } finally {
      release();
    }
  }

  #lock(wanted: readonly WantedLock[], onWait: () => void = () => undefined): Promise<() => void> {
    return takeLocks(join(this.#root, locksFolder), wanted, { signal: this.#options.signal, onWait });
  }
}
