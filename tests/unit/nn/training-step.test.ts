import { describe, expect, test } from "vitest";
import { COLOUR_MEAN, COLOUR_STD } from "../../../src/nn/architectures/architecture.ts";
import { cnn4 } from "../../../src/nn/architectures/cnn4.ts";
import { Graph } from "../../../src/nn/graph.ts";
import { buildInferenceModel } from "../../../src/nn/inference-model.ts";
import { lowerGraph } from "../../../src/nn/lower.ts";
import { evaluateGraph } from "../../../src/nn/reference.ts";
import { warmupCosine } from "../../../src/nn/schedules.ts";
import { buildTrainingStep, NEXT } from "../../../src/nn/training-step.ts";
import { encodeModel } from "../../../src/onnx/encode.ts";
import type { Tensor } from "../../../src/runtime/engine.ts";
import { onnxruntime } from "../../../src/runtime/onnxruntime.ts";
import { randomArray } from "../../helpers/random-array.ts";

const options = { channels: [16, 32], blocks: 1, classes: 3, momentum: 0.9, weightDecay: 0.01 };
const blockSize = await onnxruntime.probeBlockSize();

function feedsFor(graph: ReturnType<typeof buildTrainingStep>["graph"]): Record<string, Float64Array> {
  const feeds: Record<string, Float64Array> = {};
  let seed = 1;
  for (const [name, { shape, dtype }] of graph.inputs) {
    const count = shape.reduce((product, size) => product * size, 1);
    let values = randomArray(count, seed++, -0.5, 0.5);
    if (dtype === "uint8") values = values.map((value) => Math.floor((value + 0.5) * 256));
    // Both signs of gamma, because its sign moves into the weights.
    else if (/^bns.*\.weight$/.test(name)) values = values.map((value) => value + (value < 0 ? -0.5 : 0.5));
    else if (/running_var|^sum2/.test(name)) values = values.map((value) => value + 0.6);
    else if (name === "targets") values = values.map((_, k) => [0.1, 0.8, 0.1][(k + Math.floor(k / 3)) % 3] as number);
    else if (name === "dropoutMask") values = values.map((value) => (value < -0.3 ? 0 : 1.25));
    else if (name === "learningRate") values.fill(0.05);
    else if (name.startsWith("adam")) values.fill(1.5);
    feeds[name] = Float64Array.from(values, Math.fround);
  }
  return feeds;
}

describe.each(["sgd", "adamw"] as const)("a whole training step with %s", (optimizer) => {
  const lowerings = [0, blockSize].filter((block, index) => index === 0 || block > 0);
  const size = { ...options, batchSize: 4, height: 16, width: 12, optimizer, dropout: true };
  const frozen = trainedWeights();
  test.each(
    lowerings.flatMap((block) => [
      { block, of: "a network that learns as a whole", step: buildTrainingStep(cnn4, size) },
      { block, of: "a frozen backbone and its head", step: buildTrainingStep(cnn4, { ...size, frozen }) },
    ]),
  )(
    "of $of, in blocks of $block channels, agrees with the float64 reference: loss, every weight, every statistic",
    async ({ block, step }) => {
      const { graph } = step;
      const feeds = feedsFor(graph);
      const expected = evaluateGraph(graph, feeds);
      const session = await onnxruntime.createSession(encodeModel(lowerGraph(graph, { blockSize: block, name: "step" })), { threads: 2 });
      const tensors: Record<string, Tensor> = {};
      for (const [name, { shape, dtype }] of graph.inputs) {
        const values = feeds[name] as Float64Array;
        tensors[name] = { dtype, shape, data: dtype === "uint8" ? Uint8Array.from(values) : Float32Array.from(values) };
      }
      const actual = await session.run(tensors);
      await session.close();
      for (const name of graph.outputs.keys()) {
        const want = expected[name]?.data as Float64Array;
        const got = actual[name]?.data as Float32Array;
        const before = feeds[name.slice(NEXT.length)];
        // The update is what was computed; against the weight itself a lost gradient would hardly show.
        const change = before && name.startsWith(NEXT) ? want.map((value, k) => value - (before[k] as number)) : want;
        const scale = Math.max(1e-3, ...change.map(Math.abs));
        const worst = want.reduce((most, value, k) => Math.max(most, Math.abs(value - (got[k] as number)) / scale), 0);
        expect(worst, name).toBeLessThan(optimizer === "adamw" ? 1e-3 : 1e-4);
      }
    },
  );
});

