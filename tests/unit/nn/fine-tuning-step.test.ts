import { describe, expect, test } from "vitest";
import type { Backbone } from "../../../src/nn/architectures/architecture.ts";
import { BACKBONES, withClassifier } from "../../../src/nn/architectures/backbones.ts";
import { Graph } from "../../../src/nn/graph.ts";
import { lowerGraph } from "../../../src/nn/lower.ts";
import { evaluateGraph } from "../../../src/nn/reference.ts";
import { buildTrainingStep, NEXT, type TrainingStep, type TrainingStepOptions } from "../../../src/nn/training-step.ts";
import { encodeModel } from "../../../src/onnx/encode.ts";
import type { Tensor } from "../../../src/runtime/engine.ts";
import { onnxruntime } from "../../../src/runtime/onnxruntime.ts";
import { randomArray } from "../../helpers/random-array.ts";

const blockSize = await onnxruntime.probeBlockSize();
const usual = { channels: [], blocks: 0, classes: 3, momentum: 0, weightDecay: 0, optimizer: "sgd", dropout: false } as const;

function backbone(name: string): Backbone {
  return BACKBONES[name] as Backbone;
}

function stepOf(name: string, options: Partial<TrainingStepOptions> & { batchSize: number; side: number }): TrainingStep {
  return buildTrainingStep(withClassifier(backbone(name)), { ...usual, ...options, height: options.side, width: options.side });
}

/**
 * Weights, statistics, pictures, and a learning rate of 1. What goes into an activation is
 * around 3, far from 0 and 6: a rounding that moves a number over one of them would change a gradient by more than roundings do.
 */
function feedsFor({ graph, state }: TrainingStep, gamma = 1): Record<string, Float64Array> {
  const specs = new Map(state.map((spec) => [spec.name, spec]));
  let seed = 1;
  return Object.fromEntries(
    [...graph.inputs].map(([name, { shape, dtype }]) => {
      const count = shape.reduce((product, size) => product * size, 1);
      const random = randomArray(count, seed++);
      const initial = specs.get(name)?.initial;
      let values = random;
      if (dtype === "uint8") values = random.map((value) => Math.floor((value + 1) * 127.9));
      else if (name === "targets") values = random.map((_, k) => [0.1, 0.8, 0.1][(k + Math.floor(k / 3)) % 3] as number);
      else if (name === "learningRate") values = random.fill(1);
      else if (name.endsWith("running_var")) values = random.map((value) => value / 2 + 1);
      else if (/(bn\d|downsample\.1)\.weight$/.test(name)) values = random.map((value) => ((value + 12) * gamma) / 12);
      else if (/(bn\d|downsample\.1)\.bias$/.test(name)) values = random.map((value) => 3 + value / 5);
      else if (initial && "constant" in initial) values = random.map((value) => initial.constant + value / 5);
      else if (initial) values = random.map((value) => value * Math.sqrt(3) * initial.std);
      return [name, Float64Array.from(values, Math.fround)];
    }),
  );
}

async function run({ graph }: TrainingStep, feeds: Record<string, Float64Array>, block: number): Promise<Record<string, Tensor>> {
  const session = await onnxruntime.createSession(encodeModel(lowerGraph(graph, { blockSize: block, name: "step" })), {
    threads: 2,
    spin: false,
  });
  const tensors: Record<string, Tensor> = {};
  for (const [name, { shape, dtype }] of graph.inputs) {
    const values = feeds[name] as Float64Array;
    tensors[name] = { dtype, shape, data: dtype === "uint8" ? Uint8Array.from(values) : Float32Array.from(values) };
  }
  const results = await session.run(tensors);
  await session.close();
  return results;
}

/** Distance of two tensors as a share of the second's length. Some gradients are zero: of what a normalisation behind takes away again. */
function distance(actual: Float64Array, expected: Float64Array): number {
  let [difference, length] = [0, 0];
  expected.forEach((value, k) => {
    difference += ((actual[k] as number) - value) ** 2;
    length += value ** 2;
  });
  return Math.sqrt(difference / Math.max(length, 1e-6));
}

const lowerings = [0, blockSize].filter((block, index) => index === 0 || block > 0);

