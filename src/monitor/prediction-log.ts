import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ServalError, type ErrorCode } from "../errors/serval-error.ts";

/** One answer of the service: what feedback refers to later. Never the image, its name or an address. */
export interface LoggedPrediction {
  readonly requestId: string;
  readonly atMs: number;
  readonly modelName: string;
  readonly modelVersion: string;
  /** The most probable label, also where the service abstained. */
  readonly label: string;
  readonly confidence: number;
  readonly probabilities: Readonly<Record<string, number>>;
  /** Name of the API key that asked; null where the service has no keys. */
  readonly keyName: string | null;
}

/** New: stored now. Same: that label was stored for this request before. */
export type FeedbackResult = "new" | "same";

/** Predictions and what people said about them, in SQLite, written by a thread of its own. */
export interface PredictionLog {
  /** Stored within a quarter of a second; a prediction does not wait for that. What cannot be stored waits in memory. */
  add(prediction: LoggedPrediction): void;
  /**
   * Resolves when the label is on disk: it survives `kill -9` and a power cut. `ofKey` bounds it to predictions of the key
   * with that name; null for all. Throws E_FEEDBACK_UNKNOWN, E_LABEL_UNKNOWN, or E_PREDICTION_LOG with the reason why the
   * prediction or the label could not be stored.
   */
  addFeedback(requestId: string, label: string, ofKey: string | null): Promise<FeedbackResult>;
  close(): Promise<void>;
}

export type LogCall =
  | { readonly kind: "predictions"; readonly rows: readonly LoggedPrediction[] }
  | {
      readonly kind: "feedback";
      readonly id: number;
      readonly requestId: string;
      readonly label: string;
      readonly ofKey: string | null;
      readonly atMs: number;
    }
  | { readonly kind: "close" };

export type LogAnswer =
  | { readonly kind: "stored"; readonly id: number; readonly result: FeedbackResult }
  | { readonly kind: "failed"; readonly id: number; readonly code: ErrorCode; readonly message: string }
  /** The file cannot be opened or written any more; predictions wait in memory. */
  | { readonly kind: "trouble"; readonly reason: string }
  /** All that waited is stored. */
  | { readonly kind: "recovered" }
  /** So many predictions will never be stored: there was no more memory for those that wait, or the service stops. */
  | { readonly kind: "lost"; readonly count: number };

export interface PredictionLogOptions {
  /** Hears why predictions cannot be stored: a service does not stop over its log. */
  readonly onTrouble: (message: string) => void;
  readonly onRecovered?: (message: string) => void;
  /** When the thread is started; default: at once. What is added before waits. */
  readonly after?: Promise<unknown> | undefined;
}

/** Opens the log; makes the file. */
export function openPredictionLog(path: string, options: PredictionLogOptions): PredictionLog {
  return new ThreadedLog(path, options);
}

const flushEveryMs = 250;
const flushRows = 256;
/** Rows that wait here while no thread can be started. */
const maxRows = 4096;
/** How long no thread is started after one has failed. */
const restartMs = 1000;

type Waiting = PromiseWithResolvers<FeedbackResult>;

class ThreadedLog implements PredictionLog {
  readonly #path: string;
  readonly #options: PredictionLogOptions;
  readonly #waiting = new Map<number, Waiting>();
  #thread: { readonly worker: Worker; readonly exited: Promise<unknown> } | undefined;
  #rows: LoggedPrediction[] = [];
  #timer: NodeJS.Timeout | undefined;
  #nextId = 0;
  #failure: { readonly reason: string; readonly at: number } | undefined;
  #closed = false;

  constructor(path: string, options: PredictionLogOptions) {
    this.#path = path;
    this.#options = options;
    void (options.after ?? Promise.resolve()).then(() => this.#start());
  }

  add(prediction: LoggedPrediction): void {
    if (this.#closed) return;
    this.#rows.push(prediction);
    if (this.#rows.length > maxRows) this.#rows.shift();
    if (this.#rows.length >= flushRows) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), flushEveryMs);
  }

  async addFeedback(requestId: string, label: string, ofKey: string | null): Promise<FeedbackResult> {
    // The prediction that it is about may have been made a moment ago.
    this.#flush();
    const thread = this.#start();
    if (thread === undefined) throw this.#stopped();
    const waiting: Waiting = Promise.withResolvers();
    const id = ++this.#nextId;
    this.#waiting.set(id, waiting);
    thread.worker.postMessage({ kind: "feedback", id, requestId, label, ofKey, atMs: Date.now() } satisfies LogCall);
    return await waiting.promise;
  }

  async close(): Promise<void> {
    this.#flush();
    this.#closed = true;
    this.#thread?.worker.postMessage({ kind: "close" } satisfies LogCall);
    await this.#thread?.exited;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#rows.length === 0) return;
    const thread = this.#start();
    if (thread === undefined) return;
    thread.worker.postMessage({ kind: "predictions", rows: this.#rows } satisfies LogCall);
    this.#rows = [];
  }

  /** The thread; undefined after `close`, and for a second after one has failed. */
  #start(): { readonly worker: Worker; readonly exited: Promise<unknown> } | undefined {
    if (this.#thread !== undefined) return this.#thread;
    if (this.#closed || (this.#failure !== undefined && performance.now() - this.#failure.at < restartMs)) return undefined;
    const worker = new Worker(new URL(`./prediction-log-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: this.#path,
      name: "serval-prediction-log",
      // Short-lived rows: no need for the large young heap of a program.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    const exited = Promise.withResolvers<void>();
    worker.on("message", (answer: LogAnswer) => this.#receive(answer));
    worker.on("error", (error) => {
      this.#failure = { reason: error.message, at: performance.now() };
      this.#options.onTrouble(`Predictions cannot be stored in ${this.#path}: ${error.message}.`);
    });
    worker.once("exit", () => {
      this.#thread = undefined;
      for (const { reject } of this.#waiting.values()) reject(this.#stopped());
      this.#waiting.clear();
      exited.resolve();
    });
    return (this.#thread = { worker, exited: exited.promise });
  }

  #receive(answer: LogAnswer): void {
    const { onTrouble, onRecovered } = this.#options;
    if (answer.kind === "trouble") onTrouble(`Predictions cannot be stored in ${this.#path}, and wait in memory: ${answer.reason}.`);
    else if (answer.kind === "lost") onTrouble(`${answer.count} predictions were lost: they could not be stored in ${this.#path}.`);
    else if (answer.kind === "recovered") onRecovered?.(`Predictions are stored in ${this.#path} again.`);
    else {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.kind === "stored") waiting?.resolve(answer.result);
      else waiting?.reject(new ServalError(answer.code, answer.message));
    }
  }

  #stopped(): ServalError {
    const message = this.#closed
      ? "The service is stopping, and stores nothing more."
      : "The thread that stores predictions has stopped; it is started again.";
    return new ServalError("E_PREDICTION_LOG", message, this.#failure && { cause: this.#failure.reason });
  }
}
