import { extname } from "node:path";
import { switchOffTelemetry } from "../runtime/telemetry.ts";
import { startWorker } from "../threads/carrier.ts";
import { lossError } from "../threads/loss.ts";
import { Thread } from "../threads/thread.ts";
import type { FindRateHooks, FindRateJob, RateSearch } from "./find-rate.ts";
import type { TrainEvent, TrainJob, TrainOutcome } from "./train-job.ts";

/** What the thread does. */
export type TrainingTask = { readonly train: TrainJob } | { readonly findRate: FindRateJob };

export interface TrainingThreadData {
  /** Set to 1 to ask for a stop. */
  readonly stopFlag: Int32Array;
}

export interface TrainingProtocol {
  readonly call: TrainingTask;
  readonly answer: unknown;
  readonly event: unknown;
}

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
  const data: TrainingThreadData = { stopFlag };
  const file = new URL(`./training-worker${extname(import.meta.url)}`, import.meta.url);
  const stop = (): void => void Atomics.store(stopFlag, 0, 1);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  const thread = new Thread<TrainingProtocol>(startWorker({ file, name: "serval-training", data }), {
    lost: lossError("E_INTERNAL", "The training thread"),
    onEvent,
  });
  try {
    return await thread.ask(task);
  } finally {
    // The thread ends by itself once it has said how it went: ended from here, the engine could be torn down mid-call.
    await thread.close();
    signal.removeEventListener("abort", stop);
  }
}
