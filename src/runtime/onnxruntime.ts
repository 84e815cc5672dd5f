import os from "node:os";
import ort from "onnxruntime-node";
import { ServalError } from "../errors/serval-error.ts";
import { checkModel } from "../onnx/check-model.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Engine, Session, SessionOptions, Tensor, TensorData } from "./engine.ts";
import { switchOffTelemetry } from "./telemetry.ts";

// Only errors: ONNX Runtime's warnings (unused initializers, shape merges) mean nothing to our users.
const ortLogLevelError = 3;

function toOrt(tensor: Tensor): ort.Tensor {
  return new ort.Tensor(tensor.dtype as "float32", tensor.data as Float32Array, tensor.shape);
}

async function createSession(model: Uint8Array, options: SessionOptions = {}): Promise<Session> {
  checkModel(model);
  switchOffTelemetry();
  let session: ort.InferenceSession;
  try {
    session = await ort.InferenceSession.create(model, {
      executionProviders: ["cpu"],
      intraOpNumThreads: options.threads ?? os.availableParallelism(),
      interOpNumThreads: 1,
      executionMode: "sequential",
      logSeverityLevel: ortLogLevelError,
      ...(options.spin === false ? { extra: { session: { intra_op: { allow_spinning: "0" } } } } : {}),
      ...(options.profilePrefix === undefined ? {} : { enableProfiling: true, profileFilePrefix: options.profilePrefix }),
    });
  } catch (error) {
    throw new ServalError("E_ENGINE_MODEL", `onnxruntime refused the model: ${(error as Error).message}`, { cause: error });
  }
  // Tensors are wrapped once per buffer: feeds are the same few buffers at every training step.
  const wrapped = new WeakMap<TensorData, ort.Tensor>();
  const wrap = (tensor: Tensor): ort.Tensor => {
    const known = wrapped.get(tensor.data);
    if (known && known.dims.length === tensor.shape.length && known.dims.every((size, i) => size === tensor.shape[i])) return known;
    const made = toOrt(tensor);
    wrapped.set(tensor.data, made);
    return made;
  };
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    async run(feeds, into = {}, names = session.outputNames) {
      const ortFeeds: Record<string, ort.Tensor> = {};
      for (const [name, tensor] of Object.entries(feeds)) ortFeeds[name] = wrap(tensor);
      const fetches: Record<string, ort.Tensor | null> = {};
      for (const name of names) fetches[name] = name in into ? wrap(into[name] as Tensor) : null;
      let results: ort.InferenceSession.OnnxValueMapType;
      try {
        results = await session.run(ortFeeds, fetches);
      } catch (error) {
        throw new ServalError("E_ENGINE_RUN", `onnxruntime failed while running the model: ${(error as Error).message}`, { cause: error });
      }
      const outputs: Record<string, Tensor> = {};
      for (const name of names) {
        const value = results[name] as ort.Tensor;
        outputs[name] = into[name] ?? { dtype: value.type as Tensor["dtype"], shape: value.dims, data: value.data as TensorData };
      }
      return outputs;
    },
    async close() {
      if (options.profilePrefix !== undefined) session.endProfiling();
      await session.release();
    },
  };
}

/**
 * Runs MLAS's ReorderInput on four channels: the output has one block of channels, so its channel count is the block
 * size. The com.microsoft.nchwc domain is internal to ONNX Runtime; a build without it refuses the model.
 */
async function probeBlockSize(): Promise<number> {
  const bytes = encodeModel({
    irVersion: 8,
    producer: "serval",
    graphName: "probe",
    opsets: { "": 17, "com.microsoft.nchwc": 1 },
    nodes: [{ name: "reorder", op: "ReorderInput", domain: "com.microsoft.nchwc", inputs: ["x"], outputs: ["y"], attributes: {} }],
    initializers: [],
    inputs: [{ name: "x", dtype: "float32", shape: [1, 4, 1, 1] }],
    outputs: [{ name: "y", dtype: "float32", shape: ["N", "C", "H", "W"] }],
    metadata: {},
  });
  try {
    const session = await createSession(bytes, { threads: 1 });
    const { y } = await session.run({ x: { dtype: "float32", shape: [1, 4, 1, 1], data: Float32Array.of(1, 2, 3, 4) } });
    await session.close();
    const block = y?.shape[1] ?? 0;
    const values = [...((y?.data as Float32Array | undefined) ?? [])];
    const ok = (block === 8 || block === 16) && values.every((value, i) => value === (i < 4 ? i + 1 : 0));
    return ok ? block : 0;
  } catch {
    return 0;
  }
}

export const onnxruntime: Engine = { name: "onnxruntime", createSession, probeBlockSize };
