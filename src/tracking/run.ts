import { hostname } from "node:os";
import { toServalError, type ServalError } from "../errors.ts";
import type { RunStatus, TrackingClient } from "./client.ts";
import { Delivery } from "./deliver.ts";
import { Spool, type SpoolEntry } from "./spool.ts";

export interface TrackedRunOptions {
  readonly client: TrackingClient;
  /** Folder of the run; its spool lies there. */
  readonly runDir: string;
  readonly experiment: string;
  readonly run: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Hears of every failure: again and again while a server is down. */
  readonly onTrouble: (error: ServalError) => void;
  /** Pause after a failure before the next attempt; doubled each time up to a minute. */
  readonly retryAfterMs?: number;
}

export interface TrackingOutcome {
  readonly server: string;
  /** False: what is missing waits in the run's folder for the next training. */
  readonly delivered: boolean;
  /** Address of the run's page; null where the server never answered. */
  readonly page: string | null;
}

const longestPauseMs = 60_000;
const finalAttempts = 3;
const finalPauseMs = 300;

/**
 * One run on its way to a tracking server. Logging writes to the spool and returns; a sender in the background empties
 * it. A server that is down, slow or confused never stops or slows what is logged about.
 */
export class TrackedRun {
  readonly #options: TrackedRunOptions;
  readonly #spool: Spool;
  readonly #delivery: Delivery;
  readonly #abort = new AbortController();
  #pause: number;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  /** Set where asking again cannot help: the rest stays in the spool. */
  #refused = false;

  private constructor(options: TrackedRunOptions, spool: Spool) {
    this.#options = options;
    this.#spool = spool;
    this.#delivery = new Delivery(options.client, spool, options.onTrouble);
    this.#pause = options.retryAfterMs ?? 1000;
  }

  /** Begins a run, or goes on with it where its folder was logged from before. */
  static async start(options: TrackedRunOptions): Promise<TrackedRun> {
    const tracked = new TrackedRun(options, await Spool.open(options.runDir));
    const { client, experiment, run, tags } = options;
    tracked.#log({ type: "run", server: client.server, experiment, run, tags, host: hostname(), pid: process.pid, at: Date.now() });
    return tracked;
  }

  logParams(params: Readonly<Record<string, string>>): void {
    this.#log({ type: "params", params });
  }

  setTags(tags: Readonly<Record<string, string>>): void {
    this.#log({ type: "tags", tags });
  }

  /** JSON has no NaN and no infinity: they are kept as text. */
  logMetrics(metrics: Readonly<Record<string, number>>, step: number): void {
    const values = Object.entries(metrics).map(([key, value]) => [key, Number.isFinite(value) ? value : String(value)]);
    this.#log({ type: "metrics", at: Date.now(), step, metrics: Object.fromEntries(values) as Record<string, number | string> });
  }

  /** Stores a file, as it is now, under `path` of the run. */
  async logArtifact(path: string, file: string): Promise<void> {
    try {
      await this.#spool.keepFile(path, file);
    } catch (error) {
      this.#options.onTrouble(toServalError(error));
      return;
    }
    this.#log({ type: "artifact", path });
  }

  /** Ends the run and waits up to `withinMs` for what is not sent yet. */
  async finish(status: RunStatus, withinMs: number): Promise<TrackingOutcome> {
    clearTimeout(this.#timer);
    const deadline = setTimeout(() => this.#abort.abort(), withinMs);
    this.#append({ type: "end", at: Date.now(), status });
    for (let attempt = 1; attempt <= finalAttempts && !this.#settled; attempt++) {
      if (attempt > 1) await new Promise((resolve) => setTimeout(resolve, finalPauseMs));
      await this.#send();
    }
    clearTimeout(deadline);
    clearTimeout(this.#timer);
    const delivered = this.#delivery.done;
    if (delivered) await this.#spool.remove();
    const { client } = this.#options;
    const { run } = this.#delivery;
    return { server: client.server, delivered, page: run === undefined ? null : client.pageOf(run) };
  }

  get #settled(): boolean {
    return this.#delivery.done || this.#refused || this.#abort.signal.aborted;
  }

  #log(entry: SpoolEntry): void {
    this.#append(entry);
    // A sender at work takes the entry along; while the server is thought to be down the timer decides when it is asked again.
    if (this.#sending === undefined && this.#timer === undefined && !this.#refused) void this.#send();
  }

  #append(entry: SpoolEntry): void {
    try {
      this.#spool.append(entry);
    } catch (error) {
      // A full disk is for the checkpoint to report; the entry is still sent from memory.
      this.#options.onTrouble(toServalError(error));
    }
  }

  /** Empties the spool, one sender at a time; never rejects. */
  async #send(): Promise<void> {
    await this.#sending;
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined;
    });
    await this.#sending;
  }

  async #drain(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      await this.#delivery.drain(this.#abort.signal);
      this.#pause = this.#options.retryAfterMs ?? 1000;
    } catch (error) {
      const trouble = toServalError(error);
      this.#options.onTrouble(trouble);
      if (trouble.code === "E_TRACKING_REFUSED") {
        this.#refused = true;
        return;
      }
      this.#timer = setTimeout(() => void this.#send(), this.#pause).unref();
      this.#pause = Math.min(this.#pause * 2, longestPauseMs);
    }
  }
}
