import { existsSync } from "node:fs";
import type { FeedbackResult, LoggedPrediction, PredictionStore } from "./prediction-store.ts";
import { SqliteStore } from "./sqlite-store.ts";

/** What may wait on the disk. Some hundred thousand predictions: hours of a busy service. */
const spoolBytes = 64 * 2 ** 20;
const removedAtOnce = 500;

/**
 * Predictions that the database could not take, and feedback about them, in a separate file until it can. Every method
 * throws what the disk throws.
 */
export class PredictionSpool {
  readonly #path: string;
  readonly #maxBytes: number;
  #file: SqliteStore | undefined;
  #count = 0;

  constructor(path: string, maxBytes: number = spoolBytes) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  /** Predictions that wait. */
  get count(): number {
    return this.#count;
  }

  /** Takes up what a service left that ended before it could deliver it. */
  open(): void {
    if (this.#file === undefined && existsSync(this.#path)) this.#opened();
  }

  /** Resolves to how many older ones are lost, because there is no more room. */
  async add(rows: readonly LoggedPrediction[]): Promise<number> {
    const file = this.#opened();
    await file.addPredictions(rows);
    this.#count += rows.length;
    const beforeMs = await file.expiry({ keepDays: 0, maxBytes: this.#maxBytes }, 0);
    if (beforeMs === undefined) return 0;
    let lost = 0;
    for (let removed = removedAtOnce; removed === removedAtOnce; lost += removed)
      removed = await file.removeBefore(beforeMs, removedAtOnce);
    this.#count = file.count();
    return lost;
  }

  /** As the store does it. Throws E_FEEDBACK_UNKNOWN for what does not wait here. */
  async addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): Promise<FeedbackResult> {
    return await this.#opened().addFeedback(requestId, label, ofKey, atMs);
  }

  /** As the store does it. Throws E_FEEDBACK_UNKNOWN for what does not wait here. */
  async erase(requestId: string, ofKey: string | null): Promise<void> {
    await this.#opened().erase(requestId, ofKey);
    this.#count = this.#opened().count();
  }

  /** Brings the oldest ones to the store. What was brought before changes nothing there, so it can be broken off anywhere. */
  async deliver(store: PredictionStore): Promise<void> {
    const file = this.#opened();
    for await (const rows of file.read(0)) {
      await store.addPredictions(rows);
      file.remove(rows.map(({ requestId }) => requestId));
      break;
    }
    this.#count = file.count();
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  #opened(): SqliteStore {
    if (this.#file === undefined) {
      this.#file = new SqliteStore(this.#path);
      this.#count = this.#file.count();
    }
    return this.#file;
  }
}
