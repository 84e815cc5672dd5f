import type { BundleManifest } from "../model/bundle.ts";
import {
  embeddingSize,
  placeInSpace,
  randomSigns,
  scoreMethod,
  unitRows,
  type FeatureSpace,
  type Pooling,
  type ProjectionRecord,
  type ScoreRecord,
} from "../model/feature-space.ts";
import { encodeSafetensors, float16Safetensor, float32Safetensor, type Safetensor } from "../model/safetensors.ts";

export interface FeatureSpaceInput {
  readonly channels: number;
  readonly pooling: Pooling;
  /** Features [count, channels] of training pictures: the neighbours. */
  readonly training: Float32Array;
  /** The same of validation pictures, which choose the threshold and are the reference. */
  readonly validation: Float32Array;
}

/** What a bundle gets of it: keys of bundle.json, and the bytes of `featureSpaceFile`. */
export interface FittedFeatureSpace {
  readonly manifest: Pick<BundleManifest, "outlierScore" | "embeddingProjection">;
  readonly file: Uint8Array;
}

/** Training pictures that a score is fitted on, at most; docs/notes/outliers.md has other numbers of them and of k. */
export const mostNeighbours = 500;
const k = 5;
/** Share of the validation pictures that are not called unknown inputs. */
const keptShare = 0.98;
/** With fewer validation pictures, no threshold can keep that share. */
const fewestValidation = 50;
/** Pictures that those of a service are compared with, at most. */
const mostReferences = 2000;
const projectionSeed = 32;

/** Fits projection and outlier score; undefined where the features are the same for all pictures, or are not numbers. */
export function fitFeatureSpace({ channels, pooling, training, validation }: FeatureSpaceInput): FittedFeatureSpace | undefined {
  const count = validation.length / channels;
  const centre = columnMeans(training, channels);
  const variance = training.reduce((sum, value, at) => sum + (value - (centre[at % channels] as number)) ** 2, 0) / training.length;
  if (!(variance > 0 && Number.isFinite(variance))) return undefined;

  // As it is stored.
  const stored = Float32Array.from(Float16Array.from(unitRows(training, channels)));
  const projection: ProjectionRecord = {
    size: embeddingSize,
    seed: projectionSeed,
    channels,
    pooling,
    // The standard deviation of a sum of the channels with random signs.
    scale: Math.sqrt(channels * variance),
  };
  const space: FeatureSpace = {
    channels,
    pooling,
    centre,
    signs: randomSigns(projectionSeed, channels),
    scale: projection.scale,
    outliers: count < fewestValidation ? null : { neighbours: unitRows(stored, channels), k, threshold: Infinity },
  };
  const places = Array.from({ length: count }, (_, r) => placeInSpace(space, validation.subarray(r * channels, (r + 1) * channels)));
  const references = evenlySpaced(count, mostReferences).map((r) => places[r] as (typeof places)[number]);
  const embeddings = Float32Array.from(references.flatMap(({ embedding }) => [...embedding]));
  const tensors: Record<string, Safetensor> = {
    centre: float32Safetensor([channels], centre),
    "reference.embeddings": float16Safetensor([references.length, embeddingSize], embeddings),
  };
  if (space.outliers === null) return { manifest: { embeddingProjection: { ...projection } }, file: encodeSafetensors(tensors) };

  const neighbours = training.length / channels;
  const scores = places.map(({ outlierScore }) => outlierScore as number);
  const record: ScoreRecord = { method: scoreMethod, k, neighbours, threshold: keepingThreshold(scores, keptShare) };
  const referenceScores = Float32Array.from(references, ({ outlierScore }) => outlierScore as number);
  return {
    manifest: { outlierScore: { ...record }, embeddingProjection: { ...projection } },
    file: encodeSafetensors({
      ...tensors,
      neighbours: float16Safetensor([neighbours, channels], stored),
      "reference.scores": float32Safetensor([referenceScores.length], referenceScores),
    }),
  };
}

/** The lowest score at and below which that share of them lies. */
export function keepingThreshold(scores: readonly number[], share: number): number {
  const sorted = Float64Array.from(scores).sort();
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Infinity;
}

/** At most `most` of the numbers from 0 to count - 1. */
export function evenlySpaced(count: number, most: number): number[] {
  const length = Math.min(count, most);
  return Array.from({ length }, (_, k) => Math.floor((k * count) / length));
}

function columnMeans(values: Float32Array, columns: number): Float32Array {
  const sums = new Float64Array(columns);
  for (let at = 0; at < values.length; at++) sums[at % columns] = (sums[at % columns] as number) + (values[at] as number);
  return Float32Array.from(sums, (sum) => (sum * columns) / values.length);
}
