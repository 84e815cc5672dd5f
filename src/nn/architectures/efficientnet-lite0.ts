import type { ConvAttributes } from "../../onnx/lowering.ts";
import type { Backbone } from "./architecture.ts";
import { backboneNetwork, type Layers } from "./backbone-network.ts";
import { conv1x1, type ConvNorm } from "./layers.ts";

/** TensorFlow's default, which these networks were trained with. */
const epsilon = 1e-3;
const stemChannels = 32;
const headChannels = 1280;

/** Blocks of equal width; the first of a stage has its stride. */
interface Stage {
  readonly blocks: number;
  readonly kernel: number;
  readonly stride: number;
  /** How many times wider a block is inside than outside. */
  readonly expansion: number;
  readonly channels: number;
}

const stages: readonly Stage[] = [
  { blocks: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
  { blocks: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
  { blocks: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
  { blocks: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
  { blocks: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
  { blocks: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
  { blocks: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
];

/** TensorFlow's SAME padding of maps with even sides: at stride 2 there is one zero more below and to the right. */
function same(kernel: number, stride: number): ConvAttributes {
  const zeros = kernel - stride;
  return { kernel, stride, padding: Math.floor(zeros / 2), paddingAfter: Math.ceil(zeros / 2) };
}

/** A layer under timm's names; the stem's and the head's are outside the blocks. */
function layer(conv: string, norm: string, channels: number, geometry: ConvAttributes, after: ConvNorm["after"]): ConvNorm {
  return { conv, norm, channels, geometry, pointwise: geometry === conv1x1, after, epsilon };
}

/** A 1x1 convolution to more channels, one filter for each of them, and a 1x1 convolution back: to which x is added where it fits. */
function invertedResidual<T>({ convNorm }: Layers<T>, x: T, name: string, width: number, stride: number, stage: Stage): T {
  const { kernel, expansion, channels } = stage;
  const inner = width * expansion;
  const filter = (value: T, norm: string): T =>
    convNorm(value, { ...layer(`${name}.conv_dw`, `${name}.${norm}`, inner, same(kernel, stride), "relu6"), depthwise: true });
  const shortcut = stride === 1 && width === channels ? x : undefined;
  if (expansion === 1) return convNorm(filter(x, "bn1"), layer(`${name}.conv_pw`, `${name}.bn2`, channels, conv1x1, "nothing"), shortcut);
  const wide = convNorm(x, layer(`${name}.conv_pw`, `${name}.bn1`, inner, conv1x1, "relu6"));
  return convNorm(filter(wide, "bn2"), layer(`${name}.conv_pwl`, `${name}.bn3`, channels, conv1x1, "nothing"), shortcut);
}

function stack<T>(layers: Layers<T>, pictures: T): T {
  let maps = layers.convNorm(pictures, layer("conv_stem", "bn1", stemChannels, same(3, 2), "relu6"));
  let width = stemChannels;
  for (const [s, stage] of stages.entries()) {
    for (let b = 0; b < stage.blocks; b++) {
      maps = invertedResidual(layers, maps, `blocks.${s}.${b}`, width, b === 0 ? stage.stride : 1, stage);
      width = stage.channels;
    }
  }
  return layers.convNorm(maps, layer("conv_head", "bn2", headChannels, conv1x1, "relu6"));
}

/**
 * EfficientNet-Lite0: inverted residual blocks without squeeze-and-excite, with ReLU6, made for integers and small machines.
 * Tan and Le 2019, arXiv:1905.11946; the Lite variant is from github.com/tensorflow/tpu, models/official/efficientnet/lite.
 */
export const efficientNetLite0: Backbone = backboneNetwork(
  {
    name: "efficientnet-lite0",
    sizeMultiple: 32,
    channels: headChannels,
    side: 224,
    nonNegative: true,
    mean: [127 / 255, 127 / 255, 127 / 255],
    std: [128 / 255, 128 / 255, 128 / 255],
    layerGroups: [["conv_stem.", "bn1.", "blocks.0."], ...[1, 2, 3, 4, 5, 6].map((s) => [`blocks.${s}.`]), ["conv_head.", "bn2."]],
  },
  stack,
);
