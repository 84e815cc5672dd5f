import { getSystemErrorMap } from "node:util";
import { ServalError } from "../errors/serval-error.ts";
import type { LogEvent } from "./prediction-log.ts";
import { mayChange, type FeedbackResult, type LoggedPrediction, type PredictionStore, type Retention } from "./prediction-store.ts";
import { UnstoredPredictions } from "./unstored-predictions.ts";

export interface WriterOptions {
  /** Called until it succeeds, and again after the store has failed. */
  readonly open: () => PredictionStore | Promise<PredictionStore>;
  readonly retention: Retention;
  readonly tell: (event: LogEvent) => void;
}

/** How long the store is left alone after it could not be opened or written. */
const retryMs = 1000;
const reportLostEveryMs = 10_000;
const tidyEveryMs = 60_000;
/** Rows that are removed at a time: others who write wait no longer than for these. */
const removedAtOnce = 500;
/** What the clock of the machine may gain on the time that has passed: one that was put a year ahead must not cost a year of predictions. */
const clockGainMs = 86_400_000;

/**
 * Writes to the store, and keeps what it cannot write until it can: a disk that was full gets room again, and a folder that
 * could not be opened can be put right while the service runs. Removes what is too old or too much.
 */
export class PredictionWriter {
  readonly #options: WriterOptions;
  readonly #unstored = new UnstoredPredictions();
  readonly #startedAt = { clock: Date.now(), passed: performance.now() };
  #store: PredictionStore | undefined;
  #failure: { readonly reason: string; readonly at: number } | undefined;
  #lostReportedAt = -Infinity;
  #tidiedAt = -Infinity;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  async add(rows: readonly LoggedPrediction[]): Promise<void> {
    this.#unstored.add(rows);
    await this.write();
  }

  /** Throws E_FEEDBACK_UNKNOWN, E_LABEL_UNKNOWN, and E_PREDICTION_LOG where the prediction or the label could not be stored. */
  async addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): Promise<FeedbackResult> {
    const store = await this.#storeWith(requestId, ofKey);
    return await reasoned("The label could not be stored", async () => await store.addFeedback(requestId, label, ofKey, atMs));
  }

  /** Throws E_FEEDBACK_UNKNOWN, and E_PREDICTION_LOG where it cannot be removed now. */
  async erase(requestId: string, ofKey: string | null): Promise<void> {
    await this.write();
    const keyName = this.#unstored.keyOf(requestId);
    if (keyName !== undefined && mayChange(keyName, ofKey)) return this.#unstored.erase(requestId);
    const store = await this.#storeWith(requestId, ofKey);
    await reasoned("The prediction could not be removed", async () => await store.erase(requestId, ofKey));
  }

  /** Opens the store where that is left to do, and stores all that waits; not again within a second of a failure. */
  async write(): Promise<void> {
    const now = performance.now();
    if (this.#failure !== undefined && now - this.#failure.at < retryMs) return;
    try {
      this.#store ??= await this.#options.open();
      for (let rows = this.#unstored.next(); rows.length > 0; rows = this.#unstored.next()) {
        await this.#store.addPredictions(rows);
        this.#unstored.stored(rows);
      }
      if (this.#failure !== undefined) this.#options.tell({ kind: "recovered" });
      this.#failure = undefined;
    } catch (error) {
      await this.#giveUp(error);
    }
    this.#reportLost(now);
  }

  /** Removes some of what is too old or too much, once a minute; true where there is more. Stores what waits, too. */
  async tidy(): Promise<boolean> {
    await this.write();
    const now = performance.now();
    const store = this.#store;
    if (store === undefined || this.#failure !== undefined || now - this.#tidiedAt < tidyEveryMs) return false;
    try {
      const clock = Math.min(Date.now(), this.#startedAt.clock + now - this.#startedAt.passed + clockGainMs);
      const beforeMs = await store.expiry(this.#options.retention, clock);
      if (beforeMs !== undefined && (await store.removeBefore(beforeMs, removedAtOnce)) === removedAtOnce) return true;
      this.#tidiedAt = now;
    } catch (error) {
      await this.#giveUp(error);
    }
    return false;
  }

  async close(): Promise<void> {
    this.#failure = undefined;
    await this.write();
    if (this.#unstored.count > 0) this.#options.tell({ kind: "lost", count: this.#unstored.count });
    await this.#closeStore();
  }

  /** Throws E_PREDICTION_LOG where there is no store, or where it does not have that prediction yet. */
  async #storeWith(requestId: string, ofKey: string | null): Promise<PredictionStore> {
    await this.write();
    const keyName = this.#unstored.keyOf(requestId);
    if (this.#store !== undefined && (keyName === undefined || !mayChange(keyName, ofKey))) return this.#store;
    throw new ServalError("E_PREDICTION_LOG", `The prediction could not be stored: ${this.#failure?.reason ?? "it was lost"}.`);
  }

  /** A store that is damaged is opened again: its file may have been replaced. */
  async #giveUp(error: unknown): Promise<void> {
    const reason = reasonOf(error);
    if (this.#failure === undefined) this.#options.tell({ kind: "trouble", reason });
    this.#failure = { reason, at: performance.now() };
    if (this.#store?.survives(error) !== true) await this.#closeStore();
  }

  async #closeStore(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }

  #reportLost(now: number): void {
    if (now - this.#lostReportedAt < reportLostEveryMs) return;
    const count = this.#unstored.takeLostCount();
    if (count === 0) return;
    this.#lostReportedAt = now;
    this.#options.tell({ kind: "lost", count });
  }
}

/** Throws what the store refused as it is, and everything else as E_PREDICTION_LOG: `what` and why. */
async function reasoned<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ServalError) throw error;
    throw new ServalError("E_PREDICTION_LOG", `${what}: ${reasonOf(error)}.`, { cause: error });
  }
}

/** Why something failed, without the paths that Node puts into such messages: clients read it. */
function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message.replace(/\.$/, "");
}
