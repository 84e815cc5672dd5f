import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { sha256 } from "../files.ts";
import type { Backbone, FeatureNetwork } from "../nn/architectures/architecture.ts";
import { BACKBONES } from "../nn/architectures/backbones.ts";
import {
  backboneFile,
  corruptBackbone,
  networkWeightsFile,
  onnxWeightsFile,
  readRecord,
  type BackboneRecord,
  type OnnxFeatures,
} from "./backbone-record.ts";
import { findBackbone } from "./find-backbone.ts";
import { checkOnnxFile, largestWeightsBytes, readNetworkWeights, tooLarge } from "./weights-file.ts";

interface Loaded {
  readonly record: BackboneRecord;
  /** SHA-256 of the file with the weights: what a bundle knows a backbone by. */
  readonly digest: string;
  /** SHA-256 of all that the features of a picture depend on: the weights, and how the picture goes in. */
  readonly identity: string;
}

/** A network that Serval knows, with its weights in memory. */
export interface NetworkBackbone extends Loaded {
  readonly kind: "network";
  readonly network: Backbone;
  /** By timm's names. */
  readonly weights: Readonly<Record<string, Float32Array>>;
}

/** A network of another writer: it can be used, and not be changed. */
export interface OnnxBackbone extends Loaded {
  readonly kind: "onnx";
  readonly network: FeatureNetwork;
  readonly onnx: OnnxFeatures;
  /** The bytes of the ONNX file. */
  readonly model: Uint8Array;
}

export type LoadedBackbone = NetworkBackbone | OnnxBackbone;

/**
 * Loads the backbone that a person means by `name`: a folder, an ONNX file that was added, or a name that is looked up in the working
 * folder `cwd` and then beside the program. Throws E_BACKBONE_MISSING, E_BACKBONE_UNFIT for a file that is too large, and
 * E_BACKBONE_CORRUPT with the file, what was expected and what was got.
 */
export async function loadBackbone(name: string, cwd: string): Promise<LoadedBackbone> {
  return await loadBackboneFolder((await findBackbone(name, cwd)).dir);
}

export async function loadBackboneFolder(dir: string): Promise<LoadedBackbone> {
  const record = await readRecord(dir);
  const { architecture, onnx, mean, std } = record;
  const known = architecture === undefined ? undefined : BACKBONES[architecture];
  if (!onnx && !known) {
    throw corruptBackbone(
      join(dir, backboneFile),
      `architecture: expected one of ${Object.keys(BACKBONES).join(", ")}, got ${JSON.stringify(architecture)}`,
    );
  }
  const file = onnx ? onnxWeightsFile : networkWeightsFile;
  const path = join(dir, file);
  const bytes = await readWeightsFile(path);
  const digest = sha256(bytes);
  const expected = record.files[file];
  if (digest !== expected) {
    throw corruptBackbone(
      path,
      `(${bytes.length} bytes) has the SHA-256 ${digest}; ${backboneFile} says ${expected ?? "nothing about it"}`,
    );
  }
  const identity = sha256(JSON.stringify([digest, architecture ?? null, onnx ?? null, mean ?? null, std ?? null]));
  if (onnx) {
    checkOnnxFile(bytes, path);
    return { kind: "onnx", record, digest, identity, onnx, model: bytes, network: onnxNetwork(record, onnx) };
  }
  const network = { ...(known as Backbone), ...(mean && { mean }), ...(std && { std }) };
  return { kind: "network", record, digest, identity, network, weights: readNetworkWeights(bytes, path, network) };
}

/** What a classifier has to know of an ONNX file in front of it. */
function onnxNetwork({ name, mean = [], std = [] }: BackboneRecord, { channels, side }: OnnxFeatures): FeatureNetwork {
  return { name, channels, side, sizeMultiple: side, nonNegative: false, mean, std };
}

async function readWeightsFile(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > largestWeightsBytes) throw tooLarge(path, size);
    return await readFile(path);
  } catch (error) {
    if (error instanceof ServalError) throw error;
    throw corruptBackbone(path, `cannot be read: ${(error as Error).message}`, error);
  }
}
