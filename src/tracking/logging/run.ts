import { hostname } from "node:os";
import { toServalError, type ServalError } from "../../errors/serval-error.ts";
import type { DatasetInput, TrackingClient } from "../client/tracking-client.ts";
import type { RunStatus } from "../client/wire.ts";
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
  /** Pause before what was logged is sent, so that it goes many entries at a time. */
  readonly flushEveryMs?: number;
}

/** A bundle that a run made, with the files that make it a model for MLflow. */
export interface TrackedModel {
  readonly name: string;
  readonly digest: string;
  readonly step: number;
  /** Where its files lie on a server without logged models. */
  readonly folder: string;
  /** Path in the model -> a file to copy as it is now, or a text. */
  readonly files: Readonly<Record<string, { readonly copyOf: string } | { readonly text: string }>>;
  readonly tags: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
  readonly metrics: Readonly<Record<string, number>>;
  /** An input of the run that the metrics were measured on. */
  readonly dataset: { readonly name: string; readonly digest: string };
}

export interface TrackingOutcome {
  readonly server: string;
  /** False: what is missing waits in the run's folder for the next training. */
  readonly delivered: boolean;
  /** Address of the run's page; null where the server never answered. */
  readonly page: string | null;
  /** Spent inside the calls that log, by which a training is kept waiting. */
  readonly loggingSeconds: number;
}

const defaultFlushMs = 1000;
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
  #loggingMs = 0;

  private constructor(options: TrackedRunOptions, spool: Spool) {
    this.#options = options;
    this.#spool = spool;
    this.#delivery = new Delivery(options.client, spool, options.onTrouble);
    this.#pause = options.retryAfterMs ?? 1000;
  }

  /** Begins a run, or continues it where its folder was logged from before. */
  static async start(options: TrackedRunOptions): Promise<TrackedRun> {
    const tracked = new TrackedRun(options, await Spool.open(options.runDir));
    const { client, experiment, run, tags } = options;
    tracked.#log({ type: "run", server: client.server, experiment, run, tags, host: hostname(), pid: process.pid, at: Date.now() });
    return tracked;
  }

  /** Spent inside the calls that log so far. */
  get loggingSeconds(): number {
    return this.#loggingMs / 1000;
  }

  logParams(params: Readonly<Record<string, string>>): void {
    this.#log({ type: "params", params });
  }

  setTags(tags: Readonly<Record<string, string>>): void {
    this.#log({ type: "tags", tags });
  }

  logInput(input: DatasetInput): void {
    this.#log({ type: "input", input });
  }

  logMetrics(metrics: Readonly<Record<string, number>>, step: number): void {
    this.#log({ type: "metrics", at: Date.now(), step, metrics: jsonNumbers(metrics) });
  }

  /** Stores a file, as it is now, under `path` of the run. */
  async logArtifact(path: string, file: string): Promise<void> {
    await this.#keepAndLog({ type: "artifact", path }, async () => await this.#spool.keepFile(path, file));
  }

  /** Stores a bundle, as it is now, as a model of the run. */
  async logModel({ files, metrics, ...model }: TrackedModel): Promise<void> {
    const entry = { type: "model", at: Date.now(), ...model, files: Object.keys(files), metrics: jsonNumbers(metrics) } as const;
    await this.#keepAndLog(entry, async () => {
      for (const [path, file] of Object.entries(files)) {
        const kept = `${model.folder}/${path}`;
        await ("text" in file ? this.#spool.keepText(kept, file.text) : this.#spool.keepFile(kept, file.copyOf));
      }
    });
  }

  /** Ends the run and waits up to `withinMs` for what is not sent yet. */
  async finish(status: RunStatus, withinMs: number): Promise<TrackingOutcome> {
    clearTimeout(this.#timer);
    const deadline = setTimeout(() => this.#abort.abort(), withinMs);
    const end: SpoolEntry = { type: "end", at: Date.now(), status };
    const isKept = this.#append(end);
    for (let attempt = 1; attempt <= finalAttempts && !this.#settled; attempt++) {
      if (attempt > 1) await new Promise((resolve) => setTimeout(resolve, finalPauseMs));
      await this.#send();
    }
    // A disk that is full keeps no entry; the run must not seem to continue because of that.
    if (!isKept && this.#delivery.done) await this.#delivery.send(end, this.#abort.signal).catch(() => undefined);
    clearTimeout(deadline);
    clearTimeout(this.#timer);
    const delivered = this.#delivery.done;
    if (delivered) await this.#spool.remove();
    else this.#spool.close();
    const { client } = this.#options;
    const { run } = this.#delivery;
    return { server: client.server, delivered, page: run === undefined ? null : client.pageOf(run), loggingSeconds: this.loggingSeconds };
  }

  get #settled(): boolean {
    return this.#delivery.done || this.#refused || this.#abort.signal.aborted;
  }

  #log(entry: SpoolEntry): void {
    const startedAt = performance.now();
    this.#append(entry);
    this.#sendSoon();
    this.#loggingMs += performance.now() - startedAt;
  }

  async #keepAndLog(entry: SpoolEntry, keep: () => Promise<void>): Promise<void> {
    const startedAt = performance.now();
    try {
      await keep();
      this.#append(entry);
      this.#sendSoon();
    } catch (error) {
      this.#options.onTrouble(toServalError(error));
    }
    this.#loggingMs += performance.now() - startedAt;
  }

  /** False where the disk does not take it: for the checkpoint to report, and no reason to stop a training. */
  #append(entry: SpoolEntry): boolean {
    try {
      this.#spool.append(entry);
      return true;
    } catch (error) {
      this.#options.onTrouble(toServalError(error));
      return false;
    }
  }

  /** A sender at work takes the entry along; while the server is thought to be down the timer decides when it is asked again. */
  #sendSoon(): void {
    if (this.#sending !== undefined || this.#timer !== undefined || this.#refused) return;
    this.#timer = setTimeout(() => void this.#send(), this.#options.flushEveryMs ?? defaultFlushMs).unref();
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
    // By the sender that this one waited for.
    if (this.#refused) return;
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

/** JSON has no NaN and no infinity: they are kept as text. */
function jsonNumbers(metrics: Readonly<Record<string, number>>): Record<string, number | string> {
  return Object.fromEntries(Object.entries(metrics).map(([key, value]) => [key, Number.isFinite(value) ? value : String(value)]));
}
