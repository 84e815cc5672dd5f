import { describe, expect, test } from "vitest";
import { differentiate } from "../../../src/nn/grad.ts";
import { Graph } from "../../../src/nn/graph.ts";
import { lowerGraph } from "../../../src/nn/lower.ts";
import { OPS } from "../../../src/nn/ops/index.ts";
import type { OpAttributes, OpName } from "../../../src/nn/ops/op-attributes.ts";
import type { Value } from "../../../src/nn/ops/op-spec.ts";
import { evaluateGraph } from "../../../src/nn/reference.ts";
import { encodeModel } from "../../../src/onnx/encode.ts";
import { onnxruntime } from "../../../src/runtime/onnxruntime.ts";
import type { Tensor } from "../../../src/runtime/engine.ts";
import { randomArray } from "../../helpers/random-array.ts";

interface Input {
  readonly shape: readonly number[];
  /** Range of the numbers; default [-1, 1]. */
  readonly range?: readonly [number, number];
  readonly uint8?: boolean;
  readonly values?: (index: number) => number;
}

interface Case<K extends OpName> {
  readonly inputs: readonly Input[];
  readonly attributes: OpAttributes[K];
}

const of = (...shape: number[]): Input => ({ shape });
const within = (low: number, high: number, ...shape: number[]): Input => ({ shape, range: [low, high] });
/** Numbers no two of which are closer than the step of the central differences, so that maxima have no near ties. */
const apart = (...shape: number[]): Input => ({ shape, values: (index) => ((index * 7919) % 1009) / 500 - 1 });
/** Maps of 4x4 whose tiles have one, two, three and four maxima of 0.5. */
const tied = (...shape: number[]): Input => ({
  shape,
  values: (index) => {
    const [row, column] = [Math.floor(index / 4) % 4, index % 4];
    const tile = Math.floor(index / 16) + Math.floor(row / 2) * 2 + Math.floor(column / 2);
    return (row % 2) * 2 + (column % 2) <= tile % 4 ? 0.5 : -((index % 7) / 7);
  },
});
/** What relu6 gives: numbers inside, and both ends. */
const gated = (...shape: number[]): Input => ({ shape, values: (index) => [0, 6, 1e-3, 3, 5.999, 0.5, 4][(index * 5) % 7] as number });
/** Pictures of one colour in places, so that windows that overlap have one to nine maxima. */
const flat = (...shape: number[]): Input => ({
  shape,
  values: (index) => [0.5, 0.5, -0.25, 0.5, 0.125, 0.5, 0.5, -1, 0.5][(index * 11) % 9] as number,
});
const pooledFrom = (...shape: number[]): Input => ({ shape, values: () => 0.5 });

