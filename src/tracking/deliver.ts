import { ServalError } from "../errors.ts";
import type { RunInfo, TrackingClient } from "./client.ts";
import type { RunEntry, Spool, SpoolEntry } from "./spool.ts";

/** Finds a run again on the server, so that a lost answer or a resumed training makes no second one. */
const runTag = "serval.run";

/**
 * Sends the entries of one spool in order and remembers how far it came. A new process begins at the first entry again:
 * MLflow keeps a metric's point once however often it is sent, and the rest is overwritten by the same values.
 */
export class Delivery {
  readonly #client: TrackingClient;
  readonly #spool: Spool;
  readonly #onRefused: (error: ServalError) => void;
  #position = 0;
  #run: RunInfo | undefined;

  /** `onRefused` hears of files that the server will never take; the rest of the run is sent all the same. */
  constructor(client: TrackingClient, spool: Spool, onRefused: (error: ServalError) => void) {
    this.#client = client;
    this.#spool = spool;
    this.#onRefused = onRefused;
  }

  get done(): boolean {
    return this.#position >= this.#spool.entries.length;
  }

  /** The run on the server, once it is known. */
  get run(): RunInfo | undefined {
    return this.#run;
  }

  /** Sends what there is. Throws what the client throws; the entry that failed is the next one to be sent. */
  async drain(signal: AbortSignal): Promise<void> {
    for (let entry = this.#next(); entry !== undefined; entry = this.#next()) {
      if (entry.type === "run") this.#run = await this.#openRun(entry, signal);
      else if (this.#run !== undefined) await this.#send(this.#run, entry, signal);
      this.#position++;
    }
  }

  #next(): SpoolEntry | undefined {
    return this.#spool.entries[this.#position];
  }

  async #openRun(entry: RunEntry, signal: AbortSignal): Promise<RunInfo> {
    const experimentId = this.#run?.experimentId ?? (await this.#client.ensureExperiment(entry.experiment, signal));
    const tag = { key: runTag, value: entry.run };
    const known = this.#run ?? (await this.#client.findRun(experimentId, tag, signal));
    if (known !== undefined) {
      await this.#client.updateRun(known.runId, "RUNNING", undefined, signal);
      return known;
    }
    const tags = [tag, ...pairs(entry.tags)];
    return await this.#client.createRun({ experimentId, name: entry.run, startTime: entry.at, tags }, signal);
  }

  async #send(run: RunInfo, entry: Exclude<SpoolEntry, RunEntry>, signal: AbortSignal): Promise<void> {
    switch (entry.type) {
      case "params":
        return await this.#client.logBatch(run.runId, { params: pairs(entry.params) }, signal);
      case "tags":
        return await this.#client.logBatch(run.runId, { tags: pairs(entry.tags) }, signal);
      case "metrics": {
        const metrics = Object.entries(entry.metrics).map(([key, value]) => ({
          key,
          value: Number(value),
          timestamp: entry.at,
          step: entry.step,
        }));
        return await this.#client.logBatch(run.runId, { metrics }, signal);
      }
      case "artifact":
        return await this.#sendFile(run, entry.path, signal);
      case "end":
        return await this.#client.updateRun(run.runId, entry.status, entry.at, signal);
    }
  }

  async #sendFile(run: RunInfo, path: string, signal: AbortSignal): Promise<void> {
    const data = await this.#spool.readKeptFile(path);
    if (data === undefined) return;
    try {
      await this.#client.uploadArtifact(run, path, data, signal);
    } catch (error) {
      if (!(error instanceof ServalError) || error.code !== "E_TRACKING_REFUSED") throw error;
      this.#onRefused(error);
    }
    await this.#spool.dropKeptFile(path);
  }
}

function pairs(values: Readonly<Record<string, string>>): { key: string; value: string }[] {
  return Object.entries(values).map(([key, value]) => ({ key, value }));
}
