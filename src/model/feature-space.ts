import { readFile } from "node:fs/promises";
import { join } from "node:path";
import Type, { type TSchema } from "typebox";
import { Check } from "typebox/value";
import { ServalError } from "../errors/serval-error.ts";
import { Random } from "../random.ts";
import type { Bundle } from "./bundle.ts";
import { parseSafetensors, safetensorNumbers, type SafetensorsFile } from "./safetensors.ts";

/** What the classifier takes of each feature map: its mean, or the square root of that. A vector of features is taken as it is. */
export type Pooling = "mean" | "root";

/**
 * Distance to the k-th nearest of some training pictures, after all features were scaled to the length 1 (Sun et al. 2022,
 * arXiv:2204.06507): 0 for the same direction, the root of 2 for features that have nothing in common.
 */
export interface OutlierScore {
  /** Features of training pictures, each of length 1: [pictures, channels]. */
  readonly neighbours: Float32Array;
  readonly k: number;
  /** Pictures with a higher score are unknown inputs. */
  readonly threshold: number;
}

/** What a bundle knows about the features of pictures. */
export interface FeatureSpace {
  readonly channels: number;
  readonly pooling: Pooling;
  /** Mean of the training pictures, [channels]. */
  readonly centre: Float32Array;
  /** [embeddingSize, channels] of 1 and -1: the projection. */
  readonly signs: Float32Array;
  /** Embeddings of validation pictures are about 1 in size when divided by it. */
  readonly scale: number;
  /** Null: there were too few pictures to choose a threshold. */
  readonly outliers: OutlierScore | null;
}

/** Where a picture lies in it. */
export interface PlaceInSpace {
  readonly outlierScore: number | null;
  /** [embeddingSize] */
  readonly embedding: Float32Array;
}

/** Validation pictures, which the model did not learn from: what the pictures of a service are compared with. */
export interface ReferencePlaces {
  /** [embeddingSize] each. */
  readonly embeddings: readonly Float32Array[];
  /** Empty where the bundle has no score. */
  readonly outlierScores: Float32Array;
}

export const embeddingSize = 32;
/** The file of a bundle that has the numbers. */
export const featureSpaceFile = "feature-space.safetensors";
export const scoreMethod = "nearest-neighbours";

/** What bundle.json says of the score; the numbers are in `featureSpaceFile`. */
export interface ScoreRecord {
  readonly method: typeof scoreMethod;
  readonly k: number;
  readonly neighbours: number;
  readonly threshold: number;
}

/** What bundle.json says of the projection. */
export interface ProjectionRecord {
  readonly size: typeof embeddingSize;
  readonly seed: number;
  readonly channels: number;
  readonly pooling: Pooling;
  readonly scale: number;
}

const scoreSchema = Type.Object({
  method: Type.Literal(scoreMethod),
  k: Type.Integer({ minimum: 1, maximum: 100 }),
  neighbours: Type.Integer({ minimum: 1, maximum: 10_000 }),
  threshold: Type.Number({ minimum: 0 }),
} satisfies Record<keyof ScoreRecord, TSchema>);
const projectionSchema = Type.Object({
  size: Type.Literal(embeddingSize),
  seed: Type.Integer({ minimum: 0 }),
  channels: Type.Integer({ minimum: 1, maximum: 65_536 }),
  pooling: Type.Enum(["mean", "root"]),
  scale: Type.Number({ exclusiveMinimum: 0 }),
} satisfies Record<keyof ProjectionRecord, TSchema>);

/**
 * Reads what a bundle knows about features; null for a bundle of an earlier version. A score or a projection that a later version
 * computes in another way is passed over. Throws E_BUNDLE_CORRUPT where the numbers do not fit together.
 */
export async function readFeatureSpace({ dir, manifest }: Pick<Bundle, "dir" | "manifest">): Promise<FeatureSpace | null> {
  const { outlierScore, embeddingProjection: projection } = manifest;
  if (!Check(projectionSchema, projection)) return null;
  const { channels, pooling, scale, seed } = projection;
  const read = await openNumbers(dir);
  const score = Check(scoreSchema, outlierScore) ? outlierScore : undefined;
  return {
    channels,
    pooling,
    centre: read("centre", channels),
    signs: randomSigns(seed, channels),
    scale,
    outliers: score
      ? { neighbours: unitRows(read("neighbours", score.neighbours * channels), channels), k: score.k, threshold: score.threshold }
      : null,
  };
}

