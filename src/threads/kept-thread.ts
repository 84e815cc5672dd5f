import type { ServalError } from "../errors/serval-error.ts";
import type { Protocol } from "./messages.ts";
import type { Thread } from "./thread.ts";

export type KeptState =
  /** Not started yet. */
  | "idle"
  | "starting"
  | "ready"
  /** The last thread was lost; the next one is started after a pause. */
  | "pausing"
  /** The last thread was lost, and there will be no other. */
  | "stopped"
  | "closed";

export interface KeptThreadOptions<P extends Protocol> {
  readonly start: () => Thread<P>;
  /**
   * The pause before the next thread, or undefined where there is to be none. `unanswered`: threads in a row, the last among them,
   * that ended before they had answered anything; 0 where the last one had.
   */
  readonly pauseMs: (unanswered: number) => number | undefined;
  readonly onReady?: () => void;
  /** Hears of each thread that was lost, when the state is that of after. */
  readonly onLost?: (reason: ServalError) => void;
}

/** Keeps one thread running: one that dies or hangs is replaced. Its calls are lost with it; the next ones go to the new thread. */
export class KeptThread<P extends Protocol> {
  readonly #options: KeptThreadOptions<P>;
  #state: KeptState = "idle";
  #thread: Thread<P> | undefined;
  #unanswered = 0;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: KeptThreadOptions<P>) {
    this.#options = options;
  }

  get state(): KeptState {
    return this.#state;
  }

  /** The thread that calls go to, while there is one. */
  get thread(): Thread<P> | undefined {
    return this.#thread;
  }

  /** Settles when the first thread is ready, or has ended before. `thread`: one that was started ahead. */
  async start(thread: Thread<P> = this.#options.start()): Promise<void> {
    this.#state = "starting";
    this.#thread = thread;
    thread.onEnd((reason) => this.#lose(thread, reason));
    await thread.ready;
    if (this.#thread !== thread || this.#state !== "starting") return;
    this.#state = "ready";
    this.#options.onReady?.();
  }

  /** Lets the thread answer what it was asked, and end. */
  async close(): Promise<void> {
    this.#state = "closed";
    clearTimeout(this.#restart);
    await this.#thread?.close();
  }

  #lose(lost: Thread<P>, reason: ServalError): void {
    if (this.#thread !== lost) return;
    this.#thread = undefined;
    if (this.#state === "closed") return;
    this.#unanswered = lost.hasAnswered ? 0 : this.#unanswered + 1;
    this.#replace();
    this.#options.onLost?.(reason);
  }

  #replace(): void {
    const pauseMs = this.#options.pauseMs(this.#unanswered);
    if (pauseMs === undefined) this.#state = "stopped";
    else if (pauseMs === 0) this.#startAgain();
    else {
      this.#state = "pausing";
      this.#restart = setTimeout(() => this.#startAgain(), pauseMs).unref();
    }
  }

  #startAgain(): void {
    let thread: Thread<P>;
    try {
      thread = this.#options.start();
    } catch {
      // The system gives no thread at the moment.
      this.#unanswered++;
      this.#replace();
      return;
    }
    this.start(thread).catch(() => undefined); // lost again: told to `onLost`
  }
}

/** At once after a thread that worked; after others a pause that doubles: what kills one thread would kill every one. */
export function doublingPause(firstMs: number, mostMs: number): (unanswered: number) => number {
  return (unanswered) => (unanswered === 0 ? 0 : Math.min(mostMs, firstMs * 2 ** (unanswered - 1)));
}
