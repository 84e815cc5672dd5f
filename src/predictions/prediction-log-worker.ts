import { getSystemErrorMap } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { ServalError } from "../errors/serval-error.ts";
import { answerCalls } from "../threads/answer-calls.ts";
import type { FeedbackResult, LogEvent, LoggedPrediction, LogProtocol } from "./prediction-log.ts";
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
  readonly #tell: (event: LogEvent) => void;
  readonly #unstored = new UnstoredPredictions();
  #store: PredictionStore | undefined;
  #failure: { readonly reason: string; readonly at: number } | undefined;
  #lostReportedAt = -Infinity;

  constructor(path: string, tell: (event: LogEvent) => void) {
    this.#path = path;
    this.#tell = tell;
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
    if (this.#unstored.count > 0) this.#tell({ kind: "lost", count: this.#unstored.count });
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
      if (this.#failure !== undefined) this.#tell({ kind: "recovered" });
      this.#failure = undefined;
    } catch (error) {
      const reason = reasonOf(error);
      if (this.#failure === undefined) this.#tell({ kind: "trouble", reason });
      this.#failure = { reason, at: performance.now() };
    }
    this.#reportLost(now);
  }

  #reportLost(now: number): void {
    if (now - this.#lostReportedAt < reportLostEveryMs) return;
    const count = this.#unstored.takeLostCount();
    if (count === 0) return;
    this.#lostReportedAt = now;
    this.#tell({ kind: "lost", count });
  }
}

/** Why something failed, without the paths that Node puts into such messages: clients read it. */
function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message.replace(/\.$/, "");
}

function addFeedback(writer: PredictionWriter, { requestId, label, ofKey, atMs }: LogProtocol["call"]): FeedbackResult {
  try {
    return writer.addFeedback(requestId, label, ofKey, atMs);
  } catch (error) {
    throw error instanceof ServalError ? error : new ServalError("E_PREDICTION_LOG", reasonOf(error), { cause: error });
  }
}

/** The thread behind `PredictionLog`: writes to disk, so that nothing else has to wait for one. */
if (parentPort) {
  await answerCalls<LogProtocol>(parentPort, (tell) => {
    const writer = new PredictionWriter(workerData as string, tell);
    return { call: (call) => addFeedback(writer, call), note: (rows) => writer.add(rows), close: () => writer.close() };
  });
}
