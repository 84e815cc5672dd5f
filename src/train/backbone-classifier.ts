import { encodeOnnxClassifier } from "../backbones/feature-model.ts";
import type { LoadedBackbone, OnnxBackbone } from "../backbones/load-backbone.ts";
import { withClassifier } from "../nn/architectures/backbones.ts";
import { weightOf } from "../nn/network.ts";
import { readInterface } from "../onnx/model-interface.ts";
import { exportedInference, type ExportedNetwork } from "./exported-network.ts";

/** Backbone and classifier as one network, for the export. `strategy` says what of it was trained. */
export function backboneClassifier(backbone: LoadedBackbone, classes: number, strategy: "head" | "finetune"): ExportedNetwork {
  const { network, digest, record } = backbone;
  const head = [
    { name: "fc.weight", shape: [classes, network.channels] },
    { name: "fc.bias", shape: [classes] },
  ];
  const shared = {
    metadata: { backbone: record.name, embedding: network.nonNegative ? "root" : "mean" },
    backbone: { name: record.name, digest, strategy },
  } as const;
  if (backbone.kind === "onnx") return { ...onnxNetwork(backbone), tensors: head, ...shared };
  const tensors = [...backbone.network.tensors].map(([name, shape]) => ({ name, shape }));
  return { ...exportedInference(withClassifier(backbone.network), { channels: [], blocks: 0 }), tensors: [...tensors, ...head], ...shared };
}

/** The backbone's own weights stay in model.onnx alone. */
function onnxNetwork(backbone: OnnxBackbone): Pick<ExportedNetwork, "name" | "mean" | "std" | "encode" | "otherParameters"> {
  const { network, model } = backbone;
  const { name, mean, std, channels } = network;
  return {
    name,
    mean,
    std,
    otherParameters: readInterface(model).parameterCount,
    encode: (weights, { classes, temperature, precision = "float32", metadata = {} }) =>
      encodeOnnxClassifier(backbone, {
        weight: weightOf(weights, "fc.weight", classes * channels),
        bias: weightOf(weights, "fc.bias", classes),
        temperature,
        precision,
        metadata,
      }),
  };
}
