import { open, readFile, stat } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { corruptBackbone, networkWeightsFile, onnxWeightsFile } from "../../backbones/backbone-record.ts";
import { encodeOnnxFeatures, type OnnxSource } from "../../backbones/feature-model.ts";
import { fetchFromHub, parseHubSource, type HubConfig } from "../../backbones/hub.ts";
import { describeOnnx, type OnnxFlags } from "../../backbones/onnx-source.ts";
import {
  largestWeightsBytes,
  readSafetensors,
  recognizeNetwork,
  refusePickle,
  signatureBytes,
  tooLarge,
} from "../../backbones/weights-file.ts";
import {
  backboneNameOf,
  checkBackboneName,
  writeBackbone,
  type NewBackbone,
  type WrittenBackbone,
} from "../../backbones/write-backbone.ts";
import { hubEndpoint, stateDirectory } from "../../config/env.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { sha256 } from "../../files.ts";
import { downloadLockFile } from "../../http/download-lock.ts";
import { loadBundle, shortDigest, weightsFile } from "../../model/bundle.ts";
import { encodeSafetensors, type Safetensor } from "../../model/safetensors.ts";
import { onnxruntime } from "../../runtime/onnxruntime.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "../reporter.ts";

export interface AddBackboneOptions extends OnnxFlags, UseCaseOptions {
  /** A safetensors file, an ONNX file, a bundle folder, or hf:OWNER/NAME@REVISION. */
  readonly source: string;
  /** Default: made of the source's name. */
  readonly name?: string | undefined;
  readonly mean?: readonly number[] | undefined;
  readonly std?: readonly number[] | undefined;
  readonly licence?: string | undefined;
  /** Downloads are kept in its downloads/. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
}

const unknownLicence = "not stated";
const coloursHint =
  "They are in the network's documentation. Networks trained on ImageNet mostly have --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225; " +
  "those of CLIP --mean 0.481,0.458,0.408 --std 0.269,0.261,0.276.";

/**
 * Adds a backbone to the working folder. Throws E_BACKBONE_PICKLE, E_BACKBONE_CORRUPT, E_BACKBONE_UNFIT, E_BACKBONE_EXISTS,
 * E_MODEL_UNSAFE, E_USAGE, E_FILE_NOT_FOUND and what a download throws.
 */
export async function addBackbone(options: AddBackboneOptions): Promise<WrittenBackbone> {
  const { cwd, source } = options;
  if (options.name !== undefined) checkBackboneName(options.name);
  if (source.startsWith("hf:")) return await addFromHub(options);
  const path = resolve(cwd, source);
  const there = await stat(path).catch(() => undefined);
  if (there === undefined) throw new ServalError("E_FILE_NOT_FOUND", `${path} does not exist.`);
  if (there.isDirectory()) return await writeBackbone(cwd, await readBundleBackbone(path, options));
  const bytes = await readWhole(path);
  const isOnnx = extname(path).toLowerCase() === ".onnx";
  return await writeBackbone(cwd, isOnnx ? await readOnnx(bytes, path, options) : readNetwork(bytes, path, options));
}

/** Throws before the file is read where it cannot be a backbone. */
async function readWhole(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const start = Buffer.alloc(signatureBytes);
    await file.read(start, 0, signatureBytes, 0);
    refusePickle(start, path);
    const { size } = await file.stat();
    if (size > largestWeightsBytes) throw tooLarge(path, size);
  } finally {
    await file.close();
  }
  return await readFile(path);
}

interface Described extends Pick<AddBackboneOptions, "mean" | "std" | "licence"> {
  readonly name?: string | undefined;
  readonly origin?: string;
}

/** Weights of a network that Serval knows. What else is in the file, such as a classifier, is left out. */
function readNetwork(bytes: Uint8Array, path: string, { name, origin, mean, std, licence }: Described): NewBackbone {
  const { tensors } = readSafetensors(bytes, path);
  const network = recognizeNetwork(tensors, path);
  const kept = Object.fromEntries([...network.tensors.keys()].map((key) => [key, tensors[key] as Safetensor]));
  const [ownMean, ownStd] = [mean ?? network.mean, std ?? network.std];
  const colours = String([ownMean, ownStd]) === String([network.mean, network.std]) ? {} : { mean: ownMean, std: ownStd };
  return {
    record: {
      name: name ?? defaultName(basename(path, extname(path))),
      architecture: network.name,
      ...colours,
      licence: licence ?? unknownLicence,
      origin: origin ?? describeFile(bytes, path),
    },
    file: networkWeightsFile,
    bytes: encodeSafetensors(kept, { architecture: network.name }),
  };
}

/** The backbone inside a model that was trained on one. */
async function readBundleBackbone(dir: string, options: AddBackboneOptions): Promise<NewBackbone> {
  const bundle = await loadBundle(dir);
  const { name, files } = bundle.manifest;
  if (!(weightsFile in files)) throw new ServalError("E_BACKBONE_UNFIT", `${dir} has no ${weightsFile}.`);
  const path = join(dir, weightsFile);
  const bytes = await readWhole(path);
  const { tensors, metadata } = readSafetensors(bytes, path);
  if (Object.keys(tensors).every((key) => key.startsWith("fc."))) {
    throw new ServalError("E_BACKBONE_UNFIT", `${path} contains only a classifier: the backbone of this model is an ONNX file.`, {
      hint: "Add the ONNX file that the model was trained on.",
    });
  }
  const { mean, std } = metadata;
  return readNetwork(bytes, path, {
    mean: parseColours(mean, path),
    std: parseColours(std, path),
    ...defined(options),
    name: options.name ?? defaultName(name),
    origin: `the model ${name}, version ${shortDigest(bundle)}`,
  });
}

