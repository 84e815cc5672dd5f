import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { weightsFile, type Bundle } from "../model/bundle.ts";
import { parseSafetensors, safetensorNumbers } from "../model/safetensors.ts";
import { sameShape } from "../onnx/builder.ts";
import type { InitialWeights, TrainConfig } from "./train-job.ts";
import { modelTensors } from "./train-plan.ts";

/**
 * What a training of `config` on `labels` takes from a bundle: the whole backbone with its running statistics, and the head
 * where the labels are the same. Throws E_INIT_MISMATCH, which names both networks, where the backbone is another one, and
 * E_BUNDLE_MISSING where the bundle has no weights to start from.
 */
export async function readInitialWeights(bundle: Bundle, config: TrainConfig, labels: readonly string[]): Promise<InitialWeights> {
  const { name, files } = bundle.manifest;
  if (!(weightsFile in files))
    throw new ServalError("E_BUNDLE_MISSING", `train.init: ${bundle.dir} has no ${weightsFile} to start from.`, {
      hint: "Name a bundle that `serval train` wrote.",
    });
  const { tensors, metadata } = parseSafetensors(await readFile(join(bundle.dir, weightsFile)));
  const keepsHead = labels.length === bundle.manifest.labels.length && labels.every((label, k) => label === bundle.manifest.labels[k]);
  const wanted = modelTensors(config, labels.length);
  const expected = new Map(wanted.filter(({ head }) => keepsHead || !head).map(({ name, shape }) => [name, shape]));
  const headNames = new Set(wanted.filter(({ head }) => head).map(({ name }) => name));
  const describe = (shape: readonly number[] | undefined): string => (shape ? `[${shape.join()}]` : "not there");
  // Both ways round: a deeper network holds all tensors of a shallower one, and more.
  for (const tensor of new Set([...expected.keys(), ...Object.keys(tensors)])) {
    if (headNames.has(tensor) && !keepsHead) continue;
    const [own, other] = [expected.get(tensor), tensors[tensor]?.shape];
    if (own && other && sameShape(own, other)) continue;
    throw new ServalError(
      "E_INIT_MISMATCH",
      `train.init: the model "${name}" is ${describeNetwork(metadata)}, and params.yaml asks for ${describeNetwork({
        architecture: config.architecture,
        channels: JSON.stringify(config.channels),
        blocks: String(config.blocks),
      })} (tensor ${tensor}: ${describe(other)} in the model, ${describe(own)} in the network).`,
    );
  }
  const weights: Record<string, Float32Array> = {};
  for (const tensor of expected.keys()) weights[tensor] = safetensorNumbers(tensor, tensors[tensor] as (typeof tensors)[string]);
  return { name, digest: bundle.digest, weights, keepsHead };
}

/** `a resnet with channels [32,64,128,256] and 2 blocks a stage`, from the metadata of a bundle's weights. */
function describeNetwork({ architecture, channels, blocks }: Readonly<Record<string, string>>): string {
  if (architecture === undefined) return "a network that it does not name";
  const depth = architecture === "cnn4" || blocks === undefined ? "" : ` and ${blocks} block${blocks === "1" ? "" : "s"} a stage`;
  return `a ${architecture} with channels ${channels ?? "unknown"}${depth}`;
}
