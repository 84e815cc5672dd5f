import type { Backbone, InferenceNetwork } from "./architecture.ts";
import { efficientNetLite0 } from "./efficientnet-lite0.ts";
import { inferLinear } from "./layers.ts";

/** Networks that may be the backbone of a model, by the name that backbone.json gives. */
export const BACKBONES: Readonly<Record<string, Backbone>> = { [efficientNetLite0.name]: efficientNetLite0 };

/** A backbone with a linear classifier `fc` behind it, on the mean of its features over the picture, or on the square root of that. */
export function withClassifier(backbone: Backbone): InferenceNetwork {
  const { name, mean, std } = backbone;
  return {
    name,
    mean,
    std,
    infer(graph, pictures, weights, { classes }) {
      const features = backbone.features(graph, pictures, weights);
      const mean = graph.apply("spatialMean", [features], {});
      const embedding = backbone.nonNegative ? graph.apply("squareRoot", [mean], {}) : mean;
      return { features, logits: inferLinear(graph, embedding, weights, classes) };
    },
  };
}
