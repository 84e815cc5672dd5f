import { Worker, type MessagePort, type Transferable } from "node:worker_threads";
import { ServalError, toServalError, type ErrorCode } from "../errors/serval-error.ts";

export interface JobThreadOptions {
  /** Module of the thread, which calls `answerJobs`. */
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

interface Job {
  readonly call: unknown;
  readonly transfer: readonly Transferable[];
  readonly resolve: (answer: never) => void;
  readonly reject: (reason: unknown) => void;
}

/** How long the modules of a thread may take to load, on a machine that is busy. */
const startMs = 20_000;

/** What a thread sends: that its modules are loaded, then one message for each call. */
type Message =
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly answer: unknown }
  | {
      readonly kind: "failed";
      readonly code: ErrorCode;
      readonly message: string;
      readonly hint: string;
      readonly details: ServalError["details"];
    };

/**
 * One thread for work whose size a client decides, so that the event loop does not wait for it. Jobs run one after the other;
 * the thread starts with the first of them, and never keeps the process from ending.
 */
export class JobThread<Call, Answer> {
  readonly #options: JobThreadOptions;
  readonly #waiting: Job[] = [];
  #running: Job | undefined;
  #worker: Worker | undefined;
  #deadline: NodeJS.Timeout | undefined;

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
    const job: Job = { call, transfer, resolve, reject };
    const giveUp = (): void => {
      const place = this.#waiting.indexOf(job);
      if (place >= 0) this.#waiting.splice(place, 1);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", giveUp);
    this.#waiting.push(job);
    this.#next();
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
    this.#stop(stopped);
  }

  #next(): void {
    if (this.#running !== undefined) return;
    this.#running = this.#waiting.shift();
    if (this.#running === undefined) return;
    const { call, transfer } = this.#running;
    if (this.#worker === undefined) {
      this.#worker = this.#start();
      this.#allow(startMs);
    } else this.#allow(this.#options.deadlineMs);
    this.#worker.postMessage(call, transfer);
  }

  #allow(ms: number): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#stop(new ServalError("E_JOB_STOPPED", `It took longer than ${ms} ms.`)), ms);
  }

  #start(): Worker {
    const { file, data, name, heapMb } = this.#options;
    const worker = new Worker(file, { name, workerData: data, resourceLimits: { maxOldGenerationSizeMb: heapMb } });
    worker.unref();
    worker.on("message", (message: Message) => {
      if (worker !== this.#worker) return;
      if (message.kind === "ready") {
        this.#allow(this.#options.deadlineMs);
        return;
      }
      const job = this.#end();
      if (message.kind === "done") job?.resolve(message.answer as never);
      else job?.reject(new ServalError(message.code, message.message, { hint: message.hint, details: message.details }));
      this.#next();
    });
    const ended = (cause: unknown): void => {
      if (worker === this.#worker) this.#stop(new ServalError("E_JOB_STOPPED", "Its thread ended.", { cause }));
    };
    worker.once("error", ended).once("exit", ended);
    return worker;
  }

  /** Gives up the thread together with what it does; the next job gets another thread. */
  #stop(reason: ServalError): void {
    const job = this.#end();
    void this.#worker?.terminate();
    this.#worker = undefined;
    job?.reject(reason);
    this.#next();
  }

  #end(): Job | undefined {
    const job = this.#running;
    this.#running = undefined;
    clearTimeout(this.#deadline);
    return job;
  }
}

interface JobAnswer {
  readonly answer: unknown;
  readonly transfer: readonly Transferable[];
}

/** In the thread: answers each call with what `work` returns. `transfer` moves instead of being copied. */
export function answerJobs(port: MessagePort, work: (call: never) => JobAnswer | Promise<JobAnswer>): void {
  const answer = async (call: unknown): Promise<void> => {
    try {
      const { answer, transfer } = await work(call as never);
      port.postMessage({ kind: "done", answer } satisfies Message, transfer);
    } catch (error) {
      const { code, message, hint, details } = toServalError(error);
      port.postMessage({ kind: "failed", code, message, hint, details } satisfies Message);
    }
  };
  port.on("message", (call) => void answer(call));
  port.postMessage({ kind: "ready" } satisfies Message);
}
