import type { ConvAttributes } from "../../onnx/lowering.ts";
import type { Backbone } from "./architecture.ts";
import { inferPublishedConvNorm, trainConvNorm, weightShape, type ConvNorm } from "./layers.ts";

/** What happens to the layers of a network: they learn, answer, or are listed. T is what goes from one to the next. */
export interface Layers<T> {
  readonly convNorm: (x: T, layer: ConvNorm, addend?: T) => T;
  readonly maxPool: (x: T, geometry: ConvAttributes) => T;
}

/** A network, written once: what it does to normalised pictures [N,3,H,W]. */
export type Stack = <T>(layers: Layers<T>, pictures: T) => T;

/** The network of `stack` for training, for answers, and as a list of its weights. */
export function backboneNetwork(about: Omit<Backbone, "tensors" | "features" | "train">, stack: Stack): Backbone {
  return {
    ...about,
    tensors: listTensors(stack),
    features: (graph, pictures, weights) =>
      stack(
        {
          convNorm: (x, layer, addend) => inferPublishedConvNorm(graph, x, weights, layer, addend),
          maxPool: (x, geometry) => graph.apply("maxPool", [x], geometry),
        },
        pictures,
      ),
    train: (network, pictures) =>
      stack(
        {
          convNorm: (x, layer, addend) => trainConvNorm(network, x, layer, addend),
          maxPool: (x, geometry) => network.graph.apply("maxPool", [x], geometry),
        },
        pictures,
      ),
  };
}

/** Only the number of channels goes from layer to layer. */
function listTensors(stack: Stack): Map<string, readonly number[]> {
  const tensors = new Map<string, readonly number[]>();
  stack<number>(
    {
      convNorm(inputs, layer) {
        const { conv, norm, channels } = layer;
        tensors.set(`${conv}.weight`, weightShape(layer, inputs));
        for (const part of ["weight", "bias", "running_mean", "running_var"]) tensors.set(`${norm}.${part}`, [channels]);
        return channels;
      },
      maxPool: (channels) => channels,
    },
    3,
  );
  return tensors;
}
