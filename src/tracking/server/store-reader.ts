import { extname } from "node:path";
import { JobThread } from "../../threads/job-thread.ts";
import { answerRead, type Read, type ReadAnswer } from "./reads.ts";
import type { TrackingStore } from "./store/tracking-store.ts";

/** A filter over many runs takes seconds at worst. */
const deadlineMs = 30_000;
const waitingLimit = 64;
const heapMb = 512;

/**
 * Reads whose size or time clients decide. Where others share the server, they are made in two threads with separate
 * connections: one for searches and histories, and one for single runs and models, which would wait for them otherwise.
 */
export class StoreReader {
  readonly #store: TrackingStore;
  readonly #searches: JobThread<Read, ReadAnswer> | undefined;
  readonly #items: JobThread<Read, ReadAnswer> | undefined;

  /** `path` is the store's file; without it everything is read in the caller's thread, for a server with one client. */
  constructor(store: TrackingStore, path: string | undefined) {
    this.#store = store;
    if (path === undefined) return;
    const thread = (name: string): JobThread<Read, ReadAnswer> =>
      // Runs from the sources and from the emitted JavaScript alike.
      new JobThread({
        file: new URL(`./read-worker${extname(import.meta.url)}`, import.meta.url),
        data: path,
        name,
        deadlineMs,
        waitingLimit,
        heapMb,
      });
    this.#searches = thread("serval-searches");
    this.#items = thread("serval-runs");
  }

  /** Throws what the store throws, E_QUEUE_FULL and E_JOB_STOPPED. */
  async read(read: Read): Promise<ReadAnswer> {
    const thread = read.kind === "run" || read.kind === "logged model" ? this.#items : this.#searches;
    return await (thread === undefined ? answerRead(this.#store, read) : thread.run(read));
  }

  close(): void {
    this.#searches?.close();
    this.#items?.close();
  }
}
