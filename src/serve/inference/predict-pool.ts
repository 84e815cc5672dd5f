import { ServalError } from "../../errors/serval-error.ts";
import type { AnswerOf, PredictSetup, PredictTask } from "./predict-call.ts";
import { PredictLane, type PredictThread } from "./predict-lane.ts";
import { PredictQueue, type BatchRule, type PendingTask } from "./predict-queue.ts";

export interface PoolOptions extends BatchRule {
  /** Threads that decode and run the model. */
  readonly workers: number;
  /** A thread that has work and gives no answer for this long is replaced. */
  readonly hangMs: number;
  /** Work without any answer for this long is not going to be answered. */
  readonly stuckMs: number;
  /** The first thread, where one was started ahead; the pool takes it over. */
  readonly thread?: PredictThread | undefined;
  /** When the threads after the first are started; without it as soon as the first is ready. */
  readonly othersAfter?: Promise<unknown> | undefined;
  /** Called when a thread was lost and is being replaced. */
  readonly onLost?: ((reason: ServalError) => void) | undefined;
}

export interface RunOptions {
  /** Aborted when the answer is not wanted any more; its reason is what `run` rejects with. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** The image moves to the thread instead of being copied: the caller must not use its bytes again. */
  readonly disposable?: boolean | undefined;
}

/** Calls that a thread has in hand: while one is in the model, the next is decoded. */
const callsPerWorker = 2;

/** Threads with one model, the first started at once and the others when it is ready. What cannot start at once waits in order. */
export class PredictPool {
  /** Settles when the first thread can answer, or has refused the model: E_ENGINE_MODEL, or E_INFERENCE_STOPPED. */
  readonly ready: Promise<void>;
  readonly #options: PoolOptions;
  readonly #lanes: readonly PredictLane[];
  readonly #queue: PredictQueue;
  readonly #idle = Promise.withResolvers<void>();
  /** Some thread took the model: one that is lost is worth another. */
  #usable = false;
  #closing: Promise<void> | undefined;
  /** Set while the next batch waits for others to fill it. */
  #filling: NodeJS.Timeout | undefined;
  /** When the last answer came, or the first task after a time without any. */
  #movedAt = performance.now();

  constructor(model: Uint8Array, setup: PredictSetup, options: PoolOptions) {
    const { workers, maxBatchSize, hangMs } = options;
    this.#options = options;
    this.#queue = new PredictQueue(options);
    this.#lanes = Array.from(
      { length: workers },
      (_, i) =>
        new PredictLane({
          model,
          // Only the first has a session over all cores: it gets what comes while nothing else is asked.
          setup: i === 0 ? setup : { ...setup, aloneThreads: 1 },
          hangMs,
          fullAt: (callsPerWorker - 1) * maxBatchSize,
          mayRestart: () => this.#usable && this.#closing === undefined,
          onReady: () => this.#dispatch(),
          onAnswer: () => this.#answered(),
          onLost: (reason) => this.#lost(reason),
        }),
    );
    this.ready = this.#startFirst();
    this.#startOthers().catch(() => undefined); // told by `ready`
  }

  get workers(): number {
    return this.#options.workers;
  }

  /** False while no thread can answer. */
  get alive(): boolean {
    return this.#closing === undefined && this.#lanes.some(({ state }) => state === "ready");
  }

  /** Whether something waits or runs, and nothing has been answered for long. */
  get stuck(): boolean {
    return this.depth > 0 && performance.now() - this.#movedAt > this.#options.stuckMs;
  }

  /** Tasks that wait or run, also those whose answer is not wanted any more but that still occupy a thread. */
  get depth(): number {
    return this.#lanes.reduce((sum, { depth }) => sum + depth, this.#queue.length);
  }

  /** Throws E_IMAGE_*, E_EXPLAIN, E_ENGINE_RUN, E_PREDICTION_TIMEOUT, E_INFERENCE_STOPPED, or the signal's reason. */
  async run<T extends PredictTask>(task: T, { signal, timeoutMs, disposable }: RunOptions = {}): Promise<AnswerOf<T>> {
    if (this.#closing !== undefined || !this.#lanes.some(({ hasThread }) => hasThread)) {
      const why = this.#closing === undefined ? "it is restarting" : "it is closed";
      throw new ServalError("E_INFERENCE_STOPPED", `No thread runs the model: ${why}.`);
    }
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<AnswerOf<PredictTask>>();
    const transfer = disposable ? ownMemory(task) : undefined;
    const pending: PendingTask = { task, resolve, reject, since: performance.now(), transfer };
    // What waits leaves the queue; what runs already keeps its place until the thread is through with it.
    const giveUp = (reason: unknown): void => {
      this.#queue.remove(pending);
      reject(reason);
      this.#settle();
    };
    const late = (): void => giveUp(new ServalError("E_PREDICTION_TIMEOUT", `No answer within ${timeoutMs} ms.`));
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    const onAbort = (): void => giveUp(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    if (this.depth === 0) this.#movedAt = performance.now();
    this.#queue.push(pending);
    this.#dispatch();
    try {
      return (await promise) as AnswerOf<T>;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Takes nothing more, answers what was taken, and ends the threads. */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #startFirst(): Promise<void> {
    try {
      await this.#lanes[0]?.start(this.#options.thread);
      this.#usable = true;
    } catch (error) {
      this.#closing = Promise.resolve();
      throw error;
    }
  }

  async #startOthers(): Promise<void> {
    await this.ready;
    await this.#options.othersAfter;
    if (this.#closing !== undefined) return;
    for (const lane of this.#lanes.slice(1)) lane.start().catch(() => undefined); // lost, and started again later
  }

  /** Gives what waits to the threads that have room: the one with the least work first. */
  #dispatch(): void {
    while (this.#queue.length > 0) {
      const alone = this.depth === 1;
      const [lane] = this.#lanes.filter(({ hasRoom }) => hasRoom).sort((a, b) => a.depth - b.depth);
      if (lane === undefined) return;
      const patienceMs = this.#closing === undefined ? this.#queue.patienceMs() : 0;
      if (patienceMs > 0) {
        this.#dispatchIn(patienceMs);
        return;
      }
      lane.run(this.#queue.takeBatch(), alone);
    }
  }

  #dispatchIn(ms: number): void {
    if (this.#filling !== undefined) return;
    this.#filling = setTimeout(() => {
      this.#filling = undefined;
      this.#dispatch();
    }, ms);
  }

  #answered(): void {
    this.#movedAt = performance.now();
    this.#dispatch();
    this.#settle();
  }

  #lost(reason: ServalError): void {
    if (this.#usable && this.#closing === undefined) this.#options.onLost?.(reason);
    // With no thread in sight, what waits is told now instead of at its deadline.
    if (!this.#lanes.some(({ hasThread }) => hasThread)) this.#queue.rejectAll(reason);
    this.#settle();
  }

  #settle(): void {
    if (this.#closing !== undefined && this.depth === 0) this.#idle.resolve();
  }

  async #close(): Promise<void> {
    // From the next line on `#closing` is set: batches wait for no others.
    await Promise.resolve();
    this.#dispatch();
    this.#settle();
    await this.#idle.promise;
    await Promise.all(this.#lanes.map(async (lane) => await lane.close()));
  }
}

/** The memory of an image, where it holds nothing else: small buffers share theirs. */
function ownMemory(task: PredictTask): ArrayBuffer | undefined {
  if (task.kind === "infer") return undefined;
  const { buffer, byteLength } = "encoded" in task.picture ? task.picture.encoded : task.picture.decoded.pixels;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? buffer : undefined;
}
