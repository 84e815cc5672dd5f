import Type, { type TSchema } from "typebox";
import { Errors } from "typebox/value";
import { ServalError } from "../errors/serval-error.ts";
import { isSafePath } from "../safe-path.ts";
import type { Fit, Kernel, Preprocess } from "../image/preprocess.ts";

/** A picture inside the bundle whose answer is known, so that a service can prove that it still gives it. */
export interface BundleCheck {
  /** Path inside the bundle. */
  readonly file: string;
  /** [K], as the model gave them when the bundle was written. */
  readonly probabilities: readonly number[];
  /** Largest difference of one probability that still passes (CPUs round differently). */
  readonly tolerance: number;
}

/** What a model took from a pretrained network. */
export interface BundleBackbone {
  readonly name: string;
  /** SHA-256 of the weights that the training began with. */
  readonly digest: string;
  /** head: only the classifier was trained. */
  readonly strategy: "head" | "finetune";
}

/** bundle.json: a pure function of data, parameters, code and seed. No time, host, run id or commit. */
export interface BundleManifest {
  /** 2 where a key of format 2 is there. */
  readonly formatVersion: 1 | 2;
  readonly name: string;
  /** Sorted; the index is the class. */
  readonly labels: readonly string[];
  readonly preprocess: Preprocess;
  /** Confidence under which the service should say that it does not know; null never does. */
  readonly abstainBelow: number | null;
  readonly metrics: Readonly<Record<string, number>>;
  /** Statistics of the training data, for drift. */
  readonly reference: Readonly<Record<string, unknown>>;
  /** SHA-256 of the data manifest. */
  readonly dataVersion: string;
  /** Which pictures of the data were in which split; missing in bundles made before it was recorded. */
  readonly split?: {
    readonly seed: number;
    readonly shares: { readonly train: number; readonly val: number; readonly test: number };
    readonly dedupe: boolean;
  };
  readonly paramsHash: string;
  /** Digest of the bundle whose weights the training began with; missing where they were random. */
  readonly init?: string;
  /** The pretrained network inside, and what was trained of it; missing where all of it was trained from scratch. From format 2 on. */
  readonly backbone?: BundleBackbone;
  /** How far a picture is from those that the model learnt from. From format 2 on. */
  readonly outlierScore?: Readonly<Record<string, unknown>>;
  /** A fixed projection of the features to a few numbers, for drift. From format 2 on. */
  readonly embeddingProjection?: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly checks: readonly BundleCheck[];
  /** Path inside the bundle (forward slashes) -> SHA-256, sorted by path. */
  readonly files: Readonly<Record<string, string>>;
}

export const manifestFile = "bundle.json";
/** When, where and by whom. */
export const provenanceFile = "provenance.json";
/** The model card. */
export const cardFile = "README.md";
/** What it said about each picture of its validation split, one JSON line each: sha256, label and predicted. For comparing models. */
export const validationFile = "validation.jsonl";
/**
 * Outside the bundle's digest: a card learns how the model did on the test split, and stays a card of it; what is said about single
 * pictures stays with the training and the registry, and a release goes without.
 */
export const unsealedFiles: readonly string[] = [cardFile, provenanceFile, validationFile];
export const modelFile = "model.onnx";
export const weightsFile = "weights.safetensors";
/** The newest format that this version reads and writes. */
const newestFormatVersion = 2;
/** The keys that format 2 brought. */
const keysOfFormat2 = ["backbone", "outlierScore", "embeddingProjection"] as const;

/** What a model may be called: it becomes a folder name, an address and a metric label. */
export const modelNamePattern = "^[a-z0-9][a-z0-9._-]{0,62}$";

const strict = { additionalProperties: false } as const;
// The largest side keeps a damaged or hostile manifest from asking for gigabytes of pixels.
const side = (): TSchema => Type.Integer({ minimum: 1, maximum: 4096 });
const share = (): TSchema => Type.Number({ minimum: 0, maximum: 1 });
const strategies = ["head", "finetune"] as const;
const fits = ["squash", "crop", "pad"] as const satisfies readonly Fit[];
const kernels = ["nearest", "linear", "cubic", "mitchell", "lanczos2", "lanczos3"] as const satisfies readonly Kernel[];

/** bundle.json as JSON Schema; keys in the order in which they are written. */
const properties = {
  formatVersion: Type.Enum([1, newestFormatVersion]),
  name: Type.String({ pattern: modelNamePattern }),
  labels: Type.Array(Type.String({ minLength: 1 }), { minItems: 2, maxItems: 65_535 }),
  preprocess: Type.Object(
    {
      orient: Type.Boolean(),
      width: side(),
      height: side(),
      fit: Type.Enum([...fits]),
      kernel: Type.Enum([...kernels]),
      crop: Type.Union([Type.Null(), Type.Object({ width: side(), height: side() }, strict)]),
    },
    strict,
  ),
  abstainBelow: Type.Union([Type.Null(), Type.Number({ minimum: 0, maximum: 1 })]),
  metrics: Type.Record(Type.String(), Type.Number()),
  reference: Type.Record(Type.String(), Type.Unknown()),
  dataVersion: Type.String(),
  split: Type.Optional(
    Type.Object(
      {
        seed: Type.Integer(),
        shares: Type.Object({ train: share(), val: share(), test: share() }, strict),
        dedupe: Type.Boolean(),
      },
      strict,
    ),
  ),
  paramsHash: Type.String(),
  init: Type.Optional(Type.String({ pattern: "^[0-9a-f]{64}$" })),
  backbone: Type.Optional(
    Type.Object({ name: Type.String(), digest: Type.String({ pattern: "^[0-9a-f]{64}$" }), strategy: Type.Enum([...strategies]) }, strict),
  ),
  outlierScore: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  embeddingProjection: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  seed: Type.Integer(),
  checks: Type.Array(
    Type.Object(
      {
        file: Type.String(),
        probabilities: Type.Array(Type.Number({ minimum: 0, maximum: 1 })),
        tolerance: Type.Number({ exclusiveMinimum: 0, maximum: 1 }),
      },
      strict,
    ),
  ),
  files: Type.Record(Type.String(), Type.String({ pattern: "^[0-9a-f]{64}$" })),
} satisfies Record<keyof BundleManifest, TSchema>;