/** Null for a bundle without a projection. Throws E_BUNDLE_CORRUPT. */
export async function readReferencePlaces({ dir, manifest }: Pick<Bundle, "dir" | "manifest">): Promise<ReferencePlaces | null> {
  if (!Check(projectionSchema, manifest.embeddingProjection)) return null;
  const read = await openNumbers(dir);
  const values = read("reference.embeddings");
  const embeddings = Array.from({ length: values.length / embeddingSize }, (_, k) =>
    values.subarray(k * embeddingSize, (k + 1) * embeddingSize),
  );
  return {
    embeddings,
    outlierScores: Check(scoreSchema, manifest.outlierScore) ? read("reference.scores", embeddings.length) : new Float32Array(),
  };
}

async function openNumbers(dir: string): Promise<(name: string, length?: number) => Float32Array> {
  const path = join(dir, featureSpaceFile);
  let file: SafetensorsFile;
  try {
    file = parseSafetensors(await readFile(path));
  } catch (error) {
    throw new ServalError("E_BUNDLE_CORRUPT", `${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  return (name, length) => {
    const tensor = file.tensors[name];
    const numbers = tensor && safetensorNumbers(name, tensor);
    if (numbers === undefined || (length !== undefined && numbers.length !== length)) {
      throw new ServalError(
        "E_BUNDLE_CORRUPT",
        `${path}: expected ${length ?? "some"} numbers "${name}", got ${numbers?.length ?? "none"}.`,
      );
    }
    return numbers;
  };
}

/** From whole random numbers alone: the same on every machine. */
export function randomSigns(seed: number, channels: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: embeddingSize * channels }, () => (random.next() >>> 31 === 0 ? 1 : -1));
}

/** Rows [count, channels] scaled to the length 1. */
export function unitRows(rows: Float32Array, channels: number): Float32Array {
  const units = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += channels) {
    const row = rows.subarray(start, start + channels);
    const length = lengthOf(row);
    units.set(
      row.map((value) => value / length),
      start,
    );
  }
  return units;
}

/** Where a picture lies whose features are maps [channels, places], or a vector [channels]. */
export function placeInSpace(space: FeatureSpace, features: Float32Array): PlaceInSpace {
  const row = poolFeatures(features, space.channels, space.pooling);
  return { outlierScore: space.outliers && scoreOutlier(space.outliers, row), embedding: embed(space, row) };
}

/** One number a channel, as the classifier takes them. */
export function poolFeatures(features: Float32Array, channels: number, pooling: Pooling): Float32Array {
  const places = features.length / channels;
  if (places === 1) return features;
  const row = new Float32Array(channels);
  for (let c = 0, at = 0; c < channels; c++) {
    let sum = 0;
    for (const end = at + places; at < end; at++) sum += features[at] as number;
    row[c] = pooling === "root" ? Math.sqrt(Math.max(0, sum / places)) : sum / places;
  }
  return row;
}

/** The score of a row of features [channels], from 0 to 2. */
export function scoreOutlier({ neighbours, k }: OutlierScore, row: Float32Array): number {
  const length = lengthOf(row);
  // The largest cosines so far: the smallest of them first.
  const nearest = new Float64Array(Math.min(k, neighbours.length / row.length)).fill(-1);
  for (const product of productsWith(neighbours, row)) {
    const cosine = product / length;
    if (cosine <= (nearest[0] as number)) continue;
    nearest[0] = cosine;
    nearest.sort();
  }
  return Math.sqrt(Math.max(0, 2 - 2 * (nearest[0] as number)));
}

function embed({ centre, signs, scale }: FeatureSpace, row: Float32Array): Float32Array {
  const moved = row.map((value, c) => value - (centre[c] as number));
  return Float32Array.from(productsWith(signs, moved), (product) => product / scale);
}

/** Features that are all 0 have no direction: a small length keeps their score a number. */
function lengthOf(row: Float32Array): number {
  return Math.max(1e-12, Math.sqrt(row.reduce((sum, value) => sum + value * value, 0)));
}

/** A matrix [count, row.length] times a row. Four rows at a time: one sum alone would wait for itself. */
function productsWith(matrix: Float32Array, row: Float32Array): Float64Array {
  const columns = row.length;
  const products = new Float64Array(matrix.length / columns);
  // Beyond the last row it reads numbers that are not there, and their sums are not kept.
  for (let k = 0; k < products.length; k += 4) {
    const first = k * columns;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let i = 0, at = first; i < columns; i++, at++) {
      const value = row[i] as number;
      a += value * (matrix[at] as number);
      b += value * (matrix[at + columns] as number);
      c += value * (matrix[at + 2 * columns] as number);
      d += value * (matrix[at + 3 * columns] as number);
    }
    products[k] = a;
    products[k + 1] = b;
    products[k + 2] = c;
    products[k + 3] = d;
  }
  return products;
}
