import { join } from "node:path";
import { formatCsv } from "../../data/csv.ts";
import { writeFileAtomic } from "../../files.ts";
import { encodeThumbnail } from "../../image/render.ts";
import { qualityDir } from "../../paths.ts";
import { renderLabelsPage, type ShownPicture } from "../../quality/labels-page.ts";
import { findNearest } from "../../quality/nearest.ts";
import type { SuspectLabel } from "../../quality/wrong-labels.ts";
import type { CheckedSet } from "./held-out-answers.ts";

/** A label that is probably wrong, as it is printed and listed. */
export interface ListedSuspect {
  readonly path: string;
  readonly sha256: string;
  readonly label: string;
  readonly likelier: string;
  /** Probability of the label, 0 to 1. */
  readonly confidence: number;
  readonly likelierConfidence: number;
}

export interface LabelReport {
  /** Most suspect first. */
  readonly suspects: readonly ListedSuspect[];
  /** The page and the list, relative to the working folder. */
  readonly page: string;
  readonly list: string;
}

/** What a page can hold before it is too long to look at, and too large to open. */
const mostShown = 100;
const neighboursShown = 5;
const thumbnailSide = 220;

/** Writes the page with the first suspects, and the list of all of them that `serval data correct --from` reads. */
export async function writeLabelReport(
  cwd: string,
  { shards, pictures, features }: CheckedSet,
  found: readonly SuspectLabel[],
): Promise<LabelReport> {
  const suspects = found.map(({ row, likelier, confidence, likelierConfidence }): ListedSuspect => {
    const { path, sha256, label } = pictures[row]!.row;
    return { path, sha256, label, likelier: shards.labels[likelier] ?? "", confidence, likelierConfidence };
  });
  const show = async (row: number): Promise<ShownPicture> => {
    const { split, index, row: known } = pictures[row]!;
    const pixels = new Uint8Array(shards.width * shards.height * 3);
    shards.readRow(split, index, pixels, 0);
    return { path: known.path, label: known.label, jpeg: await encodeThumbnail(pixels, shards.width, shards.height, thumbnailSide) };
  };
  const first = found.slice(0, mostShown);
  const nearest = findNearest(
    features,
    first.map(({ row }) => row),
    neighboursShown,
  );
  const shown = [];
  for (const [k, { row }] of first.entries()) {
    const neighbours = await Promise.all(nearest[k]!.map(async (one) => await show(one.row)));
    shown.push({ ...(await show(row)), ...suspects[k]!, neighbours });
  }
  const [page, list] = [join(qualityDir, "labels.html"), join(qualityDir, "suspects.csv")];
  const { dataVersion } = shards;
  await writeFileAtomic(
    join(cwd, page),
    renderLabelsPage({ images: pictures.length, suspects: suspects.length, shown, dataVersion, list }),
  );
  const header = ["path", "sha256", "is", "confidence", "action", "label", "why"];
  const lines = suspects.map(({ path, sha256, label, confidence, likelier }) => [
    path,
    sha256,
    label,
    confidence.toFixed(4),
    "",
    likelier,
    "",
  ]);
  await writeFileAtomic(join(cwd, list), formatCsv([header, ...lines]));
  return { suspects, page, list };
}
