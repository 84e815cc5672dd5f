import type { Bundle } from "../model/bundle.ts";
import type { ReferencePlaces } from "../model/feature-space.ts";
import type { BundleManifest } from "../model/manifest.ts";
import { describeVectors, type Moments } from "../statistics/mean-shift.ts";

/** Whose answers are looked at, and what they are compared with. */
export interface MonitoredModel {
  /** The registry's version, or else the short digest of the bundle: as its stored predictions say. */
  readonly version: string;
  readonly manifest: Pick<BundleManifest, "name" | "labels" | "metrics" | "reference">;
  /** Embeddings of validation pictures; null where the bundle has no projection. */
  readonly embeddings: Moments | null;
  /** How many of the validation pictures are unknown inputs; null where the bundle has no outlier score. */
  readonly unknown: { readonly above: number; readonly count: number; readonly of: number } | null;
}

/** What the monitor needs of a bundle. `places`: of its validation pictures. */
export function monitoredModel(version: string, { manifest }: Pick<Bundle, "manifest">, places: ReferencePlaces | null): MonitoredModel {
  const { name, labels, metrics, reference } = manifest;
  const above = manifest.outlierScore?.["threshold"];
  const scores = places?.outlierScores ?? new Float32Array();
  return {
    version,
    manifest: { name, labels, metrics, reference },
    embeddings: places === null || places.embeddings.length === 0 ? null : describeVectors(places.embeddings),
    unknown:
      typeof above !== "number" || scores.length === 0
        ? null
        : { above, count: scores.reduce((count, score) => count + (score > above ? 1 : 0), 0), of: scores.length },
  };
}
