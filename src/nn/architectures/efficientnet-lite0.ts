import { elementCount } from "../../onnx/builder.ts";
import type { ConvAttributes } from "../../onnx/lowering.ts";
import type { Graph } from "../graph.ts";
import { weightOf } from "../network.ts";
import type { Value } from "../ops/op-spec.ts";
import type { Backbone } from "./architecture.ts";
import { conv1x1, normAsAffine, type Weights } from "./layers.ts";

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

/** A convolution without bias and the normalisation behind it, under timm's names. */
interface Layer {
  readonly conv: string;
  readonly norm: string;
  readonly shape: readonly [outputs: number, inputs: number, kernel: number, kernel: number];
  readonly geometry: ConvAttributes;
  readonly depthwise: boolean;
  readonly relu6: boolean;
}

interface Block {
  readonly layers: readonly Layer[];
  /** Whether the block's input is added to what it makes. */
  readonly residual: boolean;
}

/** TensorFlow's SAME padding of maps with even sides: at stride 2 there is one zero more below and to the right. */
function same(kernel: number, stride: number): ConvAttributes {
  const zeros = kernel - stride;
  return { kernel, stride, padding: Math.floor(zeros / 2), paddingAfter: Math.ceil(zeros / 2) };
}

function pointwise(conv: string, norm: string, inputs: number, outputs: number, relu6: boolean): Layer {
  return { conv, norm, shape: [outputs, inputs, 1, 1], geometry: conv1x1, depthwise: false, relu6 };
}

/** The network as data: its stem, its blocks and its head, in the order in which pictures go through them. */
function describeBlocks(): Block[] {
  const stem: Layer = {
    conv: "conv_stem",
    norm: "bn1",
    shape: [stemChannels, 3, 3, 3],
    geometry: same(3, 2),
    depthwise: false,
    relu6: true,
  };
  const blocks: Block[] = [{ layers: [stem], residual: false }];
  let width = stemChannels;
  for (const [s, { blocks: count, kernel, stride: firstStride, expansion, channels }] of stages.entries()) {
    for (let b = 0; b < count; b++) {
      const name = `blocks.${s}.${b}`;
      const stride = b === 0 ? firstStride : 1;
      const inner = width * expansion;
      const filter = (norm: string): Layer => ({
        conv: `${name}.conv_dw`,
        norm: `${name}.${norm}`,
        shape: [inner, 1, kernel, kernel],
        geometry: same(kernel, stride),
        depthwise: true,
        relu6: true,
      });
      const layers =
        expansion === 1
          ? [filter("bn1"), pointwise(`${name}.conv_pw`, `${name}.bn2`, inner, channels, false)]
          : [
              pointwise(`${name}.conv_pw`, `${name}.bn1`, width, inner, true),
              filter("bn2"),
              pointwise(`${name}.conv_pwl`, `${name}.bn3`, inner, channels, false),
            ];
      blocks.push({ layers, residual: stride === 1 && width === channels });
      width = channels;
    }
  }
  blocks.push({ layers: [pointwise("conv_head", "bn2", width, headChannels, true)], residual: false });
  return blocks;
}

const network = describeBlocks();

/**
 * The filter is multiplied inside the graph, which engines do once, when they load a model: so a file with weights of 16 bits holds
 * them as they were published, without a second rounding.
 */
function applyLayer(graph: Graph, x: Value, weights: Weights, layer: Layer): Value {
  const { conv, norm, shape, geometry } = layer;
  const [channels] = shape;
  const { slope, bias } = normAsAffine(weights, norm, channels, epsilon);
  const weight = graph.constant(weightOf(weights, `${conv}.weight`, elementCount(shape)), shape);
  const filter = graph.multiply(weight, graph.reshape(graph.constant(slope), [channels, 1, 1, 1]));
  const maps = graph.apply(layer.depthwise ? "depthwiseConv2d" : "conv2d", [x, filter, graph.constant(bias)], geometry);
  return layer.relu6 ? graph.apply("relu6", [maps], {}) : maps;
}

/**
 * EfficientNet-Lite0: inverted residual blocks without squeeze-and-excite, with ReLU6, made for integers and small machines.
 * Tan and Le 2019, arXiv:1905.11946; the Lite variant is from github.com/tensorflow/tpu, models/official/efficientnet/lite.
 */
export const efficientNetLite0: Backbone = {
  name: "efficientnet-lite0",
  sizeMultiple: 32,
  channels: headChannels,
  side: 224,
  nonNegative: true,
  mean: [127 / 255, 127 / 255, 127 / 255],
  std: [128 / 255, 128 / 255, 128 / 255],
  tensors: new Map(
    network.flatMap(({ layers }) =>
      layers.flatMap(({ conv, norm, shape }): [string, readonly number[]][] => [
        [`${conv}.weight`, shape],
        ...["weight", "bias", "running_mean", "running_var"].map((part): [string, readonly number[]] => [`${norm}.${part}`, [shape[0]]]),
      ]),
    ),
  ),
  features: (graph, pictures, weights) =>
    network.reduce((x, { layers, residual }) => {
      const maps = layers.reduce((value, layer) => applyLayer(graph, value, weights, layer), x);
      return residual ? graph.add(maps, x) : maps;
    }, pictures),
};
