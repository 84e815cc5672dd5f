import type { ConvAttributes } from "../../onnx/lowering.ts";
import { COLOUR_MEAN, COLOUR_STD, type Backbone } from "./architecture.ts";
import { backboneNetwork, type Layers, type Stack } from "./backbone-network.ts";
import { conv3x3, type ConvNorm } from "./layers.ts";

const stemChannels = 64;
const stageChannels = [64, 128, 256, 512];

const conv7x7Half: ConvAttributes = { kernel: 7, stride: 2, padding: 3 };
const maxPool3x3Half: ConvAttributes = { kernel: 3, stride: 2, padding: 1 };

/** relu(x + bn(conv(relu(bn(conv(x)))))); where the block halves the maps or changes their channels, x goes through a 1x1 convolution. */
function basicBlock<T>({ convNorm }: Layers<T>, x: T, name: string, inputs: number, channels: number, stride: number): T {
  const layer = (conv: string, norm: string, geometry: ConvAttributes, after: ConvNorm["after"]): ConvNorm => ({
    conv: `${name}.${conv}`,
    norm: `${name}.${norm}`,
    channels,
    geometry,
    after,
  });
  const inner = convNorm(x, layer("conv1", "bn1", { ...conv3x3, stride }, "relu"));
  const shortcut =
    stride === 1 && inputs === channels
      ? x
      : convNorm(x, layer("downsample.0", "downsample.1", { kernel: 1, stride, padding: 0 }, "nothing"));
  return convNorm(inner, layer("conv2", "bn2", conv3x3, "relu"), shortcut);
}

/** Number of blocks of two layers in each stage. */
function residualNetwork(name: string, blocks: readonly number[]): Backbone {
  const stack: Stack = (layers, pictures) => {
    const stem = layers.convNorm(pictures, { conv: "conv1", norm: "bn1", channels: stemChannels, geometry: conv7x7Half, after: "relu" });
    let maps = layers.maxPool(stem, maxPool3x3Half);
    let width = stemChannels;
    for (const [stage, channels] of stageChannels.entries()) {
      for (let block = 0; block < (blocks[stage] as number); block++) {
        const stride = block === 0 && stage > 0 ? 2 : 1;
        maps = basicBlock(layers, maps, `layer${stage + 1}.${block}`, width, channels, stride);
        width = channels;
      }
    }
    return maps;
  };
  const about = {
    name,
    sizeMultiple: 32,
    channels: stageChannels.at(-1) as number,
    side: 224,
    nonNegative: true,
    mean: COLOUR_MEAN,
    std: COLOUR_STD,
    layerGroups: [["conv1.", "bn1."], ...stageChannels.map((_, stage) => [`layer${stage + 1}.`])],
  };
  return backboneNetwork(about, stack);
}

/** Residual networks under torchvision's names. He et al. 2016, arXiv:1512.03385. */
export const resnet18: Backbone = residualNetwork("resnet18", [2, 2, 2, 2]);
export const resnet34: Backbone = residualNetwork("resnet34", [3, 4, 6, 3]);
