import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { ServalError, type ErrorCode } from "../errors.ts";
import type { TrainEvent, TrainJob, TrainOutcome } from "./train-job.ts";

export interface TrainingThreadData {
  readonly job: TrainJob;
  /** Set to 1 to ask for a stop. */
  readonly stopFlag: Int32Array;
}

export type TrainingThreadMessage =
  | { readonly event: TrainEvent }
  | { readonly outcome: TrainOutcome }
  | { readonly failure: { readonly code: ErrorCode; readonly message: string; readonly hint: string; readonly stack: string } };

/**
 * Trains in a worker thread, because the engine blocks the thread that it runs in. An aborted signal stops after the
 * step in progress: with a checkpoint, and E_INTERRUPTED.
 */
export async function trainInThread(job: TrainJob, onEvent: (event: TrainEvent) => void, signal: AbortSignal): Promise<TrainOutcome> {
  const stopFlag = new Int32Array(new SharedArrayBuffer(4));
  const workerData: TrainingThreadData = { job, stopFlag };
  const worker = new Worker(new URL("training-worker.ts", import.meta.url), { workerData });
  const stop = (): void => void Atomics.store(stopFlag, 0, 1);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  let last: TrainingThreadMessage | undefined;
  worker.on("message", (message: TrainingThreadMessage) => {
    last = message;
    if ("event" in message) onEvent(message.event);
  });
  try {
    // The thread ends by itself once it has said how it went: ended from here, the engine could be torn down mid-call.
    const [code] = (await once(worker, "exit")) as [number];
    if (last && "outcome" in last) return last.outcome;
    if (last && "failure" in last)
      throw new ServalError(last.failure.code, last.failure.message, { hint: last.failure.hint, cause: last.failure.stack });
    throw new ServalError("E_INTERNAL", `The training thread ended early with exit code ${code}.`);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
