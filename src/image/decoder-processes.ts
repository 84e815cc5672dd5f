import { ServalError } from "../errors/serval-error.ts";
import { defaultMaxDecodeMs } from "./check-image.ts";
import type { DecodeAnswerOf, DecodeTask } from "./decode-call.ts";
import { DecoderProcess, type DecoderEnd } from "./decoder-process.ts";

export interface DecoderOptions {
  /** Processes at most; each is started when there is a picture for it. */
  readonly processes: number;
  /** Pictures that may wait for a process. */
  readonly maxWaiting?: number;
  /** As in nice(1), how far others go first. */
  readonly niceness?: number;
  /** A process without work for this time is ended. */
  readonly idleMs?: number;
  readonly onStart?: () => void;
  /** Called when a process was ended because of its picture, or ended by itself. */
  readonly onEnd?: (reason: DecoderEnd) => void;
}

interface Job {
  readonly task: DecodeTask;
  readonly work: number;
  readonly resolve: (answer: never) => void;
  readonly reject: (reason: unknown) => void;
  /** What decodes it, as soon as it does not wait any more. */
  decoder?: DecoderProcess;
}

const defaultIdleMs = 60_000;
/** A busy machine may take this many times the processor time. */
const patience = 6;

/**
 * Decodes costly pictures in separate processes, which are ended when a picture takes too long. The process with the least work goes
 * first: a large photograph does not wait for all pictures that were made to be slow.
 */
export class DecoderProcesses {
  readonly #options: DecoderOptions;
  readonly #waiting: Job[] = [];
  readonly #idle = new Map<DecoderProcess, NodeJS.Timeout>();
  readonly #busy = new Set<DecoderProcess>();
  #closed = false;

  constructor(options: DecoderOptions) {
    this.#options = options;
  }

  /** Processes that there are. */
  get processes(): number {
    return this.#idle.size + this.#busy.size;
  }

  /** Pictures that wait or are being decoded. */
  get depth(): number {
    return this.#waiting.length + this.#busy.size;
  }

  /**
   * `work`: as `checkImage` says. Every picture is answered in the end: its process is ended where it does not answer. Throws
   * E_IMAGE_*, E_DECODER, E_QUEUE_FULL, or the reason of the signal.
   */
  async run<T extends DecodeTask>(task: T, work: number, signal?: AbortSignal): Promise<DecodeAnswerOf<T>> {
    signal?.throwIfAborted();
    if (this.#closed) throw new ServalError("E_DECODER", "The decoder was closed.");
    const { maxWaiting = Infinity, processes } = this.#options;
    if (this.#busy.size >= processes && this.#waiting.length >= maxWaiting) {
      throw new ServalError(
        "E_QUEUE_FULL",
        `The queue is full: ${this.#waiting.length} costly images waiting for a decoder (limit ${maxWaiting}).`,
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<DecodeAnswerOf<T>>();
    const job: Job = { task, work, resolve, reject };
    const place = this.#waiting.findIndex((other) => other.work > work);
    this.#waiting.splice(place < 0 ? this.#waiting.length : place, 0, job);
    const giveUp = (): void => {
      const at = this.#waiting.indexOf(job);
      if (at >= 0) this.#waiting.splice(at, 1);
      reject(signal?.reason);
      job.decoder?.stop("abandoned");
    };
    signal?.addEventListener("abort", giveUp);
    this.#dispatch();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /** Ends all processes. Pictures that were not answered yet are refused with E_DECODER. */
  close(): void {
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new ServalError("E_DECODER", "The decoder was closed."));
    for (const decoder of [...this.#idle.keys(), ...this.#busy]) decoder.stop("unused");
    for (const timer of this.#idle.values()) clearTimeout(timer);
    this.#idle.clear();
  }

  #dispatch(): void {
    while (this.#busy.size < this.#options.processes) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      void this.#serve(job);
    }
  }

  async #serve(job: Job): Promise<void> {
    const { task, resolve, reject } = job;
    const waitMs = patience * (task.limits.maxDecodeMs ?? defaultMaxDecodeMs);
    const decoder = this.#take();
    job.decoder = decoder;
    this.#busy.add(decoder);
    try {
      resolve((await decoder.decode(task, waitMs)) as never);
    } catch (error) {
      reject(error);
    }
    this.#busy.delete(decoder);
    if (decoder.end === undefined) this.#keep(decoder);
    else if (decoder.end !== "unused") this.#options.onEnd?.(decoder.end);
    this.#dispatch();
  }

  #take(): DecoderProcess {
    for (const [decoder, timer] of this.#idle) {
      clearTimeout(timer);
      this.#idle.delete(decoder);
      if (decoder.end === undefined) return decoder;
    }
    this.#options.onStart?.();
    return new DecoderProcess(this.#options.niceness);
  }

  #keep(decoder: DecoderProcess): void {
    const { idleMs = defaultIdleMs } = this.#options;
    const timer = setTimeout(() => {
      this.#idle.delete(decoder);
      decoder.stop("unused");
    }, idleMs);
    this.#idle.set(decoder, timer.unref());
  }
}
