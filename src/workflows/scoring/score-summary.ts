import type { ScoredRow } from "./scored-row.ts";

export interface ScoreSummary {
  readonly rows: number;
  /** Rows with a label; the others have an error. */
  readonly answered: number;
  /** Answers to which a service that abstains would give no label: of low confidence, and unknown. */
  readonly abstained: number;
  /** Those whose pictures are like none of the training; a model without an outlier score finds none. */
  readonly unknown: number;
  /** Of all answers; null where there are none. */
  readonly meanConfidence: number | null;
  /** Answers by confidence: under 0.1, from 0.1 to under 0.2, and so on. */
  readonly confidence: readonly number[];
  /** The most frequent first. */
  readonly labels: readonly { readonly label: string; readonly count: number; readonly meanConfidence: number }[];
  readonly errors: readonly { readonly code: string; readonly count: number }[];
}

/** What a job remembers of its rows, as JSON. */
export interface ScoreCounts {
  readonly rows: number;
  readonly abstained: number;
  readonly unknown: number;
  readonly confidence: readonly number[];
  /** Label, answers, sum of their confidence. */
  readonly labels: readonly (readonly [string, number, number])[];
  readonly errors: readonly (readonly [string, number])[];
}

const bins = 10;
export const noCounts: ScoreCounts = { rows: 0, abstained: 0, unknown: 0, confidence: Array<number>(bins).fill(0), labels: [], errors: [] };

/** Counts rows, and forgets them. */
export class ScoreTally {
  #rows: number;
  #abstained: number;
  #unknown: number;
  readonly #confidence: number[];
  readonly #labels: Map<string, [count: number, sum: number]>;
  readonly #errors: Map<string, number>;

  constructor({ rows, abstained, unknown, confidence, labels, errors }: ScoreCounts) {
    this.#rows = rows;
    this.#abstained = abstained;
    this.#unknown = unknown;
    this.#confidence = [...confidence];
    this.#labels = new Map(labels.map(([label, count, sum]) => [label, [count, sum]]));
    this.#errors = new Map(errors);
  }

  add({ label, confidence, reason, error }: ScoredRow): void {
    this.#rows++;
    if (error !== null) this.#errors.set(error, (this.#errors.get(error) ?? 0) + 1);
    if (label === null || confidence === null) return;
    if (reason !== null) this.#abstained++;
    if (reason === "unknown_input") this.#unknown++;
    const bin = Math.min(bins - 1, Math.floor(confidence * bins));
    this.#confidence[bin] = (this.#confidence[bin] ?? 0) + 1;
    const [count, sum] = this.#labels.get(label) ?? [0, 0];
    this.#labels.set(label, [count + 1, sum + confidence]);
  }

  get counts(): ScoreCounts {
    return {
      rows: this.#rows,
      abstained: this.#abstained,
      unknown: this.#unknown,
      confidence: this.#confidence,
      labels: [...this.#labels].map(([label, [count, sum]]) => [label, count, sum]),
      errors: [...this.#errors],
    };
  }

  get summary(): ScoreSummary {
    const labels = [...this.#labels].map(([label, [count, sum]]) => ({ label, count, meanConfidence: sum / count }));
    const answered = labels.reduce((total, { count }) => total + count, 0);
    const sum = [...this.#labels.values()].reduce((total, [, part]) => total + part, 0);
    return {
      rows: this.#rows,
      answered,
      abstained: this.#abstained,
      unknown: this.#unknown,
      meanConfidence: answered === 0 ? null : sum / answered,
      confidence: [...this.#confidence],
      labels: labels.sort((a, b) => b.count - a.count),
      errors: [...this.#errors].map(([code, count]) => ({ code, count })).sort((a, b) => b.count - a.count),
    };
  }
}
