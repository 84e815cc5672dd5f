import { extname } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { startWorker } from "../threads/carrier.ts";
import { KeptThread } from "../threads/kept-thread.ts";
import { describeLoss } from "../threads/loss.ts";
import { Thread } from "../threads/thread.ts";
import { describeUrl } from "./open-store.ts";
import type { FeedbackResult, LoggedPrediction, Retention } from "./prediction-store.ts";

export interface LogProtocol {
  readonly call:
    | { readonly kind: "label"; readonly requestId: string; readonly label: string; readonly ofKey: string | null; readonly atMs: number }
    | { readonly kind: "erase"; readonly requestId: string; readonly ofKey: string | null };
  readonly answer: FeedbackResult | "erased";
  /** Predictions. */
  readonly note: readonly LoggedPrediction[];
  readonly event: LogEvent;
}

export type LogEvent =
  /** The file cannot be opened or written any more; predictions wait in memory. */
  | { readonly kind: "trouble"; readonly reason: string }
  /** All that waited is stored. */
  | { readonly kind: "recovered" }
  /** This many predictions will never be stored: there was no more memory for those that wait, or the service stops. */
  | { readonly kind: "lost"; readonly count: number }
  /** This many predictions wait for the store now. */
  | { readonly kind: "waiting"; readonly count: number };

/** What the thread is started with. */
export interface LogSetup {
  /** The SQLite file; with a `url` the place where predictions wait while that cannot take them. */
  readonly path: string;
  /** PostgreSQL. */
  readonly url: string | undefined;
  readonly retention: Retention;
}

export interface PredictionLogOptions {
  /** PostgreSQL, as postgres://USER:PASSWORD@HOST/DATABASE, in place of the file. */
  readonly url?: string | undefined;
  readonly retention?: Retention | undefined;
  /** Hears why predictions cannot be stored: a service does not stop over its log. */
  readonly onTrouble: (message: string) => void;
  readonly onRecovered?: (message: string) => void;
  /** Hears how many predictions wait to be stored, whenever that changes, and how many were lost. */
  readonly onWaiting?: (count: number) => void;
  readonly onLost?: (count: number) => void;
  /** When the thread is started; default: at once. What is added before waits. */
  readonly after?: Promise<unknown> | undefined;
}

/** Without a limit of age, and no more than any disk has room for. */
export const defaultRetention: Retention = { keepDays: 0, maxBytes: 2 ** 30 };

const flushEveryMs = 250;
const flushRows = 256;
/** Rows that wait here while no thread can be started. */
const maxRows = 4096;
/** How long no thread is started after one has failed. */
const restartMs = 1000;

/** Predictions and what people said about them, written to the store by a separate thread. */
export class PredictionLog {
  readonly #path: string;
  /** For messages: without a password. */
  readonly #place: string;
  readonly #options: PredictionLogOptions;
  readonly #kept: KeptThread<LogProtocol>;
  #rows: LoggedPrediction[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Makes the file, where it is not there. */
  constructor(path: string, options: PredictionLogOptions) {
    this.#path = path;
    this.#place = options.url === undefined ? path : describeUrl(options.url);
    this.#options = options;
    this.#kept = new KeptThread<LogProtocol>({
      start: () => this.#startThread(),
      pauseMs: () => restartMs,
      onReady: () => this.#flush(),
      onLost: ({ cause }) => options.onTrouble(`Predictions cannot be stored in ${this.#place}: ${String(cause)}.`),
    });
    void (options.after ?? Promise.resolve()).then(() => this.#thread());
  }

  /** Stored within a quarter of a second; a prediction does not wait for that. What cannot be stored waits in memory. */
  add(prediction: LoggedPrediction): void {
    if (this.#kept.state === "closed") return;
    this.#rows.push(prediction);
    if (this.#rows.length > maxRows) this.#rows.shift();
    if (this.#rows.length >= flushRows) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), flushEveryMs);
  }

  /**
   * Resolves when the label is on disk: it survives `kill -9` and a power cut. `ofKey` bounds it to predictions of the key
   * with that name; null for all. Throws E_FEEDBACK_UNKNOWN, E_LABEL_UNKNOWN, or E_PREDICTION_LOG with the reason why the
   * prediction or the label could not be stored.
   */
  async addFeedback(requestId: string, label: string, ofKey: string | null): Promise<FeedbackResult> {
    return (await this.#ask({ kind: "label", requestId, label, ofKey, atMs: Date.now() })) as FeedbackResult;
  }

  /**
   * Resolves when a prediction, its feedback and all that belongs to it are gone. `ofKey` and errors are as for feedback, without
   * E_LABEL_UNKNOWN.
   */
  async erase(requestId: string, ofKey: string | null): Promise<void> {
    await this.#ask({ kind: "erase", requestId, ofKey });
  }

  async close(): Promise<void> {
    this.#flush();
    await this.#kept.close();
  }

  async #ask(call: LogProtocol["call"]): Promise<LogProtocol["answer"]> {
    // The prediction that it is about may have been made a moment ago.
    this.#flush();
    const thread = this.#thread();
    if (thread === undefined) throw stopped(this.#kept.state === "closed");
    return await thread.ask(call);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#rows.length === 0) return;
    const thread = this.#thread();
    if (thread === undefined) return;
    thread.tell(this.#rows);
    this.#rows = [];
  }

  /** The thread, started where it has not been; undefined after `close`, and for a second after one has ended. */
  #thread(): Thread<LogProtocol> | undefined {
    if (this.#kept.state === "idle") this.#kept.start().catch(() => undefined); // told to `onLost`
    return this.#kept.state === "closed" ? undefined : this.#kept.thread;
  }

  #startThread(): Thread<LogProtocol> {
    const carrier = startWorker({
      file: new URL(`./prediction-log-worker${extname(import.meta.url)}`, import.meta.url),
      data: { path: this.#path, url: this.#options.url, retention: this.#options.retention ?? defaultRetention } satisfies LogSetup,
      name: "serval-prediction-log",
      // Short-lived rows: no need for the large young heap of a program.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    return new Thread(carrier, {
      lost: (loss) => stopped(this.#kept.state === "closed", `the thread that stores them ${describeLoss(loss)}`),
      onEvent: (event) => this.#hear(event),
    });
  }

  #hear(event: LogEvent): void {
    const { url, onTrouble, onRecovered, onWaiting, onLost } = this.#options;
    const where = url === undefined ? "in memory" : `in ${this.#path}`;
    if (event.kind === "trouble") onTrouble(`Predictions cannot be stored in ${this.#place}, and wait ${where}: ${event.reason}.`);
    else if (event.kind === "recovered") onRecovered?.(`Predictions are stored in ${this.#place} again.`);
    else if (event.kind === "waiting") onWaiting?.(event.count);
    else {
      onLost?.(event.count);
      onTrouble(`${event.count} predictions were lost: they could not be stored in ${this.#place}.`);
    }
  }
}

/** Clients read the message; the cause is for the log. */
function stopped(closed: boolean, cause?: string): ServalError {
  const message = closed
    ? "The service is stopping, and stores nothing more."
    : "The thread that stores predictions has stopped; it is started again.";
  return new ServalError("E_PREDICTION_LOG", message, { cause });
}
