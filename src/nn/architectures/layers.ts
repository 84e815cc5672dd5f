import { elementCount, type Map4 } from "../../onnx/builder.ts";
import type { Activation, ConvAttributes } from "../../onnx/lowering.ts";
import type { Graph } from "../graph.ts";
import { heNormal, weightOf, type Network } from "../network.ts";
import type { Value } from "../ops/op-spec.ts";
import type { Embed } from "./architecture.ts";

/** Added to variances, as by PyTorch unless told otherwise. */
const usualEpsilon = 1e-5;
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
  /** Whether each channel has its own kernel; default false. */
  readonly depthwise?: boolean;
  /** Whether the geometry, of one pixel, is to be applied as pointwiseConv2d; default false. */
  readonly pointwise?: boolean;
  /** `relu+maxpool` halves the maps. */
  readonly after: "nothing" | "relu" | "relu6" | "relu+maxpool";
  /** First value of gamma; default 1. */
  readonly gamma?: number;
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number;
}

export const conv3x3: ConvAttributes = { kernel: 3, stride: 1, padding: 1 };
export const conv3x3Half: ConvAttributes = { kernel: 3, stride: 2, padding: 1 };
export const conv1x1: ConvAttributes = { kernel: 1, stride: 1, padding: 0 };

/** Shape of a layer's weight on maps of `inputs` channels. */
export function weightShape({ channels, geometry: { kernel }, depthwise = false }: ConvNorm, inputs: number): number[] {
  return [channels, depthwise ? 1 : inputs, kernel, kernel];
}

function activationOf({ after }: ConvNorm): Activation {
  if (after === "nothing") return "none";
  return after === "relu6" ? "relu6" : "relu";
}

interface Norm {
  readonly gamma: Value;
  readonly beta: Value;
  readonly mean: ReturnType<Network["statistic"]>;
  readonly variance: ReturnType<Network["statistic"]>;
}

/** The layer with weights that learn; `addend` is added before the activation. */
export function trainConvNorm(network: Network, x: Value, layer: ConvNorm, addend?: Value): Value {
  const { conv, norm, channels } = layer;
  const shape = weightShape(layer, x.shape[1] as number);
  const weight = network.parameter(`${conv}.weight`, shape, heNormal(elementCount(shape.slice(1))), { decay: true });
  const gamma = network.parameter(`${norm}.weight`, [channels], { constant: layer.gamma ?? 1 }, { decay: false });
  const beta = network.parameter(`${norm}.bias`, [channels], { constant: 0 }, { decay: false });
  const mean = network.statistic(`${norm}.running_mean`, [channels], { constant: 0 });
  const variance = network.statistic(`${norm}.running_var`, [channels], { constant: 1 });
  const apply = network.frozenStatistics ? withRunningStatistics : withBatchStatistics;
  return apply(network.graph, x, weight, { gamma, beta, mean, variance }, layer, addend);
}

/**
 * The running mean is subtracted in the convolution's bias, which keeps the variance's E[x^2] - E[x]^2 exact and costs nothing. Before a
 * maxpool the sign of gamma moves into the convolution's weights, so that batchNormReluMaxPool gets gamma >= 0.
 */
function withBatchStatistics(graph: Graph, x: Value, weight: Value, norm: Norm, layer: ConvNorm, addend?: Value): Value {
  const { gamma, beta } = norm;
  const { channels, epsilon = usualEpsilon } = layer;
  const pools = layer.after === "relu+maxpool";
  const sign = pools ? graph.apply("signOf", [gamma], {}) : undefined;
  const signed = (value: Value): Value => (sign ? graph.multiply(value, sign) : value);
  const filter = sign ? graph.multiply(weight, graph.reshape(sign, [channels, 1, 1, 1])) : weight;
  const maps = convolve(graph, [x, filter, graph.scale(signed(norm.mean.value), -1)], layer, "none");
  const [y, mean, variance] = (
    pools
      ? graph.applyAll("batchNormReluMaxPool", [maps, signed(gamma), beta], { epsilon })
      : graph.applyAll("batchNorm", addend ? [maps, gamma, beta, addend] : [maps, gamma, beta], {
          epsilon,
          activation: activationOf(layer),
        })
  ) as [Value, Value, Value];

  const [n, , h, w] = maps.shape as Map4;
  const count = n * h * w;
  const unbiased = graph.scale(variance, (statisticsMomentum * count) / Math.max(1, count - 1));
  norm.mean.update(graph.add(norm.mean.value, graph.scale(signed(mean), statisticsMomentum)));
  norm.variance.update(graph.add(graph.scale(norm.variance.value, 1 - statisticsMomentum), unbiased));
  return y;
}

/**
 * With statistics that stay as they are, a normalisation is a factor of the weights and a bias. So the convolution does it all, and the
 * gradient of gamma is a sum over the weights instead of one over the maps.
 */