test("a step with a frozen backbone gives the service's logits, and has nothing but the head to change", () => {
  const weights = trainedWeights();
  const size = { ...options, batchSize: 2, height: 16, width: 12, optimizer: "adamw", dropout: false } as const;
  const step = buildTrainingStep(cnn4, { ...size, frozen: weights });
  expect(step.state.map(({ name }) => name)).toEqual([
    "fc.weight",
    "sum1:fc.weight",
    "sum2:fc.weight",
    "fc.bias",
    "sum1:fc.bias",
    "sum2:fc.bias",
  ]);
  const feeds: Record<string, Float64Array> = {
    ...feedsFor(step.graph),
    "fc.weight": wide(weights, "fc.weight"),
    "fc.bias": wide(weights, "fc.bias"),
  };
  const graph = new Graph();
  const images = graph.input("images", [2, 16, 12, 3], { dtype: "uint8" });
  const pictures = graph.apply("normalizeImages", [images], { mean: COLOUR_MEAN, std: COLOUR_STD });
  const { logits } = cnn4.infer(graph, pictures, weights, options);
  graph.output("probabilities", graph.apply("softmax", [logits], {}));
  const served = evaluateGraph(graph, { images: feeds["images"] as Float64Array })["probabilities"];
  expect(evaluateGraph(step.graph, feeds)["probabilities"]?.data).toEqual(served?.data);
});

/** Weights and statistics as a training could have left them. */
function trainedWeights(): Record<string, Float32Array> {
  const { graph } = buildTrainingStep(cnn4, { ...options, batchSize: 1, height: 16, width: 12, optimizer: "sgd", dropout: false });
  return Object.fromEntries(Object.entries(feedsFor(graph)).map(([name, values]) => [name, Float32Array.from(values)]));
}

function wide(weights: Readonly<Record<string, Float32Array>>, name: string): Float64Array {
  return Float64Array.from(weights[name] as Float32Array);
}

test("the exported network answers as the definition of its layers says, for any batch size", async () => {
  const { graph } = buildTrainingStep(cnn4, { ...options, batchSize: 1, height: 16, width: 12, optimizer: "sgd", dropout: false });
  const feeds = feedsFor(graph);
  const weights = Object.fromEntries(Object.entries(feeds).map(([name, values]) => [name, Float32Array.from(values)]));
  const model = buildInferenceModel(cnn4, weights, { ...options, height: 16, width: 12, temperature: 2 });
  const session = await onnxruntime.createSession(encodeModel(model), { threads: 1 });
  const images = Uint8Array.from({ length: 3 * 16 * 12 * 3 }, (_, k) => (k * 31 + (k >> 5)) % 256);
  const run = async (from: number, count: number): Promise<Record<string, Tensor>> =>
    await session.run({ images: { dtype: "uint8", shape: [count, 16, 12, 3], data: images.slice(from * 576, (from + count) * 576) } });
  const together = await run(0, 3);
  expect(together["features"]?.shape).toEqual([3, 32, 4, 3]);
  for (let row = 0; row < 3; row++) {
    const alone = await run(row, 1);
    const logits = [...floats(alone, "logits")];
    const expected = plainForward(images.slice(row * 576, (row + 1) * 576), weights);
    logits.forEach((value, k) => {
      expect(value).toBeCloseTo(expected[k] as number, 4);
      expect(floats(together, "logits")[row * 3 + k]).toBeCloseTo(value, 5);
    });
    const powers = logits.map((value) => Math.exp(value / 2));
    const total = powers.reduce((sum, power) => sum + power, 0);
    powers.forEach((power, k) => expect(floats(alone, "probabilities")[k]).toBeCloseTo(power / total, 5));
  }
  await session.close();
});

