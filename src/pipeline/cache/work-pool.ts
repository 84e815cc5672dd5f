import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { startWorker } from "../../threads/carrier.ts";
import { lossError } from "../../threads/loss.ts";
import { Thread } from "../../threads/thread.ts";
import { runFileWork, type FileResult, type FileWork } from "./file-work.ts";

export interface FileProtocol {
  readonly call: FileWork;
  readonly answer: FileResult[];
}

/** Files a batch: enough that the message costs little, few enough that the threads end together. */
export const batchFiles = 256;
const mostThreads = 8;

/**
 * Threads that start with the first work that is worth them. Small files cost mostly system calls, which a thread does
 * synchronously in a third of the time that promises take; two threads then halve it.
 */
export class WorkPool {
  readonly #idle: Thread<FileProtocol>[] = [];
  readonly #limit: number = Math.min(mostThreads, availableParallelism());
  readonly #signal: AbortSignal | undefined;

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** Runs the batches and gives their results in order; `onDone` hears how many batches are done. */
  async run(batches: readonly FileWork[], onDone?: (batches: number) => void): Promise<FileResult[][]> {
    let done = 0;
    const count = (): void => onDone?.(++done);
    if (batches.length > 1 && this.#limit > 1) return await this.#runInThreads(batches, count);
    return batches.map((batch) => {
      this.#signal?.throwIfAborted();
      const results = runFileWork(batch);
      count();
      return results;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map(async (thread) => await thread.close()));
  }

  async #runInThreads(batches: readonly FileWork[], onDone: () => void): Promise<FileResult[][]> {
    const results: FileResult[][] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      const thread = this.#idle.pop() ?? startThread();
      try {
        for (let index = next++; index < batches.length; index = next++) {
          this.#signal?.throwIfAborted();
          results[index] = await thread.ask(batches[index]!);
          onDone();
        }
        this.#idle.push(thread);
      } catch (error) {
        next = batches.length;
        await thread.close();
        throw error;
      }
    };
    const outcomes = await Promise.allSettled(Array.from({ length: Math.min(this.#limit, batches.length) }, work));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    return results;
  }
}

function startThread(): Thread<FileProtocol> {
  // Runs from the sources and from the emitted JavaScript alike.
  const file = new URL(`./file-worker${extname(import.meta.url)}`, import.meta.url);
  return new Thread(startWorker({ file, name: "serval-files" }), { lost: lossError("E_INTERNAL", "A thread that reads files") });
}
