import type { AnswerOf, PredictTask } from "./predict-call.ts";

/** A task that has no answer yet. */
export interface PendingTask {
  readonly task: PredictTask;
  /** When it came, as performance.now() counts. */
  readonly since: number;
  /** Memory that moves to the thread instead of being copied. */
  readonly transfer: ArrayBuffer | undefined;
  readonly resolve: (answer: AnswerOf<PredictTask>) => void;
  readonly reject: (reason: unknown) => void;
}

export interface BatchRule {
  /** Images that go through the model together at most; 1 runs each by itself. */
  readonly maxBatchSize: number;
  /** How long an image waits for others to fill its batch. */
  readonly maxDelayMs: number;
}

/** Tasks that wait for a thread, in the order in which they came. */
export class PredictQueue {
  readonly #tasks: PendingTask[] = [];
  readonly #rule: BatchRule;

  constructor(rule: BatchRule) {
    this.#rule = rule;
  }

  get length(): number {
    return this.#tasks.length;
  }

  push(task: PendingTask): void {
    this.#tasks.push(task);
  }

  /** Takes a task out, whose answer is not wanted any more; nothing happens where it does not wait. */
  remove(task: PendingTask): void {
    const place = this.#tasks.indexOf(task);
    if (place >= 0) this.#tasks.splice(place, 1);
  }

  /** How long the next batch should still wait for others; 0 where it is full, or its first has waited long enough. */
  patienceMs(): number {
    const [next] = this.#tasks;
    // Tensors are a batch already, and a new model is not to wait for its own check images.
    if (next === undefined || next.task.kind !== "predict" || this.#tasks.length >= this.#rule.maxBatchSize) return 0;
    return Math.max(0, next.since + this.#rule.maxDelayMs - performance.now());
  }

  takeBatch(): PendingTask[] {
    return this.#tasks.splice(0, this.#rule.maxBatchSize);
  }

  rejectAll(reason: unknown): void {
    for (const { reject } of this.#tasks.splice(0)) reject(reason);
  }
}
