import type { Transferable } from "node:worker_threads";
import { ServalError } from "../errors/serval-error.ts";
import { startWorker } from "./carrier.ts";
import type { Loss } from "./loss.ts";
import { Thread } from "./thread.ts";

export interface JobThreadOptions {
  /** The thread's program, which calls `answerCalls`. */
  readonly file: URL;
  /** Its `workerData`. */
  readonly data?: unknown;
  /** Name of the thread, for tools that list threads. */
  readonly name: string;
  /** A job that takes longer is given up, and its thread is replaced. The start of the thread does not count. */
  readonly deadlineMs: number;
  /** Jobs that may wait while one runs. */
  readonly waitingLimit: number;
  /** The thread's heap; buffers are not part of it. */
  readonly heapMb: number;
}

/** What the thread of a `JobThread` speaks. */
export interface JobProtocol<Call, Answer> {
  readonly call: Call;
  readonly answer: Answer;
}

interface Job<Call, Answer> {
  readonly call: Call;
  readonly transfer: readonly Transferable[];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (reason: unknown) => void;
}

/** How long the modules of a thread may take to load, on a machine that is busy. */
const startMs = 20_000;

/**
 * One thread for work whose size a client decides, so that the event loop does not wait for it. Jobs run one after the other;
 * the thread starts with the first of them, and never keeps the process from ending.
 */
export class JobThread<Call, Answer> {
  readonly #options: JobThreadOptions;
  readonly #waiting: Job<Call, Answer>[] = [];
  #running = false;
  #thread: Thread<JobProtocol<Call, Answer>> | undefined;

  constructor(options: JobThreadOptions) {
    this.#options = options;
  }

  /**
   * What the thread answers. `transfer` moves to the thread: the caller must not use it again. Throws what the thread throws,
   * the signal's reason, E_QUEUE_FULL where too many jobs wait, and E_JOB_STOPPED after the deadline or when the thread ended.
   */
  async run(
    call: Call,
    { transfer = [], signal }: { readonly transfer?: readonly Transferable[]; readonly signal?: AbortSignal } = {},
  ): Promise<Answer> {
    signal?.throwIfAborted();
    const { waitingLimit } = this.#options;
    if (this.#waiting.length >= waitingLimit) {
      throw new ServalError("E_QUEUE_FULL", `${waitingLimit} large bodies are waiting to be read or written, and no more may.`, {
        hint: "Try again after the seconds in Retry-After, or send less at once.",
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const job: Job<Call, Answer> = { call, transfer, resolve, reject };
    const giveUp = (): void => {
      const place = this.#waiting.indexOf(job);
      if (place >= 0) this.#waiting.splice(place, 1);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", giveUp);
    this.#waiting.push(job);
    void this.#work();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /** Gives up what runs and what waits. */
  close(): void {
    const stopped = new ServalError("E_JOB_STOPPED", "The server is stopping.");
    for (const { reject } of this.#waiting.splice(0)) reject(stopped);
    this.#thread?.end(stopped);
  }

  /** Works until nothing waits, unless it does already. */
  async #work(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let job = this.#waiting.shift(); job !== undefined; job = this.#waiting.shift()) {
      const { call, transfer, resolve, reject } = job;
      try {
        resolve(await this.#living().ask(call, transfer));
      } catch (error) {
        reject(error);
      }
    }
    this.#running = false;
  }

  /** The thread, or another one where it has ended. */
  #living(): Thread<JobProtocol<Call, Answer>> {
    if (this.#thread !== undefined && this.#thread.state !== "ended") return this.#thread;
    const { file, data, name, heapMb, deadlineMs } = this.#options;
    const worker = startWorker({ file, name, data, resourceLimits: { maxOldGenerationSizeMb: heapMb } });
    return (this.#thread = new Thread(worker, { lost, startMs, silenceMs: deadlineMs, keepsProcess: "busy" }));
  }
}

function lost(loss: Loss): ServalError {
  if (loss.kind === "ended") return new ServalError("E_JOB_STOPPED", "Its thread ended.", { cause: loss.cause });
  return new ServalError("E_JOB_STOPPED", `It took longer than ${loss.afterMs} ms.`);
}
