import { parentPort, workerData } from "node:worker_threads";
import { onnxruntime } from "../runtime/onnxruntime.ts";
import { answerCalls } from "../threads/answer-calls.ts";
import { findLearningRate } from "./find-rate.ts";
import { runTraining } from "./trainer.ts";
import type { TrainingProtocol, TrainingThreadData } from "./training-thread.ts";

if (parentPort) {
  const { stopFlag } = workerData as TrainingThreadData;
  await answerCalls<TrainingProtocol>(parentPort, (tell) => {
    const hooks = {
      onEvent: tell,
      // The thread is busy in the engine and never reads its messages; a shared word reaches it between two steps.
      shouldStop: () => Atomics.load(stopFlag, 0) === 1,
    };
    return {
      call: async (task) =>
        "train" in task ? await runTraining(onnxruntime, task.train, hooks) : await findLearningRate(onnxruntime, task.findRate, hooks),
    };
  });
}
