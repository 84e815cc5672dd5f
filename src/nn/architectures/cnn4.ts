import type { Graph } from "../graph.ts";
import { heNormal, weightOf, type Network } from "../network.ts";
import type { Value } from "../ops/op-spec.ts";
import type { Architecture, ArchitectureOptions } from "./architecture.ts";

const epsilon = 1e-5;
/** Share of the batch's statistics in the running ones after a step, as PyTorch's default. */
const statisticsMomentum = 0.1;
const conv = { kernel: 3, stride: 1, padding: 1 } as const;

/**
 * conv 3x3 -> batchnorm -> relu -> maxpool 2x2. Parameters keep PyTorch's names and layouts.
 *
 * The sign of gamma moves into the convolution's weights, so that batchNormReluMaxPool gets gamma >= 0; the running
 * mean is subtracted in the convolution's bias, which keeps the variance's E[x^2] - E[x]^2 exact and costs nothing.
 */
function trainingBlock(network: Network, x: Value, layer: number, channels: number): Value {
  const { graph } = network;
  const inputs = x.shape[1] as number;
  const weight = network.parameter(`convs.${layer}.weight`, [channels, inputs, 3, 3], heNormal(inputs * 9), { decay: true });
  const gamma = network.parameter(`bns.${layer}.weight`, [channels], { constant: 1 }, { decay: false });
  const beta = network.parameter(`bns.${layer}.bias`, [channels], { constant: 0 }, { decay: false });
  const runningMean = network.statistic(`bns.${layer}.running_mean`, [channels], { constant: 0 });
  const runningVariance = network.statistic(`bns.${layer}.running_var`, [channels], { constant: 1 });

  const sign = graph.apply("signOf", [gamma], {});
  const signedWeight = graph.multiply(weight, graph.reshape(sign, [channels, 1, 1, 1]));
  const shift = graph.scale(graph.multiply(sign, runningMean.value), -1);
  const maps = graph.apply("conv2d", [x, signedWeight, shift], conv);
  const [y, mean, variance] = graph.applyAll("batchNormReluMaxPool", [maps, graph.multiply(gamma, sign), beta], { epsilon }) as [
    Value,
    Value,
    Value,
  ];

  const [n, , h, w] = maps.shape as [number, number, number, number];
  const count = n * h * w;
  const unbiased = graph.scale(variance, (statisticsMomentum * count) / Math.max(1, count - 1));
  runningMean.update(graph.add(runningMean.value, graph.scale(graph.multiply(sign, mean), statisticsMomentum)));
  runningVariance.update(graph.add(graph.scale(runningVariance.value, 1 - statisticsMomentum), unbiased));
  return y;
}

/** The same block with batch normalisation folded into the convolution. */
function inferenceBlock(graph: Graph, x: Value, weights: Readonly<Record<string, Float32Array>>, layer: number, channels: number): Value {
  const inputs = x.shape[1] as number;
  const read = (name: string, count: number): Float32Array => weightOf(weights, name, count);
  const weight = read(`convs.${layer}.weight`, channels * inputs * 9);
  const gamma = read(`bns.${layer}.weight`, channels);
  const beta = read(`bns.${layer}.bias`, channels);
  const mean = read(`bns.${layer}.running_mean`, channels);
  const variance = read(`bns.${layer}.running_var`, channels);
  const slope = gamma.map((value, c) => value / Math.sqrt((variance[c] as number) + epsilon));
  const folded = weight.map((value, k) => value * (slope[Math.floor(k / (inputs * 9))] as number));
  const bias = beta.map((value, c) => value - (mean[c] as number) * (slope[c] as number));
  const maps = graph.apply("conv2d", [x, graph.constant(folded, [channels, inputs, 3, 3]), graph.constant(bias)], conv);
  return graph.apply("maxPool2", [graph.apply("relu", [maps], {})], {});
}

function linear(graph: Graph, x: Value, weight: Value, bias: Value): Value {
  return graph.add(graph.apply("matmul", [x, weight], { transposeB: true }), bias);
}

/** The baseline of the mission: four such blocks, global average pooling and a linear classifier. */
export const cnn4: Architecture = {
  name: "cnn4",
  sizeMultiple: ({ channels }) => 2 ** channels.length,
  train(network, pictures, { channels, classes, dropout }) {
    const { graph } = network;
    let maps = pictures;
    channels.forEach((count, layer) => (maps = trainingBlock(network, maps, layer, count)));
    const embedding = graph.apply("spatialMean", [maps], {});
    const width = embedding.shape[1] as number;
    const dropoutMask = dropout ? graph.input("dropoutMask", embedding.shape) : null;
    const weight = network.parameter("fc.weight", [classes, width], { std: 1 / Math.sqrt(3 * width) }, { decay: true });
    const bias = network.parameter("fc.bias", [classes], { constant: 0 }, { decay: false });
    const kept = dropoutMask ? graph.multiply(embedding, dropoutMask) : embedding;
    return { logits: linear(graph, kept, weight, bias), dropoutMask };
  },
  infer(graph: Graph, pictures: Value, weights: Readonly<Record<string, Float32Array>>, { channels, classes }: ArchitectureOptions) {
    let maps = pictures;
    channels.forEach((count, layer) => (maps = inferenceBlock(graph, maps, weights, layer, count)));
    const embedding = graph.apply("spatialMean", [maps], {});
    const width = embedding.shape[1] as number;
    const weight = graph.constant(weightOf(weights, "fc.weight", classes * width), [classes, width]);
    const bias = graph.constant(weightOf(weights, "fc.bias", classes));
    return { features: maps, logits: linear(graph, embedding, weight, bias) };
  },
};
