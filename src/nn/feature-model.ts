import { ServalError } from "../errors/serval-error.ts";
import type { OnnxModel } from "../onnx/model.ts";
import type { Backbone } from "./architectures/architecture.ts";
import { Graph } from "./graph.ts";
import { lowerGraph } from "./lower.ts";

export interface FeatureModelOptions {
  readonly height: number;
  readonly width: number;
  /** Channels a block for the blocked lowering, or 0 for standard operators and any number of pictures. */
  readonly blockSize: number;
  /** Pictures of a run, which the blocked lowering must know; default 1. */
  readonly batch?: number;
}

/**
 * A backbone as an ONNX model: `images` uint8 [N,H,W,3] RGB -> `features` [N,C,H/m,W/m] and their mean `embedding` [N,C].
 * Throws E_PARAMS where the pictures' sides are not a multiple of the backbone's, and E_WEIGHTS.
 */
export function buildFeatureModel(
  backbone: Backbone,
  weights: Readonly<Record<string, Float32Array>>,
  { height, width, blockSize, batch = 1 }: FeatureModelOptions,
): OnnxModel {
  const { name, sizeMultiple, mean, std } = backbone;
  if (height < sizeMultiple || width < sizeMultiple || height % sizeMultiple !== 0 || width % sizeMultiple !== 0) {
    throw new ServalError(
      "E_PARAMS",
      `The backbone ${name} takes pictures whose sides are a multiple of ${sizeMultiple} pixels; got ${width}x${height}.`,
    );
  }
  const graph = new Graph();
  const images = graph.input("images", [batch, height, width, 3], { dtype: "uint8" });
  const pictures = graph.apply("normalizeImages", [images], { mean, std });
  const features = backbone.features(graph, pictures, weights);
  graph.output("features", features);
  graph.output("embedding", graph.apply("spatialMean", [features], {}));
  return lowerGraph(graph, { blockSize, name, dynamicBatch: blockSize === 0 });
}
