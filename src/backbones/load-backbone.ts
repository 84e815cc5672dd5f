import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import Type, { type TSchema } from "typebox";
import { Errors } from "typebox/value";
import { ServalError } from "../errors.ts";
import { sha256 } from "../files.ts";
import { parseSafetensors, safetensorNumbers } from "../model/safetensors.ts";
import type { Backbone } from "../nn/architectures/architecture.ts";
import { BACKBONES } from "../nn/architectures/backbones.ts";
import { sameShape } from "../onnx/builder.ts";

/** Where backbones lie in a working folder, and in the package. */
export const backbonesFolder: string = join("models", "backbones");
export const backboneFile = "backbone.json";
const backboneFormatVersion = 1;
const weightsFile = "weights.safetensors";
const namePattern = "^[a-z0-9][a-z0-9._-]{0,62}$";

/** backbone.json. */
export interface BackboneRecord {
  readonly formatVersion: 1;
  readonly name: string;
  /** The network that the weights belong to. */
  readonly architecture: string;
  readonly licence: string;
  /** Where the weights come from. */
  readonly origin: string;
  /** SHA-256 of each file. */
  readonly files: Readonly<Record<string, string>>;
}

const properties = {
  formatVersion: Type.Literal(backboneFormatVersion),
  name: Type.String({ pattern: namePattern }),
  architecture: Type.String(),
  licence: Type.String({ minLength: 1 }),
  origin: Type.String({ minLength: 1 }),
  files: Type.Record(Type.String(), Type.String({ pattern: "^[0-9a-f]{64}$" })),
} satisfies Record<keyof BackboneRecord, TSchema>;

const recordSchema: TSchema = Type.Object(properties, { additionalProperties: false });

/** A backbone with its weights in memory. */
export interface LoadedBackbone {
  readonly record: BackboneRecord;
  readonly network: Backbone;
  /** By timm's names. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  /** SHA-256 of the weights file: what a bundle and a cache of features know a backbone by. */
  readonly digest: string;
}

/**
 * Loads the backbone that a person means by `name`: a folder, or a name that is looked up in the working folder `cwd` and then beside the
 * program. Throws E_BACKBONE_MISSING, and E_BACKBONE_CORRUPT with the file, what was expected and what was got.
 */
export async function loadBackbone(name: string, cwd: string): Promise<LoadedBackbone> {
  const dir = await findBackbone(name, cwd);
  const record = await readRecord(dir);
  const network = BACKBONES[record.architecture];
  if (!network) {
    throw corrupt(
      join(dir, backboneFile),
      `architecture: expected one of ${Object.keys(BACKBONES).join(", ")}, got ${JSON.stringify(record.architecture)}`,
    );
  }
  const path = join(dir, weightsFile);
  const bytes = await readFile(path).catch((error: unknown) => {
    throw corrupt(path, `cannot be read: ${(error as Error).message}`, error);
  });
  const digest = sha256(bytes);
  const expected = record.files[weightsFile];
  if (digest !== expected) {
    throw corrupt(path, `(${bytes.length} bytes) has the SHA-256 ${digest}; ${backboneFile} says ${expected ?? "nothing about it"}`);
  }
  return { record, network, weights: readWeights(bytes, path, network), digest };
}

function readWeights(bytes: Uint8Array, path: string, network: Backbone): Record<string, Float32Array> {
  const { tensors } = parseSafetensors(bytes);
  const weights: Record<string, Float32Array> = {};
  for (const [name, shape] of network.tensors) {
    const tensor = tensors[name];
    if (!tensor || !sameShape(tensor.shape, shape)) {
      const got = tensor ? `[${tensor.shape.join(", ")}]` : "none";
      throw corrupt(path, `tensor ${name}: ${network.name} expects the shape [${shape.join(", ")}], got ${got}`);
    }
    weights[name] = safetensorNumbers(name, tensor);
  }
  return weights;
}

async function findBackbone(name: string, cwd: string): Promise<string> {
  const places = new RegExp(namePattern).test(name)
    ? [join(cwd, backbonesFolder, name), ...foldersAbove(import.meta.dirname).map((folder) => join(folder, backbonesFolder, name))]
    : [resolve(cwd, name)];
  for (const place of places) {
    const there = await readFile(join(place, backboneFile)).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT" || error.code === "ENOTDIR") return false;
        throw corrupt(join(place, backboneFile), `cannot be read: ${error.message}`, error);
      },
    );
    if (there) return place;
  }
  throw new ServalError(
    "E_BACKBONE_MISSING",
    `There is no backbone "${name}": no ${backboneFile} in ${places[0]}, nor one that came with Serval.`,
  );
}

/** The program runs from its sources, from a package or from a bundle: `models` lies somewhere above it. */
function foldersAbove(folder: string): string[] {
  const above = dirname(folder);
  return above === folder ? [folder] : [folder, ...foldersAbove(above)];
}

async function readRecord(dir: string): Promise<BackboneRecord> {
  const path = join(dir, backboneFile);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw corrupt(path, `is not valid JSON: ${(error as Error).message}`, error);
  }
  const version = (value as { formatVersion?: unknown } | null)?.formatVersion;
  if (version !== backboneFormatVersion) {
    throw corrupt(path, `has formatVersion ${JSON.stringify(version) ?? "none"}; this version of Serval reads ${backboneFormatVersion}`);
  }
  const [problem] = Errors(recordSchema, value);
  if (problem) throw corrupt(path, `${problem.instancePath.slice(1).replaceAll("/", ".") || "the record"}: ${problem.message}`);
  return value as BackboneRecord;
}

function corrupt(path: string, what: string, cause?: unknown): ServalError {
  return new ServalError("E_BACKBONE_CORRUPT", `${path} ${what}.`, { cause, details: { file: path } });
}
