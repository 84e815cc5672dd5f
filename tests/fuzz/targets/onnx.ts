import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { cnn4 } from "../../../src/nn/architectures/cnn4.ts";
import { buildInferenceModel } from "../../../src/nn/inference-model.ts";
import { checkModel } from "../../../src/onnx/check-model.ts";
import { encodeModel } from "../../../src/onnx/encode.ts";
import { mutateBytes } from "../mutate.ts";
import { expectRefusal, type FuzzTarget } from "../target.ts";

const channels = [2, 2, 2, 2];
/** So much of the released model, whose weights would only hide the bytes that say something. */
const headBytes = 4096;

/** A network with random numbers for weights, of a few thousand bytes: what `serval train` writes, in small. */
function smallModel(precision: "float32" | "float16"): Uint8Array {
  const weights: Record<string, Float32Array> = {
    "fc.weight": Float32Array.of(0.1, 0.2, 0.3, 0.4),
    "fc.bias": Float32Array.of(0, 1),
  };
  for (const [k, count] of channels.entries()) {
    const inputs = k === 0 ? 3 : (channels[k - 1] as number);
    weights[`convs.${k}.weight`] = Float32Array.from({ length: count * inputs * 9 }, (_, at) => (at % 7) / 7);
    for (const part of ["weight", "bias", "running_mean", "running_var"]) weights[`bns.${k}.${part}`] = new Float32Array(count).fill(1);
  }
  const options = { channels, blocks: 1, classes: 2, height: 16, width: 16, temperature: 1, precision };
  return encodeModel(buildInferenceModel(cnn4, weights, options));
}

/** ONNX files, which are Protocol Buffers: the check that stands between a stranger's model and the engine. */
export async function openOnnx(): Promise<FuzzTarget> {
  const released = await readFile(join(import.meta.dirname, "../../../models/cats-dogs/model.onnx"));
  const [wide, narrow] = [smallModel("float32"), smallModel("float16")];
  return {
    seeds: [wide, narrow, released.subarray(0, headBytes)],
    guided: true,
    mutate: (input, random, corpus) => mutateBytes(input, random, corpus),
    run: (input) => {
      try {
        checkModel(input);
      } catch (error) {
        expectRefusal(error, ["E_MODEL_UNSAFE", "E_ENGINE_MODEL"]);
      }
      return Promise.resolve();
    },
  };
}
