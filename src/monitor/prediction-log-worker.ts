import { getSystemErrorMap } from "node:util";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { ServalError } from "../errors/serval-error.ts";
import type { FeedbackResult, LogAnswer, LogCall, LoggedPrediction } from "./prediction-log.ts";
import { mayLabel, PredictionStore } from "./prediction-store.ts";
import { UnstoredPredictions } from "./unstored-predictions.ts";

/** How long the file is left alone after it could not be opened or written. */
const retryMs = 1000;
const reportLostEveryMs = 10_000;

/**
 * Writes to the file, and keeps what it cannot write until it can: a disk that was full gets room again, and a folder that
 * could not be opened can be put right while the service runs.
 */
class PredictionWriter {
  readonly #path: string;
  readonly #answer: (message: LogAnswer) => void;
  readonly #unstored = new UnstoredPredictions();
  #store: PredictionStore | undefined;
  #failure: { readonly reason: string; readonly at: number } | undefined;
  #lostReportedAt = -Infinity;

  constructor(path: string, answer: (message: LogAnswer) => void) {
    this.#path = path;
    this.#answer = answer;
    this.#write();
  }

  add(rows: readonly LoggedPrediction[]): void {
    this.#unstored.add(rows);
    this.#write();
  }

  /** Throws E_FEEDBACK_UNKNOWN, E_LABEL_UNKNOWN, and E_PREDICTION_LOG where the prediction or the label could not be stored. */
  addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): FeedbackResult {
    this.#write();
    const keyName = this.#unstored.keyOf(requestId);
    if (this.#store === undefined || (keyName !== undefined && mayLabel(keyName, ofKey))) {
      throw new ServalError("E_PREDICTION_LOG", `The prediction could not be stored: ${this.#failure?.reason ?? "it was lost"}.`);
    }
    try {
      return this.#store.addFeedback(requestId, label, ofKey, atMs);
    } catch (error) {
      if (error instanceof ServalError) throw error;
      throw new ServalError("E_PREDICTION_LOG", `The label could not be stored: ${reasonOf(error)}.`, { cause: error });
    }
  }

  close(): void {
    this.#failure = undefined;
    this.#write();
    if (this.#unstored.count > 0) this.#answer({ kind: "lost", count: this.#unstored.count });
    this.#store?.close();
  }

  /** Opens the file where that is left to do, and stores all that waits; not again within a second of a failure. */
  #write(): void {
    const now = performance.now();
    if (this.#failure !== undefined && now - this.#failure.at < retryMs) return;
    try {
      this.#store ??= new PredictionStore(this.#path);
      for (let rows = this.#unstored.next(); rows.length > 0; rows = this.#unstored.next()) {
        this.#store.addPredictions(rows);
        this.#unstored.stored(rows);
      }
      if (this.#failure !== undefined) this.#answer({ kind: "recovered" });
      this.#failure = undefined;
    } catch (error) {
      const reason = reasonOf(error);
      if (this.#failure === undefined) this.#answer({ kind: "trouble", reason });
      this.#failure = { reason, at: performance.now() };
    }
    this.#reportLost(now);
  }

  #reportLost(now: number): void {
    if (now - this.#lostReportedAt < reportLostEveryMs) return;
    const count = this.#unstored.takeLostCount();
    if (count === 0) return;
    this.#lostReportedAt = now;
    this.#answer({ kind: "lost", count });
  }
}

/** Why something failed, without the paths that Node puts into such messages: clients read it. */
function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message.replace(/\.$/, "");
}

/** The thread behind `openPredictionLog`: writes to disk, so that nothing else has to wait for one. */
function serveLog(port: MessagePort, path: string): void {
  const answer = (message: LogAnswer): void => port.postMessage(message);
  const writer = new PredictionWriter(path, answer);
  port.on("message", (call: LogCall) => {
    if (call.kind === "close") {
      writer.close();
      port.close();
    } else if (call.kind === "predictions") {
      writer.add(call.rows);
    } else {
      try {
        answer({ kind: "stored", id: call.id, result: writer.addFeedback(call.requestId, call.label, call.ofKey, call.atMs) });
      } catch (error) {
        const { code, message } = error instanceof ServalError ? error : new ServalError("E_PREDICTION_LOG", reasonOf(error));
        answer({ kind: "failed", id: call.id, code, message });
      }
    }
  });
}

if (parentPort) serveLog(parentPort, workerData as string);
