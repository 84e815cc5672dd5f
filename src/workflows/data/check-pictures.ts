import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { readCorrections } from "../../data/corrections.ts";
import { formatCsv } from "../../data/csv.ts";
import { openShards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { writeFileAtomic } from "../../files.ts";
import { encodeThumbnail } from "../../image/render.ts";
import { correctionsFile, qualityDir, shardsDir } from "../../paths.ts";
import { findDefects, measureLook, type Defect } from "../../quality/looks.ts";
import { renderPicturesPage } from "../../quality/pictures-page.ts";
import { guardFolders } from "../guard-folders.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { readPictures } from "./held-out-answers.ts";

/** A picture that is hard to see anything on. */
export interface PoorPicture {
  readonly path: string;
  readonly sha256: string;
  readonly label: string;
  readonly defects: readonly Defect[];
}

export interface PictureCheck {
  readonly images: number;
  readonly found: readonly PoorPicture[];
  /** Pictures that are not listed, because a correction says `keep`. */
  readonly kept: number;
  /** The page and the list, relative to the working folder. */
  readonly page: string;
  readonly list: string;
}

const mostShown = 200;
const thumbnailSide = 150;
/** The signal is heard, and progress shown, after this number of pictures. */
const picturesPerTurn = 50;

/** Finds dark, bright, flat and blurred pictures, as they are in the shards. Writes a page and a list. Throws E_SHARDS_MISSING. */
export async function checkPictures({ cwd, reporter = silentReporter, signal }: UseCaseOptions): Promise<PictureCheck> {
  await guardFolders(cwd, [], [qualityDir]);
  const shards = await openShards(join(cwd, shardsDir));
  const { width, height } = shards;
  try {
    const pictures = await readPictures(cwd, shards);
    const pixels = new Uint8Array(width * height * 3);
    const progress = reporter.progress("Checking pictures", pictures.length, "images");
    const looks = [];
    for (const [k, { split, index }] of pictures.entries()) {
      shards.readRow(split, index, pixels, 0);
      looks.push(measureLook(pixels, width, height));
      if (k % picturesPerTurn !== 0) continue;
      await setImmediate();
      if (signal?.aborted === true) throw new ServalError("E_INTERRUPTED", "Stopped by a signal.");
      progress.update(k);
    }
    progress.end();
    const { keeps } = await readCorrections(join(cwd, correctionsFile));
    const all = findDefects(looks).flatMap((defects, k) => (defects.length === 0 ? [] : [{ ...pictures[k]!, defects }]));
    const listed = all.filter(({ row }) => !keeps.has(row.sha256));
    const shown = [];
    for (const { split, index, row, defects } of listed.slice(0, mostShown)) {
      shards.readRow(split, index, pixels, 0);
      shown.push({ path: row.path, label: row.label, defects, jpeg: await encodeThumbnail(pixels, width, height, thumbnailSide) });
    }
    const [page, list] = [join(qualityDir, "pictures.html"), join(qualityDir, "pictures.csv")];
    await writeFileAtomic(join(cwd, page), renderPicturesPage({ images: pictures.length, found: listed.length, shown, list }));
    const header = ["path", "sha256", "is", "defects", "action", "label", "why"];
    const lines = listed.map(({ row, defects }) => [row.path, row.sha256, row.label, defects.join(" "), "", "", defects.join(" ")]);
    await writeFileAtomic(join(cwd, list), formatCsv([header, ...lines]));
    const found = listed.map(({ row: { path, sha256, label }, defects }) => ({ path, sha256, label, defects }));
    return { images: pictures.length, found, kept: all.length - listed.length, page, list };
  } finally {
    shards.close();
  }
}