/** Three numbers, as the export writes them. */
function parseColours(text: string | undefined, path: string): number[] | undefined {
  if (text === undefined) return undefined;
  const values = /^\[[-+\d.,e]+\]$/.test(text) ? text.slice(1, -1).split(",").map(Number) : [];
  if (values.length === 3 && values.every((value) => Number.isFinite(value))) return values;
  throw corruptBackbone(path, `says of its colours ${JSON.stringify(text)}; expected three numbers`);
}

async function addFromHub(options: AddBackboneOptions): Promise<WrittenBackbone> {
  const { cwd, stateDir = stateDirectory(), reporter = silentReporter, signal = new AbortController().signal } = options;
  const source = parseHubSource(options.source);
  let progress: Progress | undefined;
  try {
    const { path, config, pin } = await fetchFromHub(source, {
      endpoint: hubEndpoint(),
      lockPath: join(cwd, downloadLockFile),
      dir: resolve(cwd, stateDir, "downloads"),
      signal,
      onProgress: (done, total) => {
        progress ??= reporter.progress("Downloading", Math.round(total / 1e6), "MB");
        progress.update(Math.round(done / 1e6));
      },
    });
    const added = readNetwork(await readWhole(path), path, describeHub(options, source, config));
    await pin();
    return await writeBackbone(cwd, added);
  } finally {
    progress?.end();
  }
}

function describeHub(options: AddBackboneOptions, { text, name }: { text: string; name: string }, config: HubConfig): Described {
  const { mean, std, licence } = config;
  return { mean, std, licence, ...defined(options), name: options.name ?? defaultName(name), origin: `${text}, model.safetensors` };
}

function defined({ mean, std, licence }: AddBackboneOptions): Pick<Described, "mean" | "std" | "licence"> {
  return { ...(mean && { mean }), ...(std && { std }), ...(licence !== undefined && { licence }) };
}

/** A network of another writer. It runs once, on two black pictures, before it is taken. */
async function readOnnx(bytes: Uint8Array, path: string, options: AddBackboneOptions): Promise<NewBackbone> {
  const described = describeOnnx(bytes, path, options);
  const { mean, std } = options;
  if (!mean || !std) {
    throw new ServalError(
      "E_USAGE",
      `${mean ? "--std is" : "--mean and --std are"} missing: an ONNX file does not say how its colours are normalised.`,
      {
        hint: coloursHint,
      },
    );
  }
  const record: NewBackbone["record"] = {
    name: options.name ?? defaultName(basename(path, extname(path))),
    mean,
    std,
    licence: options.licence ?? unknownLicence,
    origin: describeFile(bytes, path),
  };
  const source = { model: bytes, onnx: { ...described, channels: 1 }, network: { name: record.name, mean, std } };
  const channels = await countChannels(source, path);
  return { record: { ...record, onnx: { ...described, channels } }, file: onnxWeightsFile, bytes };
}

async function countChannels(source: OnnxSource, path: string): Promise<number> {
  const { side, kind, output } = source.onnx;
  const refuse = (what: string, cause?: unknown): never => {
    throw new ServalError("E_BACKBONE_UNFIT", `${path}: ${what}.`, { cause, details: { file: path } });
  };
  const count = 2;
  const session = await onnxruntime.createSession(encodeOnnxFeatures(source)).catch((error: unknown) => {
    return refuse(`the engine does not load it: ${(error as Error).message.replace(/\.$/, "")}`, error);
  });
  try {
    const images = { dtype: "uint8", shape: [count, side, side, 3], data: new Uint8Array(count * side * side * 3) } as const;
    const { embedding } = await session.run({ images }, {}, ["embedding"]).catch((error: unknown) => {
      return refuse(
        `it does not run on ${count} pictures of ${side}x${side} pixels: ${(error as Error).message.replace(/\.$/, "")}`,
        error,
      );
    });
    const [rows, channels] = embedding?.shape ?? [];
    if (rows !== count || channels === undefined || embedding?.shape.length !== 2) {
      return refuse(`expected ${kind} for ${count} pictures in the output ${output}, got features [${embedding?.shape.join(", ")}]`);
    }
    if (!(embedding.data as Float32Array).every((value) => Number.isFinite(value))) return refuse("its features are not finite numbers");
    return channels;
  } finally {
    await session.close();
  }
}

function describeFile(bytes: Uint8Array, path: string): string {
  return `the file ${basename(path)}, SHA-256 ${sha256(bytes)}`;
}

function defaultName(text: string): string {
  const name = backboneNameOf(text);
  if (name !== "") return name;
  throw new ServalError("E_USAGE", `--name is missing: ${JSON.stringify(text)} does not make a name.`);
}
