import { extname } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { parseSafetensors, safetensorNumbers, type Safetensor, type SafetensorsFile } from "../model/safetensors.ts";
import type { Backbone } from "../nn/architectures/architecture.ts";
import { BACKBONES } from "../nn/architectures/backbones.ts";
import { sameShape } from "../onnx/builder.ts";
import { checkModel } from "../onnx/check-model.ts";
import { corruptBackbone } from "./backbone-record.ts";

/** A bundle holds the file, and each thread of a service loads it. */
export const largestWeightsBytes: number = 2 ** 30;

export function tooLarge(path: string, size: number): ServalError {
  return new ServalError("E_BACKBONE_UNFIT", `${path} has ${size} bytes; a backbone may have ${largestWeightsBytes}.`, {
    hint: "Use a smaller network, or write this one with weights of 16 bits.",
  });
}

/** The first bytes of a file, which say what it is. */
export const signatureBytes = 16;

/** Throws E_BACKBONE_PICKLE where the file is a pickle, by its first bytes or its name; nothing more of it is read. */
export function refusePickle(start: Uint8Array, path: string): void {
  const [first = 0, second = 0] = start;
  // A header of JSON behind eight bytes of length: whatever the file is called, it is safetensors.
  if (start[8] === 0x7b) return;
  const zip = first === 0x50 && second === 0x4b;
  // PROTO, the first instruction of a pickle from protocol 2 on.
  const pickle = first === 0x80 && second >= 2 && second <= 5;
  const named = [".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle"].includes(extname(path).toLowerCase());
  if (!zip && !pickle && !named) return;
  const got = zip ? "a zip, as PyTorch writes pickles" : pickle ? "a pickle" : "a file with the name of a pickle";
  throw new ServalError("E_BACKBONE_PICKLE", `${path}: expected safetensors or ONNX, got ${got}.`);
}

/** Looks into an ONNX file before anything follows what it says. Throws E_MODEL_UNSAFE, which names it. */
export function checkOnnxFile(bytes: Uint8Array, path: string): void {
  try {
    checkModel(bytes);
  } catch (error) {
    if (!(error instanceof ServalError)) throw error;
    throw new ServalError(error.code, `${path}: ${error.message}`, {
      cause: error,
      details: { file: path },
      hint: "Where you trust the file, export it again as one file with standard operators, in PyTorch with `torch.onnx.export(..., external_data=False)`.",
    });
  }
}

/** Reads a safetensors file. Throws E_BACKBONE_CORRUPT, which names it. */
export function readSafetensors(bytes: Uint8Array, path: string): SafetensorsFile {
  try {
    return parseSafetensors(bytes);
  } catch (error) {
    if (!(error instanceof ServalError)) throw error;
    throw corruptBackbone(path, `is not a whole safetensors file: ${error.message.replace(/\.$/, "")}`, error);
  }
}

/** The weights of a network by its own names. Throws E_BACKBONE_CORRUPT with the first tensor that does not fit. */
export function readNetworkWeights(bytes: Uint8Array, path: string, network: Backbone): Record<string, Float32Array> {
  const { tensors } = readSafetensors(bytes, path);
  const problem = findMisfit(tensors, network);
  if (problem !== undefined) throw corruptBackbone(path, problem);
  return Object.fromEntries([...network.tensors.keys()].map((name) => [name, safetensorNumbers(name, tensors[name] as Safetensor)]));
}

/** The network that tensors belong to. Throws E_BACKBONE_UNFIT with the first tensor that the closest one misses. */
export function recognizeNetwork(tensors: Readonly<Record<string, Safetensor>>, path: string): Backbone {
  const count = (network: Backbone): number => [...network.tensors.keys()].filter((name) => name in tensors).length;
  const [closest] = Object.values(BACKBONES).sort((a, b) => count(b) - count(a));
  const problem = findMisfit(tensors, closest as Backbone);
  if (problem === undefined) return closest as Backbone;
  throw new ServalError("E_BACKBONE_UNFIT", `${path} ${problem}.`, {
    hint: "Weights fit where they are those of timm's tf_efficientnet_lite0 or torchvision's resnet18 or resnet34. Any other network can be a backbone as an ONNX file (docs/backbones.md).",
    details: { file: path },
  });
}

function findMisfit(tensors: Readonly<Record<string, Safetensor>>, network: Backbone): string | undefined {
  for (const [name, shape] of network.tensors) {
    const tensor = tensors[name];
    const expected = `tensor ${name}: ${network.name} expects F32 or F16 [${shape.join(", ")}], got`;
    if (!tensor) return `${expected} none`;
    const fits = sameShape(tensor.shape, shape) && (tensor.dtype === "F32" || tensor.dtype === "F16");
    if (!fits) return `${expected} ${tensor.dtype} [${tensor.shape.join(", ")}]`;
  }
  return undefined;
}
