import { parentPort, workerData } from "node:worker_threads";
import { toServalError } from "../errors/serval-error.ts";
import { onnxruntime } from "../runtime/onnxruntime.ts";
import { findLearningRate } from "./find-rate.ts";
import { runTraining } from "./trainer.ts";
import type { TrainingThreadData, TrainingThreadMessage } from "./training-thread.ts";

const { task, stopFlag } = workerData as TrainingThreadData;
const post = (message: TrainingThreadMessage): void => parentPort?.postMessage(message);
try {
  const hooks = {
    onEvent: (event: unknown) => post({ event }),
    // The thread is busy in the engine and never reads its messages; a shared word reaches it between two steps.
    shouldStop: () => Atomics.load(stopFlag, 0) === 1,
  };
  const outcome =
    "train" in task ? await runTraining(onnxruntime, task.train, hooks) : await findLearningRate(onnxruntime, task.findRate, hooks);
  post({ outcome });
} catch (error) {
  const { code, message, hint, stack } = toServalError(error);
  post({ failure: { code, message, hint, stack: stack ?? "" } });
}
