import type { Value } from "../ops/op-spec.ts";
import { COLOUR_MEAN, COLOUR_STD, type Architecture, type ArchitectureOptions } from "./architecture.ts";
import { conv1x1, conv3x3, conv3x3Half, inferClassifier, inferConvNorm, trainClassifier, trainConvNorm, type ConvNorm } from "./layers.ts";

/** What the network does with a layer: apply it for training, or folded. */
interface Apply {
  readonly layer: (x: Value, layer: ConvNorm, addend?: Value) => Value;
  readonly maxPool2: (x: Value) => Value;
}

/**
 * The maps before the classifier, [N, C, H/2^k, W/2^k] for k numbers of channels. The first number is the stem's first
 * convolution (stride 2), the second the stem's end and the first stage, each further one a stage.
 *
 * Stages begin with a 2x2 maxpool instead of a convolution of stride 2: it costs little, its gradient is a pass over the
 * maps, and the convolution after it reads every pixel. Shortcuts between different widths are 1x1 convolutions.
 */
function stack({ layer, maxPool2 }: Apply, pictures: Value, { channels, blocks }: ArchitectureOptions): Value {
  const [first, second, ...rest] = channels as [number, number, ...number[]];
  let maps = layer(pictures, { conv: "stem.0", norm: "stem.1", channels: first, geometry: conv3x3Half, after: "relu" });
  maps = layer(maps, { conv: "stem.2", norm: "stem.3", channels: second, geometry: conv3x3, after: "relu+maxpool" });
  [second, ...rest].forEach((width, stage) => {
    if (stage > 0) maps = maxPool2(maps);
    for (let block = 0; block < blocks; block++) maps = residualBlock(layer, maps, `layers.${stage}.${block}`, width);
  });
  return maps;
}

/** relu(x + bn(conv(relu(bn(conv(x)))))); the last gamma starts at zero, so that a block starts as its shortcut. */
function residualBlock(layer: Apply["layer"], x: Value, name: string, channels: number): Value {
  const shortcut =
    x.shape[1] === channels
      ? x
      : layer(x, { conv: `${name}.downsample.0`, norm: `${name}.downsample.1`, channels, geometry: conv1x1, after: "nothing" });
  const inner = layer(x, { conv: `${name}.conv1`, norm: `${name}.bn1`, channels, geometry: conv3x3, after: "relu" });
  return layer(inner, { conv: `${name}.conv2`, norm: `${name}.bn2`, channels, geometry: conv3x3, after: "relu", gamma: 0 }, shortcut);
}

/** A residual network for small pictures and few cores. He et al. 2016, arXiv:1512.03385. */
export const resnet: Architecture = {
  name: "resnet",
  mean: COLOUR_MEAN,
  std: COLOUR_STD,
  sizeMultiple: ({ channels }) => 2 ** channels.length,
  train(network, pictures, options) {
    const apply: Apply = {
      layer: (x, layer, addend) => trainConvNorm(network, x, layer, addend),
      maxPool2: (x) => network.graph.apply("maxPool2", [x], {}),
    };
    return trainClassifier(network, stack(apply, pictures, options), options);
  },
  infer(graph, pictures, weights, options) {
    const apply: Apply = {
      layer: (x, layer, addend) => inferConvNorm(graph, x, weights, layer, addend),
      maxPool2: (x) => graph.apply("maxPool2", [x], {}),
    };
    const features = stack(apply, pictures, options);
    return { features, logits: inferClassifier(graph, features, weights, options.classes) };
  },
};