const manifestSchema: TSchema = Type.Object(properties, strict);

/** The oldest format that holds all that `manifest` says, so that older services can read what they could read before. */
export function formatVersionOf(manifest: Omit<BundleManifest, "files" | "formatVersion">): 1 | 2 {
  return keysOfFormat2.some((key) => manifest[key] !== undefined) ? 2 : 1;
}

/** The bytes of bundle.json: keys in fixed order, records inside sorted, so that equal content has an equal digest. */
export function encodeManifest(manifest: BundleManifest): string {
  const { preprocess, checks, split, backbone } = manifest;
  const ordered = {
    ...manifest,
    preprocess: pick(preprocess, Object.keys(properties.preprocess.properties)),
    ...(split && { split: { seed: split.seed, shares: pick(split.shares, ["train", "val", "test"]), dedupe: split.dedupe } }),
    ...(backbone && { backbone: pick(backbone, ["name", "digest", "strategy"]) }),
    checks: checks.map((check) => pick(check, ["file", "probabilities", "tolerance"])),
    metrics: sortKeys(manifest.metrics),
    reference: sortKeys(manifest.reference),
    files: sortKeys(manifest.files),
  };
  return `${JSON.stringify(pick(ordered, Object.keys(properties)), null, 2)}\n`;
}

function pick(value: object, keys: readonly string[]): Record<string, unknown> {
  const record = value as Record<string, unknown>;
  return Object.fromEntries(keys.map((key) => [key, record[key]]));
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, child]) => [key, sortKeys(child)]));
}

/**
 * Reads the text of a bundle.json. `path` is named in messages. Throws E_BUNDLE_CORRUPT where it is not JSON, has another
 * format version, misses or adds a key, or says something that cannot be (a crop larger than the picture, two equal labels).
 */
export function parseManifest(text: string, path: string): BundleManifest {
  const fail = (message: string, cause?: unknown): never => {
    throw new ServalError("E_BUNDLE_CORRUPT", `${path}: ${message}`, { cause, details: { file: path } });
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    fail(text.trim() === "" ? "the file is empty." : `not valid JSON: ${(error as Error).message}.`, error);
  }
  const version = (value as { formatVersion?: unknown } | null)?.formatVersion;
  if (Number.isSafeInteger(version) && (version as number) > newestFormatVersion) {
    throw new ServalError(
      "E_BUNDLE_NEWER",
      `${path}: the bundle has format ${String(version)}; this version of Serval reads the formats 1 to ${newestFormatVersion}.`,
      { details: { file: path } },
    );
  }
  if (version !== 1 && version !== newestFormatVersion) {
    fail(`expected formatVersion 1 to ${newestFormatVersion}, got ${version === undefined ? "none" : JSON.stringify(version)}.`);
  }
  const [problem] = Errors(manifestSchema, value);
  if (problem) {
    const where = problem.instancePath.slice(1).replaceAll("/", ".");
    fail(`${where === "" ? "" : `${where}: `}${problem.message}${describeParams(problem.params)}.`);
  }
  const contradiction = findContradiction(value as BundleManifest);
  if (contradiction !== undefined) fail(contradiction);
  return value as BundleManifest;
}

function describeParams(params: object): string {
  const values = Object.values(params)
    .flat()
    .filter((item) => typeof item === "string" && !item.startsWith("^"));
  return values.length > 0 ? ` (${values.join(", ")})` : "";
}

/** What a schema cannot say. */
function findContradiction(manifest: BundleManifest): string | undefined {
  const { labels, preprocess, checks, files, formatVersion } = manifest;
  const newer = keysOfFormat2.find((key) => manifest[key] !== undefined);
  if (formatVersion === 1 && newer !== undefined) return `${newer}: expected formatVersion 2, got 1.`;
  if (new Set(labels).size !== labels.length) return `labels: expected each label once, got ${JSON.stringify(labels)}.`;
  if (labels.some((label) => label.trim() === "")) return "labels: a label is blank.";
  const { crop, width, height } = preprocess;
  if (crop && (crop.width > width || crop.height > height)) {
    return `preprocess.crop: expected at most ${width}x${height}, got ${crop.width}x${crop.height}.`;
  }
  const paths = Object.keys(files);
  const unsafe = paths.find((path) => !isBundlePath(path));
  if (unsafe !== undefined) return `files: ${JSON.stringify(unsafe)} is not a path inside the bundle.`;
  if (!paths.includes(modelFile)) return `files: ${modelFile} is not among them.`;
  for (const [i, check] of checks.entries()) {
    if (!paths.includes(check.file)) return `checks.${i}.file: ${JSON.stringify(check.file)} is not among the files.`;
    if (check.probabilities.length !== labels.length) {
      return `checks.${i}.probabilities: expected ${labels.length}, one for each label, got ${check.probabilities.length}.`;
    }
    const sum = check.probabilities.reduce((total, p) => total + p, 0);
    if (Math.abs(sum - 1) > 1e-3) return `checks.${i}.probabilities: expected a sum of 1, got ${sum}.`;
  }
  return undefined;
}

/** Also not one of the two files that are not in `files`. */
function isBundlePath(path: string): boolean {
  return isSafePath(path) && path !== manifestFile && path !== provenanceFile;
}
