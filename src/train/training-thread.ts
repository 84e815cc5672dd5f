import { once } from "node:events";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ServalError, type ErrorCode } from "../errors/serval-error.ts";
import { switchOffTelemetry } from "../runtime/telemetry.ts";
import type { FindRateHooks, FindRateJob, RateSearch } from "./find-rate.ts";
import type { TrainEvent, TrainJob, TrainOutcome } from "./train-job.ts";

/** What the thread does, and what it is told. */
export type TrainingTask = { readonly train: TrainJob } | { readonly findRate: FindRateJob };

export interface TrainingThreadData {
  readonly task: TrainingTask;
  /** Set to 1 to ask for a stop. */
  readonly stopFlag: Int32Array;
}

export type TrainingThreadMessage =
  | { readonly event: unknown }
  | { readonly outcome: unknown }
  | { readonly failure: { readonly code: ErrorCode; readonly message: string; readonly hint: string; readonly stack: string } };

/**
 * Trains in a worker thread, because the engine blocks the thread that it runs in. An aborted signal stops after the
 * step in progress: with a checkpoint, and E_INTERRUPTED.
 */
export async function trainInThread(job: TrainJob, onEvent: (event: TrainEvent) => void, signal: AbortSignal): Promise<TrainOutcome> {
  return (await runThread({ train: job }, (event) => onEvent(event as TrainEvent), signal)) as TrainOutcome;
}

/** The same for a learning-rate range test, which an aborted signal ends with E_INTERRUPTED. */
export async function findRateInThread(job: FindRateJob, onEvent: FindRateHooks["onEvent"], signal: AbortSignal): Promise<RateSearch> {
  return (await runThread({ findRate: job }, (event) => onEvent(event as Parameters<typeof onEvent>[0]), signal)) as RateSearch;
}

async function runThread(task: TrainingTask, onEvent: (event: unknown) => void, signal: AbortSignal): Promise<unknown> {
  switchOffTelemetry();
  const stopFlag = new Int32Array(new SharedArrayBuffer(4));
  const workerData: TrainingThreadData = { task, stopFlag };
  const worker = new Worker(new URL(`./training-worker${extname(import.meta.url)}`, import.meta.url), { workerData });
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