test("a network exported with float16 weights is half the file, and answers nearly the same", async () => {
  const wide = { ...options, channels: [64, 128] };
  const { graph } = buildTrainingStep(cnn4, { ...wide, batchSize: 1, height: 16, width: 12, optimizer: "sgd", dropout: false });
  const weights = Object.fromEntries(Object.entries(feedsFor(graph)).map(([name, values]) => [name, Float32Array.from(values)]));
  const data = Uint8Array.from({ length: 16 * 12 * 3 }, (_, k) => (k * 31 + (k >> 5)) % 256);
  const [full, half] = await Promise.all(
    (["float32", "float16"] as const).map(async (precision) => {
      const file = encodeModel(buildInferenceModel(cnn4, weights, { ...wide, height: 16, width: 12, temperature: 1, precision }));
      const session = await onnxruntime.createSession(file, { threads: 1 });
      const logits = floats(await session.run({ images: { dtype: "uint8", shape: [1, 16, 12, 3], data } }), "logits");
      await session.close();
      return { bytes: file.length, logits };
    }),
  );
  expect(half!.bytes).toBeLessThan(full!.bytes * 0.53);
  expect(half!.logits).not.toEqual(full!.logits);
  const scale = Math.max(...full!.logits.map(Math.abs));
  half!.logits.forEach((value, k) => expect(Math.abs(value - (full!.logits[k] as number)) / scale).toBeLessThan(0.003));
});

function floats(outputs: Record<string, Tensor>, name: string): Float32Array {
  return (outputs[name] as Tensor).data as Float32Array;
}

/** conv, batchnorm with running statistics, relu and maxpool twice, mean, linear: written out, sharing no code with src/. */
function plainForward(image: Uint8Array, weights: Record<string, Float32Array>): number[] {
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ] as const;
  let [channels, height, width] = [3, 16, 12];
  let maps: number[] = [];
  for (let c = 0; c < 3; c++)
    for (let p = 0; p < 192; p++) maps.push(((image[p * 3 + c] as number) / 255 - (mean[c] as number)) / (std[c] as number));
  options.channels.forEach((count, layer) => {
    const of = (name: string, k: number): number => weights[name]?.[k] as number;
    const next: number[] = [];
    const at = (o: number, y: number, x: number): number => {
      let sum = 0;
      for (let c = 0; c < channels; c++)
        for (let ky = 0; ky < 3; ky++)
          for (let kx = 0; kx < 3; kx++) {
            const [row, column] = [y + ky - 1, x + kx - 1];
            if (row < 0 || column < 0 || row >= height || column >= width) continue;
            sum +=
              (maps[(c * height + row) * width + column] as number) * of(`convs.${layer}.weight`, ((o * channels + c) * 3 + ky) * 3 + kx);
          }
      const normalised = (sum - of(`bns.${layer}.running_mean`, o)) / Math.sqrt(of(`bns.${layer}.running_var`, o) + 1e-5);
      return Math.max(0, normalised * of(`bns.${layer}.weight`, o) + of(`bns.${layer}.bias`, o));
    };
    for (let o = 0; o < count; o++)
      for (let y = 0; y < height; y += 2)
        for (let x = 0; x < width; x += 2) next.push(Math.max(at(o, y, x), at(o, y, x + 1), at(o, y + 1, x), at(o, y + 1, x + 1)));
    [maps, channels, height, width] = [next, count, height / 2, width / 2];
  });
  const pixels = height * width;
  const embedding = Array.from(
    { length: channels },
    (_, c) => maps.slice(c * pixels, (c + 1) * pixels).reduce((sum, value) => sum + value, 0) / pixels,
  );
  return [0, 1, 2].map((k) =>
    embedding.reduce(
      (sum, value, c) => sum + value * (weights["fc.weight"]?.[k * channels + c] as number),
      weights["fc.bias"]?.[k] as number,
    ),
  );
}

test("the learning rate rises over the warm-up and falls along a cosine to nothing", () => {
  const schedule = { learningRate: 0.1, warmupSteps: 10, totalSteps: 110 };
  expect(warmupCosine(0, schedule)).toBeCloseTo(0.01);
  expect(warmupCosine(9, schedule)).toBeCloseTo(0.1);
  expect(warmupCosine(60, schedule)).toBeCloseTo(0.05);
  expect(warmupCosine(109, schedule)).toBeLessThan(1e-4);
});
