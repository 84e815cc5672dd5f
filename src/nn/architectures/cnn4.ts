import { COLOUR_MEAN, COLOUR_STD, type Architecture } from "./architecture.ts";
import { conv3x3, inferClassifier, inferConvNorm, trainClassifier, trainConvNorm, type ConvNorm } from "./layers.ts";

function block(index: number, channels: number): ConvNorm {
  return { conv: `convs.${index}`, norm: `bns.${index}`, channels, geometry: conv3x3, after: "relu+maxpool" };
}

/** The baseline of the mission: blocks of convolution, batchnorm, relu and maxpool, then a linear classifier. */
export const cnn4: Architecture = {
  name: "cnn4",
  mean: COLOUR_MEAN,
  std: COLOUR_STD,
  sizeMultiple: ({ channels }) => 2 ** channels.length,
  train(network, pictures, options) {
    const maps = options.channels.reduce((x, channels, index) => trainConvNorm(network, x, block(index, channels)), pictures);
    return trainClassifier(network, maps, options);
  },
  infer(graph, pictures, weights, { channels, classes }) {
    const features = channels.reduce((x, count, index) => inferConvNorm(graph, x, weights, block(index, count)), pictures);
    return { features, logits: inferClassifier(graph, features, weights, classes) };
  },
};
