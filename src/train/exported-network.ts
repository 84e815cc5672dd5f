import type { ArchitectureOptions, InferenceNetwork } from "../nn/architectures/architecture.ts";
import { buildInferenceModel, type InferenceModelOptions } from "../nn/inference-model.ts";
import { encodeModel } from "../onnx/encode.ts";

type Weights = Readonly<Record<string, Float32Array>>;
export type EncodeOptions = Omit<InferenceModelOptions, keyof ArchitectureOptions> & { readonly classes: number };

/** A network that was trained, as far as the export has to know it. */
export interface ExportedNetwork {
  readonly name: string;
  /** Mean and standard deviation of the colours in [0,1] that pictures are normalised with. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** The bytes of model.onnx: `images` uint8 [N,H,W,3] -> `logits`, `probabilities` and `features`. */
  readonly encode: (weights: Weights, options: EncodeOptions) => Uint8Array;
  /** The tensors that the bundle holds, with the shapes that they have in PyTorch. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** Parameters that are in the model and not among the tensors. */
  readonly otherParameters?: number;
  /** What weights.safetensors says of the network besides its name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The pretrained network inside, and what was trained of it. */
  readonly backbone?: { readonly name: string; readonly digest: string; readonly strategy: "head" | "finetune" };
}

/** What the export has to know of a network of this engine. */
export function exportedInference(
  network: InferenceNetwork,
  shape: Omit<ArchitectureOptions, "classes">,
): Pick<ExportedNetwork, "name" | "mean" | "std" | "encode"> {
  const { name, mean, std } = network;
  return { name, mean, std, encode: (weights, options) => encodeModel(buildInferenceModel(network, weights, { ...shape, ...options })) };
}
