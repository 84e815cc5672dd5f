import type { OnnxModel } from "../onnx/model.ts";
import type { ArchitectureOptions, InferenceNetwork } from "./architectures/architecture.ts";
import { Graph } from "./graph.ts";
import { lowerGraph, type Precision } from "./lower.ts";

export interface InferenceModelOptions extends ArchitectureOptions {
  readonly height: number;
  readonly width: number;
  /** Logits are divided by it before the softmax (Guo et al. 2017, arXiv:1706.04599); 1 changes nothing. */
  readonly temperature: number;
  /** How the file holds the weights; default float32. */
  readonly precision?: Precision;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * The trained network for service, in standard operators: `images` uint8 [N,H,W,3] RGB -> `logits` [N,K] (before the
 * temperature), `probabilities` [N,K] (after it), `features` [N,C,h,w]. Scaling and normalisation are inside.
 */
export function buildInferenceModel(
  network: InferenceNetwork,
  weights: Readonly<Record<string, Float32Array>>,
  options: InferenceModelOptions,
): OnnxModel {
  const graph = new Graph();
  const images = graph.input("images", [1, options.height, options.width, 3], { dtype: "uint8" });
  const pictures = graph.apply("normalizeImages", [images], { mean: network.mean, std: network.std });
  const { logits, features } = network.infer(graph, pictures, weights, options);
  graph.output("logits", logits);
  graph.output("probabilities", graph.apply("softmax", [graph.scale(logits, 1 / options.temperature)], {}));
  graph.output("features", features);
  return lowerGraph(graph, {
    blockSize: 0,
    name: network.name,
    dynamicBatch: true,
    metadata: options.metadata ?? {},
    precision: options.precision ?? "float32",
  });
}
