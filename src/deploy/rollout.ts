import { ServalError, toServalError, type ErrorCode } from "../errors/serval-error.ts";
import { countersBetween, type Counters } from "./counters.ts";
import { compareLatency } from "./checks/latency.ts";
import { waitUntilReady } from "./checks/readiness.ts";
import { runSmoke } from "./checks/smoke.ts";
import { describeStopped } from "./stopped.ts";
import type { Observation, PreviousRelease, Release, Standing, Target } from "./target.ts";
import { watchRollout, type Seen, type WatchReport } from "./watch.ts";

export interface RolloutOptions {
  /** An image, or `undo` for the previous version. */
  readonly version: string | { readonly undo: true };
  /** False: the image is on this engine already. */
  readonly pull: boolean;
  /** Model that the new version serves in place of the one that the configuration names. */
  readonly model?: string | undefined;
  /** How long the new version may take to become ready. */
  readonly waitMs: number;
  /** How long it is watched beside the previous one; a third of it once more when it serves alone. */
  readonly watchSeconds: number;
  /** Bound for the median time of a prediction in the smoke test. */
  readonly maxLatencyMs: number;
  /** Where the service requires one. */
  readonly apiKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after each step. */
  readonly onStep?: ((step: RolloutStep) => void) | undefined;
}

export interface RolloutStep {
  readonly name: string;
  readonly passed: boolean;
  /** What was seen. */
  readonly message: string;
  readonly seconds: number;
}

/** deployed: the new version serves; refused: the previous version does; down: none does; stopped: the error says what serves. */
export type Outcome = "deployed" | "refused" | "down" | "stopped";

export interface RolloutReport {
  readonly target: string;
  readonly outcome: Outcome;
  readonly version: string | null;
  /** What serves at the end; of a deploy that was stopped, what served at the beginning. */
  readonly serving: Release | null;
  /** What served at the beginning. */
  readonly before: Release | null;
  readonly steps: readonly RolloutStep[];
  readonly watch: { readonly candidate: Seen; readonly beside: Seen | null } | null;
  readonly seconds: number;
  /** Why the new version does not serve. */
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint: string } | null;
}

/**
 * Replaces the version that serves, without a lost request: what a killed deploy left is put right, the new version is
 * started beside the old one and tested, gets requests beside it, and alone. When anything fails, the previous version serves as
 * it did. When `signal` aborts, it ends at once, whatever is under way: something serves at each moment, and the next deploy puts
 * the rest right. Throws E_DEPLOY_NOT_READY and E_USAGE, with nothing changed; all else is in the report.
 */
export async function rollOut(target: Target, options: RolloutOptions): Promise<RolloutReport> {
  return await new Rollout(target, options).run();
}

class Rollout {
  readonly #target: Target;
  readonly #options: RolloutOptions;
  readonly #startedAt = performance.now();
  readonly #steps: RolloutStep[] = [];
  #version: string | null = null;
  /** Undefined until it was looked up. */
  #before: Release | null | undefined;
  #watched: WatchReport | null = null;

  constructor(target: Target, options: RolloutOptions) {
    this.#target = target;
    this.#options = options;
    this.#version = typeof options.version === "string" ? options.version : null;
  }

