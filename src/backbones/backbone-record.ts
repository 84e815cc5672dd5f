import { readFile } from "node:fs/promises";
import { join } from "node:path";
import Type, { type TSchema } from "typebox";
import { Errors } from "typebox/value";
import { ServalError } from "../errors/serval-error.ts";

export const backboneFile = "backbone.json";
export const backboneNamePattern = "^[a-z0-9][a-z0-9._-]{0,62}$";
/** Where the weights of a network that Serval knows lie. */
export const networkWeightsFile = "weights.safetensors";
/** Where a network of another writer lies. */
export const onnxWeightsFile = "model.onnx";
const backboneFormatVersion = 1;

/** How an ONNX file takes pictures and gives features. */
export interface OnnxFeatures {
  readonly input: string;
  readonly layout: "NCHW" | "NHWC";
  readonly dtype: "float32" | "float16";
  readonly output: string;
  /**
   * maps, [N,C,h,w] or [N,h,w,C] as the layout says, are averaged over h and w; of tokens [N,T,C] the first one, the class token, is
   * taken; a vector [N,C] is taken as it is.
   */
  readonly kind: "maps" | "tokens" | "vector";
  readonly channels: number;
  /** Side in pixels of the pictures. */
  readonly side: number;
}

/** backbone.json. */
export interface BackboneRecord {
  readonly formatVersion: 1;
  readonly name: string;
  /** The network of Serval that the weights belong to; there is either this or `onnx`. */
  readonly architecture?: string;
  readonly onnx?: OnnxFeatures;
  /** Mean and standard deviation of the colours in [0,1], where they are not those of the architecture. */
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly licence: string;
  /** Where the weights come from. */
  readonly origin: string;
  /** SHA-256 of each file. */
  readonly files: Readonly<Record<string, string>>;
}

const strict = { additionalProperties: false } as const;
const text = (): TSchema => Type.String({ minLength: 1 });
const colours = (minimum: number): TSchema => Type.Array(Type.Number({ minimum, maximum: 1000 }), { minItems: 3, maxItems: 3 });

const properties = {
  formatVersion: Type.Literal(backboneFormatVersion),
  name: Type.String({ pattern: backboneNamePattern }),
  architecture: Type.Optional(Type.String()),
  onnx: Type.Optional(
    Type.Object(
      {
        input: text(),
        layout: Type.Enum(["NCHW", "NHWC"]),
        dtype: Type.Enum(["float32", "float16"]),
        output: text(),
        kind: Type.Enum(["maps", "tokens", "vector"]),
        channels: Type.Integer({ minimum: 1, maximum: 65_535 }),
        side: Type.Integer({ minimum: 1, maximum: 4096 }),
      },
      strict,
    ),
  ),
  mean: Type.Optional(colours(-1000)),
  std: Type.Optional(colours(1e-6)),
  licence: text(),
  origin: text(),
  files: Type.Record(Type.String(), Type.String({ pattern: "^[0-9a-f]{64}$" })),
} satisfies Record<keyof BackboneRecord, TSchema>;

const recordSchema: TSchema = Type.Object(properties, strict);

/** Reads the record in a backbone's folder. Throws E_BACKBONE_CORRUPT. */
export async function readRecord(dir: string): Promise<BackboneRecord> {
  const path = join(dir, backboneFile);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw corruptBackbone(path, `is not valid JSON: ${(error as Error).message}`, error);
  }
  const version = (value as { formatVersion?: unknown } | null)?.formatVersion;
  if (version !== backboneFormatVersion) {
    throw corruptBackbone(
      path,
      `has formatVersion ${JSON.stringify(version) ?? "none"}; this version of Serval reads ${backboneFormatVersion}`,
    );
  }
  const [problem] = Errors(recordSchema, value);
  if (problem) throw corruptBackbone(path, `${problem.instancePath.slice(1).replaceAll("/", ".") || "the record"}: ${problem.message}`);
  const record = value as BackboneRecord;
  if ((record.architecture === undefined) === (record.onnx === undefined)) {
    throw corruptBackbone(path, "has to name either an architecture or an onnx network");
  }
  if (record.onnx && !(record.mean && record.std)) throw corruptBackbone(path, "names an onnx network, but no mean and std of its colours");
  return record;
}

/** The text of backbone.json: keys in fixed order, so that equal records have equal bytes. */
export function encodeRecord(record: BackboneRecord): string {
  const keys = Object.keys(properties) as (keyof BackboneRecord)[];
  return `${JSON.stringify(Object.fromEntries(keys.map((key) => [key, record[key]])), null, 2)}\n`;
}

export function corruptBackbone(path: string, what: string, cause?: unknown): ServalError {
  return new ServalError("E_BACKBONE_CORRUPT", `${path} ${what}.`, { cause, details: { file: path } });
}
