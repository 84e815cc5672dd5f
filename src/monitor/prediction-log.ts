import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ServalError, type ErrorCode } from "../errors.ts";

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
}

/** New: stored now. Same: that label was stored for this request before. */
export type FeedbackResult = "new" | "same";

/** Predictions and what people said about them, in SQLite, written by a thread of its own. */
export interface PredictionLog {
  /** Rejects with E_PREDICTION_LOG where the file cannot be opened: nothing is stored then, and feedback is refused. */
  readonly opened: Promise<void>;
  /** Stored within a quarter of a second; a prediction is not worth a wait. */
  add(prediction: LoggedPrediction): void;
  /** Resolves when the label is on disk: it survives `kill -9` and a power cut. Throws E_FEEDBACK_UNKNOWN or E_LABEL_UNKNOWN. */
  addFeedback(requestId: string, label: string): Promise<FeedbackResult>;
  close(): Promise<void>;
}

export type LogCall =
  | { readonly kind: "predictions"; readonly rows: readonly LoggedPrediction[] }
  | { readonly kind: "feedback"; readonly id: number; readonly requestId: string; readonly label: string; readonly atMs: number }
  | { readonly kind: "close" };

export type LogAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "stored"; readonly id: number; readonly result: FeedbackResult }
  | { readonly kind: "failed"; readonly id: number; readonly code: ErrorCode; readonly message: string }
  /** Predictions were not stored: the disk is full, say. */
  | { readonly kind: "lost"; readonly count: number; readonly message: string };

const flushEveryMs = 250;
const flushRows = 256;

export interface PredictionLogOptions {
  /** Hears of predictions that could not be stored: a service does not stop over its log. */
  readonly warn: (message: string) => void;
  /** When the thread is started; default: at once. What is added before waits. */
  readonly after?: Promise<unknown> | undefined;
}

/** Opens the log; makes the file. */
export function openPredictionLog(path: string, { warn, after = Promise.resolve() }: PredictionLogOptions): PredictionLog {
  const waiting = new Map<number, { resolve: (result: FeedbackResult) => void; reject: (reason: unknown) => void }>();
  let worker: Worker | undefined;
  let rows: LoggedPrediction[] = [];
  let timer: NodeJS.Timeout | undefined;
  let nextId = 0;
  let stopped: ServalError | undefined;
  const opened = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<void>();
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (rows.length > 0) start().postMessage({ kind: "predictions", rows } satisfies LogCall);
    rows = [];
  };

  const start = (): Worker => {
    if (worker) return worker;
    const started = new Worker(new URL(`./prediction-log-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: path,
      name: "serval-prediction-log",
      // Short-lived rows: no need for the large young heap of a program.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    started.on("error", (error) => void (stopped = new ServalError("E_PREDICTION_LOG", `${path}: ${error.message}`, { cause: error })));
    started.once("exit", () => {
      const reason = (stopped ??= new ServalError("E_PREDICTION_LOG", `${path} is closed.`));
      opened.reject(reason);
      for (const call of waiting.values()) call.reject(reason);
      waiting.clear();
      exited.resolve();
    });
    started.on("message", (message: LogAnswer) => {
      if (message.kind === "ready") opened.resolve();
      else if (message.kind === "refused") stopped = new ServalError("E_PREDICTION_LOG", `${path}: ${message.message}`);
      else if (message.kind === "lost") warn(`${message.count} predictions could not be stored in ${path}: ${message.message}`);
      else {
        const call = waiting.get(message.id);
        waiting.delete(message.id);
        if (message.kind === "stored") call?.resolve(message.result);
        else call?.reject(new ServalError(message.code, message.message));
      }
    });
    return (worker = started);
  };

  void after.then(() => stopped ?? start());
  return {
    opened: opened.promise,
    add(prediction) {
      if (stopped) return;
      rows.push(prediction);
      if (rows.length >= flushRows) flush();
      else timer ??= setTimeout(flush, flushEveryMs);
    },
    async addFeedback(requestId, label) {
      if (stopped) throw stopped;
      // The prediction that it is about may have been made a moment ago.
      flush();
      const { promise, resolve, reject } = Promise.withResolvers<FeedbackResult>();
      const id = ++nextId;
      waiting.set(id, { resolve, reject });
      start().postMessage({ kind: "feedback", id, requestId, label, atMs: Date.now() } satisfies LogCall);
      return await promise;
    },
    async close() {
      flush();
      stopped ??= new ServalError("E_PREDICTION_LOG", `${path} is closed.`);
      worker?.postMessage({ kind: "close" } satisfies LogCall);
      await (worker && exited.promise);
    },
  };
}
