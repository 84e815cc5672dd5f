import { parentPort, workerData } from "node:worker_threads";
import { toServalError } from "../errors.ts";
import { onnxruntime } from "../runtime/onnxruntime.ts";
import { runTraining } from "./trainer.ts";
import type { TrainingThreadData, TrainingThreadMessage } from "./training-thread.ts";

const { job, stopFlag } = workerData as TrainingThreadData;
const post = (message: TrainingThreadMessage): void => parentPort?.postMessage(message);
try {
  const outcome = await runTraining(onnxruntime, job, {
    onEvent: (event) => post({ event }),
    // The thread is busy in the engine and never reads its messages; a shared word reaches it between two steps.
    shouldStop: () => Atomics.load(stopFlag, 0) === 1,
  });
  post({ outcome });
} catch (error) {
  const { code, message, hint, stack } = toServalError(error);
  post({ failure: { code, message, hint, stack: stack ?? "" } });
}
