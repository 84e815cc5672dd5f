import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseSafetensors, safetensorNumbers } from "../../src/model/safetensors.ts";
import type { Backbone } from "../../src/nn/architectures/architecture.ts";
import { BACKBONES, withClassifier } from "../../src/nn/architectures/backbones.ts";
import { buildInferenceModel } from "../../src/nn/inference-model.ts";
import { lowerGraph } from "../../src/nn/lower.ts";
import { buildTrainingStep } from "../../src/nn/training-step.ts";
import { elementCount } from "../../src/onnx/builder.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { Tensor } from "../../src/runtime/engine.ts";
import { onnxruntime } from "../../src/runtime/onnxruntime.ts";
import { python } from "./python.ts";

const [count, side, classes] = [4, 96, 3];
/** How much a gradient of Serval's, in 32 bits, may differ from the library's in 64, as a share of its length. */
const tolerance = 1e-3;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-networks-"));
});
afterEach(async () => await rm(dir, { recursive: true, force: true }));

async function readTensors(name: string): Promise<Record<string, Float32Array>> {
  const { tensors } = parseSafetensors(await readFile(join(dir, name)));
  return Object.fromEntries(Object.entries(tensors).map(([tensor, value]) => [tensor, safetensorNumbers(tensor, value)]));
}

async function readFloats(name: string): Promise<Float32Array> {
  return new Float32Array(Uint8Array.from(await readFile(join(dir, name))).buffer);
}

function share(actual: Float32Array, expected: Float32Array, shortest: number): number {
  expect(actual).toHaveLength(expected.length);
  let [difference, length] = [0, 0];
  expected.forEach((value, k) => {
    difference += ((actual[k] as number) - value) ** 2;
    length += value ** 2;
  });
  return Math.sqrt(difference) / Math.max(Math.sqrt(length), shortest);
}

/** The network with the classifier of the libraries: on the mean of the features. */
function withPlainClassifier(name: string): ReturnType<typeof withClassifier> {
  return withClassifier({ ...(BACKBONES[name] as Backbone), nonNegative: false });
}

/** The logits of the exported model. */
async function answersOf(
  network: ReturnType<typeof withClassifier>,
  weights: Readonly<Record<string, Float32Array>>,
  pictures: Tensor,
): Promise<Float32Array> {
  const size = { channels: [], blocks: 0, classes, height: side, width: side };
  const session = await onnxruntime.createSession(encodeModel(buildInferenceModel(network, weights, { ...size, temperature: 1 })));
  const outputs = await session.run({ images: pictures });
  await session.close();
  return outputs["logits"]?.data as Float32Array;
}

test.each(
  ["resnet18", "resnet34", "efficientnet-lite0"].flatMap((name) => [
    { name, statistics: "batch" },
    { name, statistics: "frozen" },
  ]),
)(
  "$name with statistics of the $statistics: weights, logits and gradients are those of the Python library",
  async ({ name, statistics }) => {
    await promisify(execFile)(python, [join(import.meta.dirname, "network_peer.py"), name, statistics, dir, String(count), String(side)]);
    const weights = await readTensors("weights.safetensors");
    const [images, logits, gradients] = await Promise.all([
      readFile(join(dir, "images.bin")),
      readFloats("logits.bin"),
      readTensors("gradients.safetensors"),
    ]);
    const pictures: Tensor = { dtype: "uint8", shape: [count, side, side, 3], data: Uint8Array.from(images) };
    const network = withPlainClassifier(name);
    const size = { channels: [], blocks: 0, classes, height: side, width: side };

    // With frozen statistics the libraries' step sees what the service gives.
    const served = statistics === "frozen" ? [await answersOf(network, weights, pictures)] : [];
    for (const answers of served)
      logits.forEach((value, k) => expect(Math.abs((answers[k] as number) - value)).toBeLessThan(1e-4 * Math.max(1, Math.abs(value))));

    const frozenStatistics = statistics === "frozen";
    const options = { ...size, frozenStatistics, batchSize: count, optimizer: "sgd", momentum: 0, weightDecay: 0, dropout: false } as const;
    const { graph, state } = buildTrainingStep(network, options);
    const own = state.filter(({ role }) => role !== "slot").map((spec): [string, number] => [spec.name, elementCount(spec.shape)]);
    expect(new Map(own)).toEqual(new Map(Object.entries(weights).map(([tensor, { length }]) => [tensor, length])));
    const feeds: Record<string, Tensor> = { images: pictures };
    for (const [input, { shape, dtype }] of graph.inputs) {
      if (input === "images") continue;
      const data = weights[input] ?? (input === "targets" ? await readFloats("targets.bin") : new Float32Array(elementCount(shape)));
      feeds[input] = { dtype, shape, data };
    }
    // Gradients of what a normalisation behind takes away again are zero, and roundings on both sides: against the shortest that counts.
    const lengths = Object.values(gradients).map((gradient) => Math.hypot(...gradient.subarray(0, 1000)));
    const shortest = 1e-3 * Math.max(...lengths);
    for (const blockSize of new Set([0, await onnxruntime.probeBlockSize()])) {
      const session = await onnxruntime.createSession(encodeModel(lowerGraph(graph, { blockSize, name })));
      // Without momentum the velocity is the gradient.
      const results = await session.run(feeds);
      await session.close();
      for (const [tensor, gradient] of Object.entries(gradients))
        expect(share(results[`next:velocity:${tensor}`]?.data as Float32Array, gradient, shortest), `${tensor}, ${blockSize}`).toBeLessThan(
          tolerance,
        );
    }
  },
);