function withRunningStatistics(graph: Graph, x: Value, weight: Value, norm: Norm, layer: ConvNorm, addend?: Value): Value {
  const { mean, variance, gamma, beta } = norm;
  mean.update(mean.value);
  variance.update(variance.value);
  const deviation = graph.apply("squareRoot", [graph.add(variance.value, graph.scalar(layer.epsilon ?? usualEpsilon))], {});
  const slope = graph.divide(gamma, deviation);
  const filter = graph.multiply(weight, graph.reshape(slope, [layer.channels, 1, 1, 1]));
  const inputs = [x, filter, graph.subtract(beta, graph.multiply(mean.value, slope))];
  if (!addend) return pooled(graph, convolve(graph, inputs, layer, activationOf(layer)), layer);
  return pooled(graph, activate(graph, graph.add(convolve(graph, inputs, layer, "none"), addend), layer), layer);
}

function convolve(graph: Graph, inputs: readonly Value[], { geometry, depthwise, pointwise }: ConvNorm, activation: Activation): Value {
  const behind = activation === "none" ? {} : { activation };
  if (pointwise) return graph.apply("pointwiseConv2d", inputs, behind);
  return graph.apply(depthwise ? "depthwiseConv2d" : "conv2d", inputs, { ...geometry, ...behind });
}

function activate(graph: Graph, x: Value, layer: ConvNorm): Value {
  const activation = activationOf(layer);
  return activation === "none" ? x : graph.apply(activation, [x], {});
}

function pooled(graph: Graph, x: Value, { after }: ConvNorm): Value {
  return after === "relu+maxpool" ? graph.apply("maxPool2", [x], {}) : x;
}

/** A normalisation with fixed statistics, as what it does to a channel: slope * x + bias, [C] each. Throws E_WEIGHTS. */
function normAsAffine(
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
  const { conv, norm, channels, epsilon = usualEpsilon } = layer;
  const shape = weightShape(layer, x.shape[1] as number);
  const fanIn = elementCount(shape.slice(1));
  const weight = weightOf(weights, `${conv}.weight`, channels * fanIn);
  const { slope, bias } = normAsAffine(weights, norm, channels, epsilon);
  const folded = weight.map((value, k) => value * (slope[Math.floor(k / fanIn)] as number));
  const maps = convolve(graph, [x, graph.constant(folded, shape), graph.constant(bias)], layer, "none");
  return pooled(graph, activate(graph, addend ? graph.add(maps, addend) : maps, layer), layer);
}

/**
 * The same, with the product of weight and slope left to the graph, which engines do once, when they load a model: so a file with weights of
 * 16 bits holds them as they were published, without a second rounding.
 */
export function inferPublishedConvNorm(graph: Graph, x: Value, weights: Weights, layer: ConvNorm, addend?: Value): Value {
  const { conv, norm, channels, epsilon = usualEpsilon } = layer;
  const shape = weightShape(layer, x.shape[1] as number);
  const { slope, bias } = normAsAffine(weights, norm, channels, epsilon);
  const weight = graph.constant(weightOf(weights, `${conv}.weight`, elementCount(shape)), shape);
  const filter = graph.multiply(weight, graph.reshape(graph.constant(slope), [channels, 1, 1, 1]));
  const inputs = [x, filter, graph.constant(bias)];
  if (!addend) return pooled(graph, convolve(graph, inputs, layer, activationOf(layer)), layer);
  return pooled(graph, activate(graph, graph.add(convolve(graph, inputs, layer, "none"), addend), layer), layer);
}

function spatialMean(graph: Graph, maps: Value): Value {
  return graph.apply("spatialMean", [maps], {});
}

/** A linear classifier `fc` on the embedding of maps, by default their mean, with dropout between them. */
export function trainClassifier(
  network: Network,
  maps: Value,
  { classes, dropout }: { readonly classes: number; readonly dropout: boolean },
  embed: Embed = spatialMean,
): { logits: Value; dropoutMask: Value | null } {
  const { graph } = network;
  const embedding = embed(graph, maps);
  const width = embedding.shape[1] as number;
  const dropoutMask = dropout ? graph.input("dropoutMask", embedding.shape) : null;
  const weight = network.parameter("fc.weight", [classes, width], { std: 1 / Math.sqrt(3 * width) }, { decay: true, head: true });
  const bias = network.parameter("fc.bias", [classes], { constant: 0 }, { decay: false, head: true });
  const kept = dropoutMask ? graph.multiply(embedding, dropoutMask) : embedding;
  return { logits: linear(graph, kept, weight, bias), dropoutMask };
}

export function inferClassifier(graph: Graph, maps: Value, weights: Weights, classes: number): Value {
  return inferLinear(graph, spatialMean(graph, maps), weights, classes);
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
