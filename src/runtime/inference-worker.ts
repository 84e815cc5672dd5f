import { on } from "node:events";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { toServalError } from "../errors/serval-error.ts";
import type { Session } from "./engine.ts";
import type { InferenceAnswer, InferenceCall, InferenceResult, InferenceSetup } from "./inference.ts";
import { onnxruntime } from "./onnxruntime.ts";

/** The thread behind `startInference`: one session, calls answered one after the other. */
async function serveInference(port: MessagePort, { model, imageShape, threads }: InferenceSetup): Promise<void> {
  const answer = (message: InferenceAnswer): void => port.postMessage(message);
  let session: Session;
  try {
    session = await onnxruntime.createSession(model, threads === undefined ? {} : { threads });
  } catch (error) {
    const { code, message } = toServalError(error);
    answer({ kind: "refused", code, message });
    return;
  }
  const calls = on(port, "message") as AsyncIterable<[InferenceCall]>;
  answer({ kind: "ready" });
  for await (const [call] of calls) {
    if (call.kind === "close") break;
    try {
      answer({ kind: "result", id: call.id, result: await runCall(session, call, imageShape) });
    } catch (error) {
      const { code, message } = toServalError(error);
      answer({ kind: "failed", id: call.id, code, message });
    }
  }
  await session.close();
  port.close();
}

async function runCall(
  session: Session,
  call: InferenceCall & { kind: "run" },
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

if (parentPort) await serveInference(parentPort, workerData as InferenceSetup);
