import type { LoggedPrediction } from "./prediction-store.ts";

/** Memory for rows that wait, counted as the characters of their texts. */
const maxCharacters = 8 * 1024 * 1024;
const maxLost = 50_000;
const chunkRows = 256;
/** The other columns of a row, roughly. */
const rowCharacters = 400;

/**
 * Predictions that could not be stored yet, in the order in which they came. Beyond its memory the oldest are lost; what is
 * kept of those is which key each belonged to, so that feedback about them can be told from feedback about nothing.
 */
export class UnstoredPredictions {
  readonly #waiting = new Map<string, LoggedPrediction>();
  readonly #lost = new Map<string, string | null>();
  #characters = 0;
  #lostCount = 0;

  get count(): number {
    return this.#waiting.size;
  }

  add(rows: readonly LoggedPrediction[]): void {
    for (const row of rows) {
      this.#waiting.set(row.requestId, row);
      this.#characters += charactersOf(row);
    }
    for (const row of this.#waiting.values()) {
      if (this.#characters <= maxCharacters) return;
      this.#remove(row);
      this.#lostCount++;
      this.#lost.set(row.requestId, row.keyName);
      const oldest = this.#lost.keys().next().value;
      if (this.#lost.size > maxLost && oldest !== undefined) this.#lost.delete(oldest);
    }
  }

  /** The oldest ones, as many as fit into one transaction. */
  next(): readonly LoggedPrediction[] {
    return [...this.#waiting.values().take(chunkRows)];
  }

  stored(rows: readonly LoggedPrediction[]): void {
    for (const row of rows) this.#remove(row);
  }

  /** Name of the key that a waiting or lost prediction belongs to, null for none; undefined where there is no such prediction. */
  keyOf(requestId: string): string | null | undefined {
    const row = this.#waiting.get(requestId);
    return row === undefined ? this.#lost.get(requestId) : row.keyName;
  }

  /** Forgets a waiting or lost prediction. */
  erase(requestId: string): void {
    const row = this.#waiting.get(requestId);
    if (row !== undefined) this.#remove(row);
    this.#lost.delete(requestId);
  }

  /** How many were lost since the last call. */
  takeLostCount(): number {
    const count = this.#lostCount;
    this.#lostCount = 0;
    return count;
  }

  #remove(row: LoggedPrediction): void {
    if (this.#waiting.delete(row.requestId)) this.#characters -= charactersOf(row);
  }
}

function charactersOf({ probabilities }: LoggedPrediction): number {
  return Object.keys(probabilities).reduce((sum, label) => sum + label.length + 24, rowCharacters);
}