describe.each([
  { name: "efficientnet-lite0", frozenStatistics: false },
  { name: "efficientnet-lite0", frozenStatistics: true },
  { name: "resnet18", frozenStatistics: false },
  { name: "resnet18", frozenStatistics: true },
])("a fine-tuning step of $name, frozen statistics: $frozenStatistics", ({ name, frozenStatistics }) => {
  const step = stepOf(name, { batchSize: 3, side: 64, frozenStatistics });
  // Statistics that are not those of the maps let them grow.
  const feeds = feedsFor(step, frozenStatistics ? 0.17 : 1.2);
  const expected = evaluateGraph(step.graph, feeds);

  test.each(lowerings)(
    "in blocks of %i channels agrees with the float64 reference: loss, every gradient, every statistic",
    async (block) => {
      const actual = await run(step, feeds, block);
      for (const output of step.graph.outputs.keys()) {
        // Without momentum the velocity is the gradient.
        const data = Float64Array.from((actual[output] as Tensor).data as Float32Array);
        expect(distance(data, expected[output]?.data as Float64Array), output).toBeLessThan(1e-3);
      }
    },
  );

  test("has a gradient for every weight, and changes the statistics only where they are not frozen", () => {
    const named = (wanted: string): string[] => step.state.filter(({ role }) => role === wanted).map((spec) => spec.name);
    const next = (tensor: string): Float64Array => expected[`${NEXT}${tensor}`]?.data as Float64Array;
    for (const tensor of named("slot"))
      expect(
        next(tensor).some((value) => value !== 0),
        tensor,
      ).toBe(true);
    for (const tensor of named("statistic"))
      expect(
        next(tensor).every((value, k) => value === feeds[tensor]?.[k]),
        tensor,
      ).toBe(frozenStatistics);
  });

  test("has the names and shapes of the backbone's weights, and the head's", () => {
    const own = step.state
      .filter(({ role, head }) => role !== "slot" && !head)
      .map((spec): [string, readonly number[]] => [spec.name, spec.shape]);
    expect(new Map(own)).toEqual(new Map(backbone(name).tensors));
    expect(step.state.filter(({ role, head }) => role === "parameter" && head).map((spec) => spec.name)).toEqual(["fc.weight", "fc.bias"]);
  });
});

test("with frozen statistics a step sees the logits that the service gives", () => {
  const rateFactor = (name: string): number => (name.startsWith("fc.") ? 1 : 0);
  const step = stepOf("efficientnet-lite0", { batchSize: 1, side: 32, frozenStatistics: true, rateFactor });
  const feeds = feedsFor(step);
  const weights = Object.fromEntries(Object.entries(feeds).map(([name, values]) => [name, Float32Array.from(values)]));
  const { infer, mean, std } = withClassifier(backbone("efficientnet-lite0"));
  const graph = new Graph();
  const pictures = graph.apply("normalizeImages", [graph.input("images", [1, 32, 32, 3], { dtype: "uint8" })], { mean, std });
  graph.output("probabilities", graph.apply("softmax", [infer(graph, pictures, weights, usual).logits], {}));
  const served = evaluateGraph(graph, { images: feeds["images"] as Float64Array })["probabilities"]?.data as Float64Array;
  const trained = evaluateGraph(step.graph, feeds)["probabilities"]?.data as Float64Array;
  served.forEach((value, k) => expect(trained[k]).toBeCloseTo(value, 5));
});

test("a batch of one with its own statistics gives finite numbers", async () => {
  const step = stepOf("efficientnet-lite0", { batchSize: 1, side: 32 });
  for (const block of lowerings) {
    const results = await run(step, feedsFor(step), block);
    for (const [name, { data }] of Object.entries(results)) expect((data as Float32Array).every(Number.isFinite), name).toBe(true);
  }
});

test("layer groups name every weight of a backbone once, in the order of depth", () => {
  for (const { name, tensors, layerGroups } of Object.values(BACKBONES)) {
    const groups = [...tensors.keys()].map((tensor) =>
      layerGroups.flatMap((prefixes, k) => (prefixes.some((prefix) => tensor.startsWith(prefix)) ? [k] : [])),
    );
    expect(
      groups.every((found) => found.length === 1),
      name,
    ).toBe(true);
    expect(groups.flat(), name).toEqual(groups.flat().toSorted((a, b) => a - b));
  }
});

test("a weight whose learning rate is multiplied by zero keeps its value, has no memory, and costs no gradient", async () => {
  const rateFactor = (name: string): number => (/^(conv_head|bn2)\./.test(name) ? 0.25 : name.startsWith("fc.") ? 1 : 0);
  const whole = stepOf("efficientnet-lite0", { batchSize: 2, side: 32, optimizer: "adamw" });
  const step = stepOf("efficientnet-lite0", { batchSize: 2, side: 32, optimizer: "adamw", rateFactor });
  const slots = step.state.filter(({ role }) => role === "slot").map(({ name }) => name.slice("sum1:".length));
  expect(slots.every((name) => /^(conv_head|bn2|fc)\./.test(name))).toBe(true);
  const count = (one: TrainingStep): number => lowerGraph(one.graph, { blockSize: 0, name: "step" }).nodes.length;
  expect(count(step)).toBeLessThan(count(whole) / 2);
  const feeds: Record<string, Float64Array> = { ...feedsFor(step), adamScale: Float64Array.of(1), adamEpsilon: Float64Array.of(1e-8) };
  const results = await run(step, feeds, 0);
  for (const name of ["conv_stem.weight", "blocks.6.0.bn3.weight", "conv_head.weight", "fc.weight"]) {
    const data = (results[`${NEXT}${name}`] as Tensor).data as Float32Array;
    expect(
      data.every((value, k) => value === feeds[name]?.[k]),
      name,
    ).toBe(rateFactor(name) === 0);
  }
});

test("a factor that is not a number from 0 is refused with the weight's name", () => {
  expect(() => stepOf("resnet18", { batchSize: 2, side: 32, rateFactor: (name) => (name === "bn1.bias" ? -1 : 1) })).toThrow(
    expect.objectContaining({ code: "E_GRAPH", message: expect.stringContaining("bn1.bias") }),
  );
});
