import type { InferenceNetwork } from "../nn/architectures/architecture.ts";

/** A network that was trained, as far as the export has to know it. */
export interface ExportedNetwork {
  readonly inference: InferenceNetwork;
  readonly channels: readonly number[];
  readonly blocks: number;
  /** The tensors that the bundle holds, with the shapes that they have in PyTorch. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** What weights.safetensors says of the network besides its name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The pretrained network inside, and what was trained of it. */
  readonly backbone?: { readonly name: string; readonly digest: string; readonly strategy: "head" };
}
