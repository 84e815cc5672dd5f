import { elementCount } from "../../onnx/builder.ts";
import type { ConvAttributes } from "../../onnx/lowering.ts";
import type { Graph } from "../graph.ts";
import { heNormal, weightOf, type Network } from "../network.ts";
import type { Value } from "../ops/op-spec.ts";

const epsilon = 1e-5;
/** Share of the batch's statistics in the running ones after a step, as PyTorch's default. */
const statisticsMomentum = 0.1;

export type Weights = Readonly<Record<string, Float32Array>>;

/** A convolution without bias, batch normalisation and what follows. Parameters keep PyTorch's names and layouts. */
export interface ConvNorm {
  /** Name of the convolution and of the normalisation: `conv1` owns `conv1.weight`. */
  readonly conv: string;
  readonly norm: string;
  /** Output channels. */
  readonly channels: number;
  readonly geometry: ConvAttributes;
  /** `relu+maxpool` halves the maps. */
  readonly after: "nothing" | "relu" | "relu+maxpool";
  /** First value of gamma; default 1. */
  readonly gamma?: number;
}

export const conv3x3: ConvAttributes = { kernel: 3, stride: 1, padding: 1 };
export const conv3x3Half: ConvAttributes = { kernel: 3, stride: 2, padding: 1 };
export const conv1x1: ConvAttributes = { kernel: 1, stride: 1, padding: 0 };

/**
 * The layer with batch statistics; `addend` is added before the relu. The running mean is subtracted in the
 * convolution's bias, which keeps the variance's E[x^2] - E[x]^2 exact and costs nothing. Before a maxpool the sign of
 * gamma moves into the convolution's weights, so that batchNormReluMaxPool gets gamma >= 0.
 */
export function trainConvNorm(network: Network, x: Value, layer: ConvNorm, addend?: Value): Value {
  const { graph } = network;
  const { conv, norm, channels, geometry } = layer;
  const inputs = x.shape[1] as number;
  const { kernel } = geometry;
  const weight = network.parameter(`${conv}.weight`, [channels, inputs, kernel, kernel], heNormal(inputs * kernel ** 2), { decay: true });
  const gamma = network.parameter(`${norm}.weight`, [channels], { constant: layer.gamma ?? 1 }, { decay: false });
  const beta = network.parameter(`${norm}.bias`, [channels], { constant: 0 }, { decay: false });
  const runningMean = network.statistic(`${norm}.running_mean`, [channels], { constant: 0 });
  const runningVariance = network.statistic(`${norm}.running_var`, [channels], { constant: 1 });

  const pools = layer.after === "relu+maxpool";
  const sign = pools ? graph.apply("signOf", [gamma], {}) : undefined;
  const signed = (value: Value): Value => (sign ? graph.multiply(value, sign) : value);
  const filter = sign ? graph.multiply(weight, graph.reshape(sign, [channels, 1, 1, 1])) : weight;
  const maps = graph.apply("conv2d", [x, filter, graph.scale(signed(runningMean.value), -1)], geometry);
  const activation = layer.after === "relu" ? "relu" : "none";
  const [y, mean, variance] = (
    pools
      ? graph.applyAll("batchNormReluMaxPool", [maps, signed(gamma), beta], { epsilon })
      : graph.applyAll("batchNorm", addend ? [maps, gamma, beta, addend] : [maps, gamma, beta], { epsilon, activation })
  ) as [Value, Value, Value];

  const [n, , h, w] = maps.shape as [number, number, number, number];
  const count = n * h * w;
  const unbiased = graph.scale(variance, (statisticsMomentum * count) / Math.max(1, count - 1));
  runningMean.update(graph.add(runningMean.value, graph.scale(signed(mean), statisticsMomentum)));
  runningVariance.update(graph.add(graph.scale(runningVariance.value, 1 - statisticsMomentum), unbiased));
  return y;
}

/** A normalisation with fixed statistics, as what it does to a channel: slope * x + bias, [C] each. Throws E_WEIGHTS. */
export function normAsAffine(
  weights: Weights,
  norm: string,
  channels: number,
  epsilon: number,
): { readonly slope: Float32Array; readonly bias: Float32Array } {
  const read = (part: string): Float32Array => weightOf(weights, `${norm}.${part}`, channels);
  const [gamma, beta, mean, variance] = [read("weight"), read("bias"), read("running_mean"), read("running_var")];
  const slope = gamma.map((value, c) => value / Math.sqrt((variance[c] as number) + epsilon));
  return { slope, bias: beta.map((value, c) => value - (mean[c] as number) * (slope[c] as number)) };
}

/** The same layer with its running statistics, folded into the convolution. */
export function inferConvNorm(graph: Graph, x: Value, weights: Weights, layer: ConvNorm, addend?: Value): Value {
  const { conv, norm, channels, geometry } = layer;
  const shape = [channels, x.shape[1] as number, geometry.kernel, geometry.kernel];
  const fanIn = elementCount(shape.slice(1));
  const weight = weightOf(weights, `${conv}.weight`, channels * fanIn);
  const { slope, bias } = normAsAffine(weights, norm, channels, epsilon);
  const folded = weight.map((value, k) => value * (slope[Math.floor(k / fanIn)] as number));
  const maps = graph.apply("conv2d", [x, graph.constant(folded, shape), graph.constant(bias)], geometry);
  const sum = addend ? graph.add(maps, addend) : maps;
  if (layer.after === "nothing") return sum;
  const positive = graph.apply("relu", [sum], {});
  return layer.after === "relu" ? positive : graph.apply("maxPool2", [positive], {});
}

/** Global average pooling and a linear classifier `fc`, with dropout between them. */
export function trainClassifier(
  network: Network,
  maps: Value,
  { classes, dropout }: { readonly classes: number; readonly dropout: boolean },
): { logits: Value; dropoutMask: Value | null } {
  const { graph } = network;
  const embedding = graph.apply("spatialMean", [maps], {});
  const width = embedding.shape[1] as number;
  const dropoutMask = dropout ? graph.input("dropoutMask", embedding.shape) : null;
  const weight = network.parameter("fc.weight", [classes, width], { std: 1 / Math.sqrt(3 * width) }, { decay: true, head: true });
  const bias = network.parameter("fc.bias", [classes], { constant: 0 }, { decay: false, head: true });
  const kept = dropoutMask ? graph.multiply(embedding, dropoutMask) : embedding;
  return { logits: linear(graph, kept, weight, bias), dropoutMask };
}

export function inferClassifier(graph: Graph, maps: Value, weights: Weights, classes: number): Value {
  return inferLinear(graph, graph.apply("spatialMean", [maps], {}), weights, classes);
}

/** The classifier `fc` on an embedding [N,C]: logits [N,classes]. */
export function inferLinear(graph: Graph, embedding: Value, weights: Weights, classes: number): Value {
  const width = embedding.shape[1] as number;
  const weight = graph.constant(weightOf(weights, "fc.weight", classes * width), [classes, width]);
  return linear(graph, embedding, weight, graph.constant(weightOf(weights, "fc.bias", classes)));
}

function linear(graph: Graph, x: Value, weight: Value, bias: Value): Value {
  return graph.add(graph.apply("matmul", [x, weight], { transposeB: true }), bias);
}
