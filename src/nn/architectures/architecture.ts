import type { Graph } from "../graph.ts";
import type { Network } from "../network.ts";
import type { Value } from "../ops/op-spec.ts";

export interface ArchitectureOptions {
  /** Output channels of each block or stage. */
  readonly channels: readonly number[];
  /** Residual blocks a stage, where the network has any. */
  readonly blocks: number;
  readonly classes: number;
}

export interface TrainingPass {
  readonly logits: Value;
  /** Shape of the features that dropout acts on; its mask is an input of the training step. */
  readonly dropoutMask: Value | null;
}

export interface InferencePass {
  readonly logits: Value;
  /** The last maps [N,C,h,w]: their mean is the embedding, their sum weighted by `fc.weight` the class activation map. */
  readonly features: Value;
}

/** A network as it answers: with everything folded that can be folded. */
export interface InferenceNetwork {
  readonly name: string;
  /** Mean and standard deviation of the colours in [0,1] that pictures are normalised with. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Applies the trained network with its running statistics to normalised pictures [N,3,H,W]; weights become constants. */
  readonly infer: (
    graph: Graph,
    pictures: Value,
    weights: Readonly<Record<string, Float32Array>>,
    options: ArchitectureOptions,
  ) => InferencePass;
}

/** A network that Serval trains, and as it answers. */
export interface Architecture extends InferenceNetwork {
  /** What the classifier reads of the features; default their mean over the picture. */
  readonly embed?: Embed;
  /** Side lengths of pictures must be a multiple of this. */
  readonly sizeMultiple: (options: ArchitectureOptions) => number;
  /** Applies the network to normalised pictures [N,3,H,W] with batch statistics; its parameters become graph inputs. */
  readonly train: (network: Network, pictures: Value, options: ArchitectureOptions & { readonly dropout: boolean }) => TrainingPass;
}

/** From maps [N,C,H,W] to the embedding [N,C]. */
export type Embed = (graph: Graph, features: Value) => Value;

/** What a classifier has to know of the network in front of it. */
export interface FeatureNetwork {
  readonly name: string;
  /** Side lengths of pictures must be a multiple of this: the features are that many times smaller. */
  readonly sizeMultiple: number;
  /** Channels C of the features. */
  readonly channels: number;
  /** Mean and standard deviation of the colours in [0,1] that it was trained with. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Side in pixels of the pictures that it was trained with. */
  readonly side: number;
  /**
   * Whether its features are never negative. A classifier on them takes the square root of their mean then: it brings channels that fire
   * rarely and strongly nearer to the others, which helps most where there are few pictures (Hu et al. 2021, arXiv:2006.03806).
   */
  readonly nonNegative: boolean;
}

/** A network that was trained on many pictures, without its classifier: it turns pictures into features. */
export interface Backbone extends FeatureNetwork {
  /** Its weights: names and shapes as in timm or torchvision. */
  readonly tensors: ReadonlyMap<string, readonly number[]>;
  /**
   * What the names of its weights begin with, by depth: the first group reads the pictures. Fine-tuning gives earlier groups a lower
   * learning rate, because what they know fits most pictures.
   */
  readonly layerGroups: readonly (readonly string[])[];
  /** Applies it to normalised pictures [N,3,H,W]: features [N,C,H/m,W/m], whose mean over the last two axes is the embedding. */
  readonly features: (graph: Graph, pictures: Value, weights: Readonly<Record<string, Float32Array>>) => Value;
  /** The same with weights that learn: parameters of the network. */
  readonly train: (network: Network, pictures: Value) => Value;
}

/** Mean and standard deviation of the colours of ImageNet's photographs: the field's usual constants. */
export const COLOUR_MEAN: readonly number[] = [0.485, 0.456, 0.406];
export const COLOUR_STD: readonly number[] = [0.229, 0.224, 0.225];
