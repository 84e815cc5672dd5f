import { parentPort, workerData } from "node:worker_threads";
import { answerCalls } from "../threads/answer-calls.ts";
import type { Session } from "./engine.ts";
import type { InferenceProtocol, InferenceResult, InferenceSetup } from "./inference.ts";
import { onnxruntime } from "./onnxruntime.ts";

async function runCall(
  session: Session,
  call: InferenceProtocol["call"],
  imageShape: InferenceSetup["imageShape"],
): Promise<InferenceResult> {
  const startedAt = performance.now();
  const names = call.features ? ["logits", "probabilities", "features"] : ["logits", "probabilities"];
  const images = { dtype: "uint8", shape: [call.count, ...imageShape, 3], data: call.images } as const;
  const outputs = await session.run({ images }, {}, names);
  const values = (name: string): Float32Array => outputs[name]?.data as Float32Array;
  const result = { logits: values("logits"), probabilities: values("probabilities"), durationMs: performance.now() - startedAt };
  return call.features ? { ...result, features: values("features") } : result;
}

/** The thread behind `startInference`: one session, calls answered one after the other. */
if (parentPort) {
  await answerCalls<InferenceProtocol>(parentPort, async () => {
    const { model, imageShape, threads } = workerData as InferenceSetup;
    const session = await onnxruntime.createSession(model, threads === undefined ? {} : { threads });
    return { call: async (call) => await runCall(session, call, imageShape), close: async () => await session.close() };
  });
}
