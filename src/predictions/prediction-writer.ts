import { getSystemErrorMap } from "node:util";
import { ServalError } from "../errors/serval-error.ts";
import type { LogEvent } from "./prediction-log.ts";
import { mayChange, type FeedbackResult, type LoggedPrediction, type PredictionStore, type Retention } from "./prediction-store.ts";
import type { PredictionSpool } from "./prediction-spool.ts";
import { UnstoredPredictions } from "./unstored-predictions.ts";

export interface WriterOptions {
  /** Called until it succeeds, and again after the store has failed. */
  readonly open: () => PredictionStore | Promise<PredictionStore>;
  /** Where rows wait that the store cannot take; without one, in memory. */
  readonly spool?: PredictionSpool | undefined;
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
  #failure: { readonly shown: string; readonly at: number } | undefined;
  #lostReportedAt = -Infinity;
  #tidiedAt = -Infinity;
  #toldWaiting = 0;
  #spoolLost = 0;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  async add(rows: readonly LoggedPrediction[]): Promise<void> {
    this.#unstored.add(rows);
    await this.write();
  }

  /** Throws E_FEEDBACK_UNKNOWN, E_LABEL_UNKNOWN, and E_PREDICTION_LOG where the prediction or the label could not be stored. */
  async addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): Promise<FeedbackResult> {
    return await this.#change(requestId, ofKey, "The label could not be stored", async (place) => {
      return await place.addFeedback(requestId, label, ofKey, atMs);
    });
  }

  /** Throws E_FEEDBACK_UNKNOWN, and E_PREDICTION_LOG where it cannot be removed now. */
  async erase(requestId: string, ofKey: string | null): Promise<void> {
    await this.write();
    const keyName = this.#unstored.keyOf(requestId);
    if (keyName !== undefined && mayChange(keyName, ofKey)) return this.#unstored.erase(requestId);
    await this.#change(requestId, ofKey, "The prediction could not be removed", async (place) => await place.erase(requestId, ofKey));
  }

  /** Opens the store where that is left to do, and stores all that waits; not again within a second of a failure. */
  async write(): Promise<void> {
    const now = performance.now();
    if (this.#failure === undefined || now - this.#failure.at >= retryMs) await this.#tryStore();
    if (this.#failure !== undefined) await this.#putAside();
    this.#report(now);
  }

  /** Removes some of what is too old or too much, once a minute; true where there is more. Stores what waits, too. */
  async tidy(): Promise<boolean> {
    await this.write();
    const now = performance.now();
    const store = this.#store;
    if (store !== undefined && this.#failure === undefined && (this.#options.spool?.count ?? 0) > 0) return true;
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
    // Once more, however short it is since the last time.
    if (this.#failure !== undefined) this.#failure = { ...this.#failure, at: -Infinity };
    await this.write();
    if (this.#unstored.count > 0) this.#options.tell({ kind: "lost", count: this.#unstored.count });
    await this.#closeStore();
    await this.#options.spool?.close();
  }

  async #tryStore(): Promise<void> {
    const { open, spool, tell } = this.#options;
    try {
      this.#store ??= await open();
      for (let rows = this.#unstored.next(); rows.length > 0; rows = this.#unstored.next()) {
        await this.#store.addPredictions(rows);
        this.#unstored.stored(rows);
      }
      spool?.open();
      if (spool !== undefined && spool.count > 0) await spool.deliver(this.#store);
      if (this.#failure !== undefined) tell({ kind: "recovered" });
      this.#failure = undefined;
    } catch (error) {
      await this.#giveUp(error);
    }
  }

  /** What waits in memory goes to the disk, where there is a place for it. */
  async #putAside(): Promise<void> {
    const { spool } = this.#options;
    if (spool === undefined) return;
    try {
      for (let rows = this.#unstored.next(); rows.length > 0; rows = this.#unstored.next()) {
        this.#spoolLost += await spool.add(rows);
        this.#unstored.stored(rows);
      }
    } catch {
      // It stays in memory, which is bounded as well.
    }
  }

  /** Does it in the store, or where the prediction waits for it. */
  async #change<T>(requestId: string, ofKey: string | null, what: string, work: (place: Changeable) => Promise<T>): Promise<T> {
    await this.write();
    const keyName = this.#unstored.keyOf(requestId);
    const lost = keyName !== undefined && mayChange(keyName, ofKey);
    const { spool } = this.#options;
    const waits = !lost && spool !== undefined && spool.count > 0;
    const unavailable = (): ServalError =>
      new ServalError("E_PREDICTION_LOG", `The prediction could not be stored: ${this.#failure?.shown ?? "it was lost"}.`);
    if (waits) {
      const done = await reasoned(what, async () => ({ answer: await work(spool) })).catch(unlessUnknown);
      if (done !== undefined) return done.answer;
    }
    if (lost || this.#store === undefined) throw unavailable();
    const store = this.#store;
    return await reasoned(what, async () => await work(store));
  }

  /** A store that is damaged is opened again: its file may have been replaced. */
  async #giveUp(error: unknown): Promise<void> {
    if (this.#failure === undefined) this.#options.tell({ kind: "trouble", reason: reasonOf(error) });
    this.#failure = { shown: shownReason(error), at: performance.now() };
    if (this.#store?.survives(error) !== true) await this.#closeStore();
  }

  async #closeStore(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }

  #report(now: number): void {
    const { spool, tell } = this.#options;
    const waiting = this.#unstored.count + (spool?.count ?? 0);
    if (waiting !== this.#toldWaiting) tell({ kind: "waiting", count: waiting });
    this.#toldWaiting = waiting;
    if (now - this.#lostReportedAt < reportLostEveryMs) return;
    const count = this.#unstored.takeLostCount() + this.#spoolLost;
    this.#spoolLost = 0;
    if (count === 0) return;
    this.#lostReportedAt = now;
    tell({ kind: "lost", count });
  }
}

type Changeable = Pick<PredictionStore, "addFeedback" | "erase">;

/** Undefined where the place does not know the prediction; throws everything else. */
function unlessUnknown(error: unknown): undefined {
  if (error instanceof ServalError && error.code === "E_FEEDBACK_UNKNOWN") return undefined;
  throw error;
}

/** Throws what the store refused as it is, and everything else as E_PREDICTION_LOG: `what` and why. */
async function reasoned<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ServalError) throw error;
    throw new ServalError("E_PREDICTION_LOG", `${what}: ${shownReason(error)}.`, { cause: error });
  }
}

/** Why something failed, for the log: without the paths that Node puts into such messages. */
function reasonOf(error: unknown): string {
  // A name with several addresses fails with one error for each.
  const { errno, message } = (error instanceof AggregateError ? error.errors[0] : error) as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message.replace(/\.$/, "");
}

/** The same for clients: what a database server says may name its users and tables. */
function shownReason(error: unknown): string {
  const { errno, errcode } = error as { errno?: number; errcode?: number };
  return errno !== undefined || errcode !== undefined || error instanceof ServalError ? reasonOf(error) : "the database does not take it";
}
