import type { ImageStatistics } from "../image/statistics.ts";
import type { Distribution } from "../statistics/distribution.ts";
import type { BundleManifest } from "./manifest.ts";

/** What the model's world looked like when it was trained; a service compares what it sees with this to notice drift. */
export interface Reference {
  readonly formatVersion: 1;
  /** Training images, in the size and crop that the model sees. */
  readonly images: { readonly count: number } & Readonly<Record<keyof ImageStatistics, Distribution>>;
  /** Share of each label among the training images. */
  readonly labels: Readonly<Record<string, number>>;
  /** Answers on validation images: those it was not trained on. */
  readonly answers: {
    readonly count: number;
    /** Of the top label. */
    readonly confidence: Distribution;
    /** Share of each label among the answers. */
    readonly predicted: Readonly<Record<string, number>>;
  };
}

/** The reference of a bundle; undefined where it has none that this version can read. */
export function readReference({ reference }: Pick<BundleManifest, "reference">): Reference | undefined {
  return reference["formatVersion"] === 1 ? (reference as unknown as Reference) : undefined;
}
