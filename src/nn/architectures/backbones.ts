import type { Backbone, InferenceNetwork } from "./architecture.ts";
import { efficientNetLite0 } from "./efficientnet-lite0.ts";
import { inferClassifier } from "./layers.ts";

/** Networks that may be the backbone of a model, by the name that backbone.json gives. */
export const BACKBONES: Readonly<Record<string, Backbone>> = { [efficientNetLite0.name]: efficientNetLite0 };

/** A backbone with a linear classifier `fc` behind it. */
export function withClassifier(backbone: Backbone): InferenceNetwork {
  const { name, mean, std } = backbone;
  return {
    name,
    mean,
    std,
    infer(graph, pictures, weights, { classes }) {
      const features = backbone.features(graph, pictures, weights);
      return { features, logits: inferClassifier(graph, features, weights, classes) };
    },
  };
}