/** At least one case an op: the type asks for it. 8 and 16 channels are whole blocks, 3, 5 and 12 are not. */
const CASES: { readonly [K in OpName]: readonly Case<K>[] } = {
  add: [
    { inputs: [of(2, 3), of(2, 3)], attributes: {} },
    { inputs: [of(2, 3, 4), of(3, 1)], attributes: {} },
    { inputs: [of(4), of()], attributes: {} },
  ],
  subtract: [{ inputs: [of(2, 3), of(1, 3)], attributes: {} }],
  multiply: [
    { inputs: [of(4, 3, 2, 2), of(4, 1, 1, 1)], attributes: {} },
    { inputs: [of(2, 8, 4, 4), of(2, 8, 4, 4)], attributes: {} },
  ],
  divide: [{ inputs: [of(2, 3), within(0.5, 2, 2, 1)], attributes: {} }],
  squareRoot: [{ inputs: [within(0.5, 3, 7)], attributes: {} }],
  signOf: [{ inputs: [{ shape: [4], values: (index) => [-2, 0, 3, -0.5][index] as number }], attributes: {} }],
  relu: [
    { inputs: [apart(3, 4)], attributes: {} },
    { inputs: [apart(2, 16, 4, 4)], attributes: {} },
  ],
  relu6: [
    { inputs: [within(-3, 9, 3, 5)], attributes: {} },
    { inputs: [within(-3, 9, 2, 16, 4, 4)], attributes: {} },
  ],
  positiveGate: [
    { inputs: [of(3, 4), apart(3, 4)], attributes: {} },
    { inputs: [of(2, 16, 4, 4), apart(2, 16, 4, 4)], attributes: {} },
  ],
  relu6Gate: [
    { inputs: [of(3, 5), gated(3, 5)], attributes: {} },
    { inputs: [of(2, 16, 3, 5), gated(2, 16, 3, 5)], attributes: {} },
    { inputs: [of(2, 5, 3, 5), gated(2, 5, 3, 5)], attributes: {} },
  ],
  reshape: [{ inputs: [of(2, 6)], attributes: { shape: [3, 4] } }],
  sumTo: [
    { inputs: [of(2, 3, 4)], attributes: { shape: [3, 1] } },
    { inputs: [of(2, 3)], attributes: { shape: [] } },
  ],
  broadcastTo: [{ inputs: [of(3, 1)], attributes: { shape: [2, 3, 4] } }],
  matmul: [
    { inputs: [of(3, 4), of(4, 5)], attributes: {} },
    { inputs: [of(4, 3), of(4, 5)], attributes: { transposeA: true } },
    { inputs: [of(3, 4), of(5, 4)], attributes: { transposeB: true } },
    { inputs: [of(4, 3), of(5, 4)], attributes: { transposeA: true, transposeB: true } },
  ],
  conv2d: [
    { inputs: [of(2, 3, 6, 6), of(16, 3, 3, 3), of(16)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    { inputs: [of(2, 16, 6, 4), of(32, 16, 3, 3)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    { inputs: [of(1, 16, 5, 7), of(16, 16, 3, 3), of(16)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [of(1, 16, 6, 6), of(16, 16, 3, 3)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [of(2, 16, 4, 4), of(16, 16, 1, 1)], attributes: { kernel: 1, stride: 1, padding: 0 } },
    { inputs: [of(2, 5, 5, 4), of(12, 5, 3, 3), of(12)], attributes: { kernel: 3, stride: 1, padding: 0 } },
    // One row and column of zeros below and to the right only, as TensorFlow's SAME pads at stride 2.
    { inputs: [of(2, 3, 6, 8), of(16, 3, 3, 3), of(16)], attributes: { kernel: 3, stride: 2, padding: 0, paddingAfter: 1 } },
    { inputs: [of(1, 16, 6, 8), of(16, 16, 3, 3)], attributes: { kernel: 3, stride: 2, padding: 0, paddingAfter: 1 } },
    { inputs: [of(1, 16, 5, 4), of(16, 16, 3, 3)], attributes: { kernel: 3, stride: 1, padding: 0, paddingAfter: 1 } },
    // The first layer of residual networks, and their shortcuts.
    { inputs: [of(1, 3, 11, 10), of(16, 3, 7, 7)], attributes: { kernel: 7, stride: 2, padding: 3 } },
    { inputs: [of(1, 16, 9, 8), of(16, 16, 7, 7)], attributes: { kernel: 7, stride: 2, padding: 3 } },
    { inputs: [of(2, 16, 6, 4), of(32, 16, 1, 1)], attributes: { kernel: 1, stride: 2, padding: 0 } },
    // With an activation.
    {
      inputs: [within(-3, 3, 2, 16, 3, 4), of(16, 16, 1, 1), within(0, 6, 16)],
      attributes: { kernel: 1, stride: 1, padding: 0, activation: "relu6" },
    },
    { inputs: [of(2, 3, 6, 4), of(16, 3, 3, 3), of(16)], attributes: { kernel: 3, stride: 2, padding: 1, activation: "relu" } },
    {
      inputs: [within(-3, 3, 2, 5, 3, 4), of(12, 5, 1, 1), within(0, 6, 12)],
      attributes: { kernel: 1, stride: 1, padding: 0, activation: "relu6" },
    },
    { inputs: [of(1, 64, 4, 4), of(64, 64, 3, 3)], attributes: { kernel: 3, stride: 1, padding: 1, activation: "relu6" } },
    // From 64 channels on by Winograd's tiles, here two down, of which the second is cut, and one across.
    { inputs: [of(1, 64, 5, 4), of(64, 64, 3, 3), of(64)], attributes: { kernel: 3, stride: 1, padding: 1 } },
  ],
  depthwiseInputGrad: [
    // Odd and even sides at stride 2; the last row and column are never read, or zeros follow them.
    { inputs: [of(2, 16, 3, 4), of(16, 1, 3, 3)], attributes: { kernel: 3, stride: 2, padding: 1, inputShape: [2, 16, 5, 8] } },
    {
      inputs: [of(2, 16, 3, 3), of(16, 1, 5, 5)],
      attributes: { kernel: 5, stride: 2, padding: 1, paddingAfter: 2, inputShape: [2, 16, 6, 7] },
    },
    {
      inputs: [of(2, 6, 3, 4), of(6, 1, 3, 3)],
      attributes: { kernel: 3, stride: 2, padding: 0, paddingAfter: 1, inputShape: [2, 6, 6, 8] },
    },
  ],
  depthwiseWeightGrad: [
    { inputs: [of(3, 16, 7, 6), of(3, 16, 4, 3)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [of(3, 32, 6, 8), of(3, 32, 3, 4)], attributes: { kernel: 5, stride: 2, padding: 1, paddingAfter: 2 } },
    { inputs: [of(2, 16, 4, 4), of(2, 16, 2, 2)], attributes: { kernel: 1, stride: 2, padding: 0 } },
    { inputs: [of(3, 6, 5, 8), of(3, 6, 3, 4)], attributes: { kernel: 3, stride: 2, padding: 1, paddingAfter: 1 } },
  ],
  depthwiseConv2d: [
    { inputs: [of(2, 16, 6, 5), of(16, 1, 3, 3), of(16)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    { inputs: [of(2, 16, 8, 6), of(16, 1, 3, 3), of(16)], attributes: { kernel: 3, stride: 2, padding: 0, paddingAfter: 1 } },
    { inputs: [of(1, 32, 6, 6), of(32, 1, 5, 5)], attributes: { kernel: 5, stride: 1, padding: 2 } },
    { inputs: [of(2, 16, 8, 8), of(16, 1, 5, 5), of(16)], attributes: { kernel: 5, stride: 2, padding: 1, paddingAfter: 2 } },
    { inputs: [of(2, 5, 7, 6), of(5, 1, 3, 3), of(5)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [of(1, 16, 6, 6), of(16, 1, 3, 3)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    // With an activation: three in five of the numbers between its ends, the rest beyond.
    {
      inputs: [within(-3, 9, 1, 16, 4, 5), of(16, 1, 3, 3), within(0, 6, 16)],
      attributes: { kernel: 3, stride: 1, padding: 1, activation: "relu6" },
    },
    {
      inputs: [within(-3, 9, 1, 5, 4, 5), of(5, 1, 3, 3), within(0, 6, 5)],
      attributes: { kernel: 3, stride: 1, padding: 1, activation: "relu6" },
    },
  ],
  pointwiseConv2d: [
    // Whole blocks; channels that zeros fill up to whole blocks; channels too few for that.
    { inputs: [of(2, 16, 4, 4), of(32, 16, 1, 1), of(32)], attributes: {} },
    { inputs: [within(-3, 3, 4, 24, 3, 4), of(40, 24, 1, 1), within(0, 6, 40)], attributes: { activation: "relu6" } },
    { inputs: [of(16, 40, 3, 3), of(16, 40, 1, 1)], attributes: {} },
    { inputs: [of(4, 16, 4, 4), of(20, 16, 1, 1), of(20)], attributes: {} },
    { inputs: [within(-3, 3, 2, 5, 3, 4), of(12, 5, 1, 1), of(12)], attributes: { activation: "relu" } },
    { inputs: [of(2, 18, 3, 4), of(16, 18, 1, 1), of(16)], attributes: {} },
  ],
  pointwiseInputGrad: [{ inputs: [of(3, 24, 3, 5), of(24, 40, 1, 1)], attributes: {} }],
  pointwiseWeightGrad: [
    // Pictures of whole blocks of pixels; several side by side that fill a block; and too few for that.
    { inputs: [of(2, 24, 4, 8), of(2, 40, 4, 8)], attributes: {} },
    { inputs: [of(8, 32, 6, 6), of(8, 24, 6, 6)], attributes: {} },
    { inputs: [of(32, 24, 5, 5), of(32, 16, 5, 5)], attributes: {} },
    { inputs: [of(3, 16, 5, 5), of(3, 16, 5, 5)], attributes: {} },
    // Pictures whose pixels are worked on in parts.
    { inputs: [of(2, 16, 80, 80), of(2, 96, 80, 80)], attributes: {} },
    { inputs: [of(4, 16, 102, 102), of(4, 32, 102, 102)], attributes: {} },
  ],
  conv2dInputGrad: [
    { inputs: [of(2, 16, 3, 3), of(16, 16, 3, 3)], attributes: { kernel: 3, stride: 2, padding: 1, inputShape: [2, 16, 5, 6] } },
    // Shortcuts of residual networks; more zeros below and to the right; a stride of three; taps beyond the first pixels that dy does not have.
    { inputs: [of(2, 32, 3, 2), of(32, 16, 1, 1)], attributes: { kernel: 1, stride: 2, padding: 0, inputShape: [2, 16, 6, 4] } },
    {
      inputs: [of(2, 16, 3, 4), of(16, 32, 5, 5)],
      attributes: { kernel: 5, stride: 2, padding: 1, paddingAfter: 2, inputShape: [2, 32, 6, 8] },
    },
    { inputs: [of(1, 16, 3, 2), of(16, 16, 4, 4)], attributes: { kernel: 4, stride: 3, padding: 1, inputShape: [1, 16, 8, 7] } },
    { inputs: [of(1, 16, 4, 4), of(16, 16, 1, 1)], attributes: { kernel: 1, stride: 2, padding: 1, inputShape: [1, 16, 5, 6] } },
    { inputs: [of(3, 128, 9, 6), of(128, 64, 3, 3)], attributes: { kernel: 3, stride: 1, padding: 1, inputShape: [3, 64, 9, 6] } },
  ],
  conv2dWeightGrad: [
    // Rows of whole blocks; then the rows of two, four and sixteen pictures side by side fill blocks.
    { inputs: [of(2, 16, 3, 16), of(2, 32, 3, 16)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    { inputs: [of(2, 16, 9, 15), of(2, 16, 5, 8)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [of(8, 32, 12, 12), of(8, 16, 12, 12)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    { inputs: [of(16, 16, 5, 5), of(16, 32, 5, 5)], attributes: { kernel: 1, stride: 1, padding: 0 } },
    // Too few pictures for that; and a first layer whose maps are worked on in bands.
    { inputs: [of(2, 16, 5, 5), of(2, 16, 5, 5)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    { inputs: [of(2, 3, 72, 72), of(2, 32, 72, 72)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    // By Winograd's tiles: whole ones, and cut ones.
    { inputs: [of(3, 64, 8, 12), of(3, 128, 8, 12)], attributes: { kernel: 3, stride: 1, padding: 1 } },
    { inputs: [of(3, 128, 3, 5), of(3, 64, 3, 5)], attributes: { kernel: 3, stride: 1, padding: 1 } },
  ],
  maxPool: [
    { inputs: [apart(2, 16, 6, 8)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [apart(1, 3, 7, 5)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [apart(1, 16, 7, 6)], attributes: { kernel: 3, stride: 2, padding: 0 } },
    { inputs: [apart(1, 16, 5, 4)], attributes: { kernel: 2, stride: 1, padding: 0, paddingAfter: 1 } },
  ],
  maxPoolGrad: [
    { inputs: [flat(2, 16, 6, 6), pooledFrom(2, 16, 3, 3), of(2, 16, 3, 3)], attributes: { kernel: 3, stride: 2, padding: 1 } },
    { inputs: [flat(1, 3, 7, 7), pooledFrom(1, 3, 3, 3), of(1, 3, 3, 3)], attributes: { kernel: 3, stride: 2, padding: 0 } },
  ],
  maxPool2: [
    { inputs: [apart(2, 16, 4, 6)], attributes: {} },
    { inputs: [apart(1, 3, 4, 4)], attributes: {} },
  ],
  maxPool2Grad: [
    { inputs: [tied(1, 16, 4, 4), pooledFrom(1, 16, 2, 2), of(1, 16, 2, 2)], attributes: {} },
    { inputs: [tied(2, 3, 4, 4), pooledFrom(2, 3, 2, 2), of(2, 3, 2, 2)], attributes: {} },
  ],
  channelSum: [
    { inputs: [of(3, 16, 4, 2)], attributes: {} },
    { inputs: [of(3, 5, 2, 2)], attributes: {} },
  ],
  spatialMean: [
    { inputs: [of(3, 16, 4, 2)], attributes: {} },
    { inputs: [of(3, 5, 3, 3)], attributes: {} },
  ],
  spatialMeanGrad: [{ inputs: [of(2, 16)], attributes: { shape: [2, 16, 3, 5] } }],
  affine: [
    { inputs: [of(2, 16, 3, 3), of(16), of(16)], attributes: {} },
    { inputs: [of(2, 5, 3, 3), of(5), of(5)], attributes: {} },
  ],
  batchNorm: [
    { inputs: [apart(3, 16, 4, 4), within(-1.5, 1.5, 16), of(16)], attributes: { epsilon: 1e-3, activation: "none" } },
    { inputs: [apart(3, 16, 3, 5), within(-1.5, 1.5, 16), of(16), of(3, 16, 3, 5)], attributes: { epsilon: 1e-3, activation: "relu" } },
    { inputs: [apart(3, 6, 4, 3), within(-1.5, 1.5, 6), of(6), of(3, 6, 4, 3)], attributes: { epsilon: 1e-3, activation: "relu" } },
    // Numbers on both sides of 0 and of 6; then the sum of a shortcut and what is behind it, without an activation.
    { inputs: [apart(3, 16, 4, 4), within(1, 3, 16), within(0, 6, 16)], attributes: { epsilon: 1e-3, activation: "relu6" } },
    { inputs: [apart(3, 6, 4, 3), within(1, 3, 6), within(0, 6, 6)], attributes: { epsilon: 1e-3, activation: "relu6" } },
    { inputs: [apart(3, 16, 3, 5), within(-1.5, 1.5, 16), of(16), of(3, 16, 3, 5)], attributes: { epsilon: 1e-3, activation: "none" } },
  ],
  batchNormGrad: [
    { inputs: [of(2, 16, 3, 3), of(16), of(2, 16, 3, 3), of(16), within(0.5, 2, 16), of(2, 16, 3, 3)], attributes: { activation: "relu" } },
    { inputs: [of(2, 5, 3, 3), of(5), of(2, 5, 3, 3), of(5), within(0.5, 2, 5), of(2, 5, 3, 3)], attributes: { activation: "none" } },
    {
      inputs: [of(2, 16, 3, 3), of(16), gated(2, 16, 3, 3), of(16), within(0.5, 2, 16), of(2, 16, 3, 3)],
      attributes: { activation: "relu6" },
    },
  ],
  batchNormReluMaxPool: [
    { inputs: [apart(3, 16, 4, 4), within(0.5, 1.5, 16), of(16)], attributes: { epsilon: 1e-3 } },
    { inputs: [apart(3, 6, 4, 6), within(0.5, 1.5, 6), of(6)], attributes: { epsilon: 1e-3 } },
  ],
  batchNormReluMaxPoolGrad: [
    {
      inputs: [
        tied(2, 16, 4, 4),
        within(0.5, 1.5, 16),
        apart(2, 16, 2, 2),
        of(16),
        pooledFrom(2, 16, 2, 2),
        within(0.5, 2, 16),
        of(2, 16, 2, 2),
      ],
      attributes: {},
    },
  ],
  softmax: [{ inputs: [of(3, 5)], attributes: {} }],
  softmaxCrossEntropy: [
    {
      inputs: [of(4, 3), { shape: [4, 3], values: (index) => [0.25, 0.5, 0.25][(index + Math.floor(index / 3)) % 3] as number }],
      attributes: {},
    },
  ],
  normalizeImages: [
    {
      inputs: [{ shape: [2, 4, 3, 3], uint8: true, values: (index) => (index * 37) % 256 }],
      attributes: { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] },
    },
  ],
};

/** A graph of one op whose loss weighs every element of its first output differently; its gradients are outputs too. */
function buildCase<K extends OpName>(
  op: K,
  { inputs, attributes }: Case<K>,
): { graph: Graph; feeds: Record<string, Float64Array>; parameters: string[] } {
  const graph = new Graph();
  const feeds: Record<string, Float64Array> = {};
  const values = inputs.map(({ shape, range, uint8, values: valueAt }, index) => {
    const count = shape.reduce((product, size) => product * size, 1);
    const data = valueAt
      ? Float64Array.from({ length: count }, (_, k) => valueAt(k))
      : randomArray(count, index + 1, range?.[0] ?? -1, range?.[1] ?? 1);
    // Both sides must see the same numbers: those that float32 can hold.
    feeds[`in${index}`] = Float64Array.from(data, Math.fround);
    return graph.input(`in${index}`, shape, { dtype: uint8 ? "uint8" : "float32", parameter: true });
  });
  const outputs = graph.applyAll(op, values, attributes);
  outputs.forEach((output, index) => graph.output(`out${index}`, output));
  const parameters: string[] = [];
  if (typeof OPS[op].gradient === "function") {
    const first = outputs[0] as Value;
    const weights = graph.constant(
      Float32Array.from(
        randomArray(
          first.shape.reduce((product, size) => product * size, 1),
          99,
        ),
      ),
      first.shape,
    );
    const loss = graph.apply("sumTo", [graph.multiply(first, weights)], { shape: [] });
    graph.output("loss", loss);
    // A target distribution has no gradient; every other input has one.
    const wanted = values.map((_, index) => index).filter((index) => !(op === "softmaxCrossEntropy" && index === 1));
    differentiate(
      graph,
      loss,
      wanted.map((index) => values[index] as Value),
    ).forEach((gradient, k) => {
      parameters.push(`in${wanted[k]}`);
      graph.output(`grad:in${wanted[k]}`, gradient);
    });
  }
  return { graph, feeds, parameters };
}

async function runLowered(graph: Graph, feeds: Record<string, Float64Array>, blockSize: number): Promise<Record<string, Tensor>> {
  const session = await onnxruntime.createSession(encodeModel(lowerGraph(graph, { blockSize, name: "case" })), { threads: 1 });
  const tensors: Record<string, Tensor> = {};
  for (const [name, value] of graph.inputs) {
    const data = value.dtype === "uint8" ? Uint8Array.from(feeds[name] as Float64Array) : Float32Array.from(feeds[name] as Float64Array);
    tensors[name] = { dtype: value.dtype, shape: value.shape, data };
  }
  const results = await session.run(tensors);
  await session.close();
  return results;
}

function largestDifference(actual: ArrayLike<number | bigint>, expected: Float64Array): number {
  const scale = Math.max(1, ...expected.map(Math.abs));
  return expected.reduce((worst, value, k) => Math.max(worst, Math.abs(value - Number(actual[k])) / scale), 0);
}

const blockSize = await onnxruntime.probeBlockSize();
const cases: { op: OpName; title: string; one: Case<OpName> }[] = Object.entries(CASES).flatMap(([op, list]) =>
  list.map((one, index) => ({ op: op as OpName, title: `${op} #${index}`, one: one as Case<OpName> })),
);

describe("each op", () => {
  const differentiable = cases.filter(({ op }) => typeof OPS[op].gradient === "function");
  test.each(differentiable)("$title: its gradient agrees with central differences in float64", ({ op, one }) => {
    const { graph, feeds, parameters } = buildCase(op, one);
    const results = evaluateGraph(graph, feeds);
    const step = 1e-5;
    for (const name of parameters) {
      const data = feeds[name] as Float64Array;
      const analytic = results[`grad:${name}`]?.data as Float64Array;
      // Every element of small inputs, a spread of elements of large ones.
      const stride = Math.max(1, Math.floor(data.length / 24));
      for (let k = 0; k < data.length; k += stride) {
        const original = data[k] as number;
        data[k] = original + step;
        const above = evaluateGraph(graph, feeds)["loss"]?.data[0] as number;
        data[k] = original - step;
        const below = evaluateGraph(graph, feeds)["loss"]?.data[0] as number;
        data[k] = original;
        expect(Math.abs((above - below) / (2 * step) - (analytic[k] as number)), `${name}[${k}]`).toBeLessThan(1e-6);
      }
    }
  });

  test.each(["maxPool2", "batchNormReluMaxPool"] as const)(
    "%s after a convolution: on a picture of one colour all four of a tile move together",
    (pool) => {
      const graph = new Graph();
      const [x, weight] = [graph.input("x", [2, 3, 8, 8]), graph.input("weight", [2, 3, 3, 3], { parameter: true })];
      const vectors = ["gamma", "beta"].map((name) => graph.input(name, [2], { parameter: true }));
      const maps = graph.apply("conv2d", [x, weight], { kernel: 3, stride: 1, padding: 1 });
      const [pooled] = pool === "maxPool2" ? graph.applyAll(pool, [maps], {}) : graph.applyAll(pool, [maps, ...vectors], { epsilon: 1e-3 });
      const factors = graph.constant(Float32Array.from(randomArray(64, 5)), [2, 2, 4, 4]);
      const loss = graph.apply("sumTo", [graph.multiply(pooled as Value, factors)], { shape: [] });
      const [gradient] = differentiate(graph, loss, [weight]);
      graph.output("loss", loss);
      graph.output("gradient", gradient as Value);
      // The upper quarter is a picture, the rest one colour.
      const data = randomArray(384, 1).map((value, k) => (k % 64 < 16 ? value : 0.25));
      const feeds = { x: data, weight: randomArray(54, 2), gamma: Float64Array.of(1, 0.5), beta: Float64Array.of(0.2, 0.1) };
      const lossAt = (): number => evaluateGraph(graph, feeds)["loss"]?.data[0] as number;
      const analytic = evaluateGraph(graph, feeds)["gradient"]?.data as Float64Array;
      for (let k = 0; k < feeds.weight.length; k += 5) {
        const original = feeds.weight[k] as number;
        feeds.weight[k] = original + 1e-6;
        const above = lossAt();
        feeds.weight[k] = original - 1e-6;
        const numeric = (above - lossAt()) / 2e-6;
        feeds.weight[k] = original;
        expect(Math.abs(numeric - (analytic[k] as number)), `weight[${k}]`).toBeLessThan(1e-5);
      }
    },
  );

  const lowerings = [
    { name: "portable", block: 0 },
    { name: "blocked", block: blockSize },
  ].filter(({ name, block }) => name === "portable" || block > 0);
  describe.each(lowerings)("lowered $name", ({ block }) => {
    test.each(cases)("$title: onnxruntime computes what the reference defines, gradients included", async ({ op, one }) => {
      const { graph, feeds } = buildCase(op, one);
      const expected = evaluateGraph(graph, feeds);
      const actual = await runLowered(graph, feeds, block);
      for (const name of graph.outputs.keys()) {
        expect([...(actual[name] as Tensor).shape], name).toEqual([...(expected[name]?.shape ?? [])]);
        expect(largestDifference((actual[name] as Tensor).data, expected[name]?.data as Float64Array), name).toBeLessThan(2e-5);
      }
    });
  });
});