  async run(): Promise<RolloutReport> {
    let release: Release;
    let standing: Standing;
    try {
      standing = await this.#step("stand", async () => {
        const found = await this.#target.recover();
        return [found, [...found.repaired, `serving: ${describeRelease(found.serving)}`].join(" ")] as const;
      });
      this.#before = standing.serving;
      if (this.#undoes() && standing.undone) return this.#report("deployed", standing.serving, null);
      release = await this.#step("fetch", async () => {
        const got = await this.#fetch(standing);
        return [got, `${got.imageId.slice(7, 19)}${got.model === "" ? "" : `, model ${got.model}`}`] as const;
      });
      this.#version = release.version;
    } catch (error) {
      const known = toServalError(error);
      if (known.code === "E_DEPLOY_NOT_READY" || known.code === "E_USAGE") throw error;
      return this.#report(this.#before ? "refused" : "down", this.#before ?? null, error);
    }
    try {
      await this.#bringIn(release);
      await this.#step("commit", async () => [await this.#target.commit(), `${release.version} is the version that passed last`] as const);
      return this.#report("deployed", release, null);
    } catch (error) {
      return await this.#takeBack(error);
    }
  }

  async #bringIn(release: Release): Promise<void> {
    const { waitMs, watchSeconds, apiKey, signal } = this.#options;
    const target = this.#target;
    const observe = async (): Promise<Observation> => await unlessStopped(async () => await target.observe(), signal);
    const countersAtFirst = (await observe().catch(() => null))?.before ?? null;
    const url = await this.#step("start", async () => {
      const started = await target.start(release);
      return [started.url, `beside the previous version, at ${started.url}`] as const;
    });
    await this.#step(
      "ready",
      async () => [await waitUntilReady(url, { waitMs, brokenBy: () => target.brokenBy(), signal }), "answers"] as const,
    );
    await this.#step("smoke", async () => [undefined, await smoke(url, this.#options)] as const);
    // Before the next step: what it asks of the previous version is quick, and does not come from users.
    const earlier = between(countersAtFirst, (await observe()).before);
    await this.#step(
      "latency",
      async () => [undefined, await compareLatency(url, await target.addressBefore(), { apiKey, signal })] as const,
    );
    await this.#step("admit", async () => [await target.admit(), "requests reach both versions"] as const);
    await this.#watch("watch", watchSeconds, earlier);
    if (this.#before) {
      await this.#step("retire", async () => [await target.retire(), "the previous version answered what it had, and stopped"] as const);
      await this.#watch("alone", watchSeconds / 3, earlier);
    }
    await this.#step("public", async () => {
      const address = await target.publicAddress();
      return [await waitUntilReady(address, { waitMs: 5000, brokenBy: () => target.brokenBy(), signal }), `answers at ${address}`] as const;
    });
  }

  async #watch(name: string, seconds: number, before: Counters | null): Promise<void> {
    await this.#step(name, async () => {
      const report = await watchRollout(this.#target, { seconds, before, signal: this.#options.signal });
      this.#watched = this.#watched === null ? report : { ...report, beside: this.#watched.beside };
      return [undefined, describeWatch(report)] as const;
    });
  }

  async #takeBack(failure: unknown): Promise<RolloutReport> {
    if (this.#options.signal?.aborted) return this.#report("stopped", this.#before ?? null, failure);
    const log = await unlessStopped(async () => await this.#target.log(), this.#options.signal).catch(() => "");
    if (log !== "") this.#note("log", false, log);
    try {
      const serving = await this.#step("take back", async () => {
        const release = await this.#target.takeBack();
        return [release, release === null ? "there is no version to go back to" : `${describeRelease(release)} serves`] as const;
      });
      return this.#report(serving === null ? "down" : "refused", serving, failure);
    } catch {
      return this.#report("down", null, failure);
    }
  }

  async #fetch(standing: Standing): Promise<Release> {
    const { version, pull, model } = this.#options;
    if (typeof version === "string") return await this.#target.fetch(version, { pull, model });
    const { previous, origin } = findPrevious(standing, pull);
    if (origin === null) return previous;
    try {
      const { imageId } = await this.#target.fetch(origin, { pull: true, model: previous.model });
      return { version: previous.version, imageId, model: previous.model };
    } catch (cause) {
      const { message } = toServalError(cause);
      throw new ServalError("E_DEPLOY_NOT_READY", `${imageGone(previous)}. ${message}`, { cause, hint: deployAnother });
    }
  }

  #undoes(): boolean {
    return typeof this.#options.version !== "string";
  }

  async #step<T>(name: string, work: () => Promise<readonly [T, string]>): Promise<T> {
    this.#options.signal?.throwIfAborted();
    const startedAt = performance.now();
    try {
      const [value, message] = await unlessStopped(work, this.#options.signal);
      this.#note(name, true, message, startedAt);
      return value;
    } catch (error) {
      this.#note(name, false, toServalError(error).message, startedAt);
      throw error;
    }
  }

  #note(name: string, passed: boolean, message: string, startedAt: number = performance.now()): void {
    const step = { name, passed, message, seconds: Number(((performance.now() - startedAt) / 1000).toFixed(1)) };
    this.#steps.push(step);
    this.#options.onStep?.(step);
  }

  #whenStopped(): ServalError {
    const { message } = toServalError(this.#options.signal?.reason);
    const last = this.#steps.at(-1);
    const when = last === undefined ? "" : ` ${last.passed ? "after" : "during"} the step "${last.name}"`;
    const state = describeStopped({ step: last?.name ?? "stand", before: this.#before, version: this.#version });
    return new ServalError("E_INTERRUPTED", `${message.replace(/\.$/, "")}${when}. ${state}`, {
      hint: "The next `serval deploy VERSION`, or `serval deploy --undo`, removes what did not pass its checks.",
    });
  }

  #report(outcome: Outcome, serving: Release | null, error: unknown): RolloutReport {
    const stopped = error !== null && this.#options.signal?.aborted === true;
    const known = error === null ? null : stopped ? this.#whenStopped() : toServalError(error);
    return {
      target: this.#target.name,
      outcome: stopped ? "stopped" : outcome,
      version: this.#version,
      serving: stopped ? (this.#before ?? null) : serving,
      before: this.#before ?? null,
      steps: this.#steps,
      watch: this.#watched && { candidate: this.#watched.candidate, beside: this.#watched.beside },
      seconds: Number(((performance.now() - this.#startedAt) / 1000).toFixed(1)),
      error: known && { code: known.code, message: known.message, hint: known.hint },
    };
  }
}

/** The result of `work`, or what the signal was aborted with: then nothing waits for the rest of it. */
async function unlessStopped<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work();
  return await new Promise<T>((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", stop, { once: true });
    void work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", stop));
  });
}

async function smoke(url: string, { maxLatencyMs, apiKey, signal }: RolloutOptions): Promise<string> {
  const { checks } = await runSmoke({ url, waitMs: 0, maxLatencyMs, alone: true, apiKey, signal });
  const failed = checks.filter(({ passed }) => !passed);
  if (failed.length === 0) return `${checks.length} checks passed`;
  throw new ServalError("E_SMOKE", failed.map(({ name, message }) => `${name}: ${message}`).join("; "));
}

function between(earlier: Counters | null, later: Counters | null): Counters | null {
  return later && countersBetween(earlier, later);
}

const deployAnother = "Deploy any other version by its name: `serval deploy VERSION`.";

function imageGone({ version }: PreviousRelease): string {
  return `The image of ${version}, the previous version, was removed from this machine`;
}

/**
 * What an undo goes back to, and the name to pull its image by, null where that is here. Throws E_DEPLOY_NOT_READY where
 * there is nothing to go back to, or no way to its image.
 */
export function findPrevious(
  { previous }: Standing,
  pull: boolean,
): { readonly previous: PreviousRelease; readonly origin: string | null } {
  if (previous === null)
    throw new ServalError("E_DEPLOY_NOT_READY", "There is no version to go back to: none served here before this one.");
  if (previous.there) return { previous, origin: null };
  const { origin } = previous;
  if (origin !== null && pull) return { previous, origin };
  const why = origin === null ? "was not pulled from a registry" : "--no-pull says not to get it again";
  throw new ServalError("E_DEPLOY_NOT_READY", `${imageGone(previous)}, and ${why}.`, { hint: deployAnother });
}

/** For people: the version, and its model where one is named. */
export function describeRelease(release: Pick<Release, "version" | "model"> | null): string {
  if (release === null) return "nothing";
  return release.model === "" ? release.version : `${release.version} with model ${release.model}`;
}

function describeWatch({ seconds, candidate, beside }: WatchReport): string {
  const one = ({ requests, failed, medianMs }: Seen): string =>
    `${requests} requests, ${failed} failed${medianMs === null ? "" : `, median ${medianMs} ms`}`;
  return `${seconds.toFixed(0)} s: ${one(candidate)}${beside ? `; the previous version ${one(beside)}` : ""}`;
}
