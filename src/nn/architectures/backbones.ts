import type { Architecture, Backbone, Embed } from "./architecture.ts";
import { efficientNetLite0 } from "./efficientnet-lite0.ts";
import { inferLinear, trainClassifier } from "./layers.ts";
import { resnet18, resnet34 } from "./resnet18.ts";

/** Networks that may be the backbone of a model, by the name that backbone.json gives. */
export const BACKBONES: Readonly<Record<string, Backbone>> = Object.fromEntries(
  [efficientNetLite0, resnet18, resnet34].map((backbone) => [backbone.name, backbone]),
);

/** A backbone with a linear classifier `fc` behind it, on the mean of its features over the picture, or on the square root of that. */
export function withClassifier(backbone: Backbone): Architecture {
  const { name, mean, std, sizeMultiple } = backbone;
  const embed: Embed = (graph, features) => {
    const mean = graph.apply("spatialMean", [features], {});
    return backbone.nonNegative ? graph.apply("squareRoot", [mean], {}) : mean;
  };
  return {
    name,
    mean,
    std,
    embed,
    sizeMultiple: () => sizeMultiple,
    train: (network, pictures, options) => trainClassifier(network, backbone.train(network, pictures), options, embed),
    infer(graph, pictures, weights, { classes }) {
      const features = backbone.features(graph, pictures, weights);
      return { features, logits: inferLinear(graph, embed(graph, features), weights, classes) };
    },
  };
}
