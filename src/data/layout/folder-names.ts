import type { Split } from "../split-names.ts";

const splitPattern =
  /^(?:(?:seg|img|imgs|image|images|data|dataset|my) )?(train|training|val|valid|validation|validate|dev|eval|evaluation|test|testing|pred|predict|prediction|predictions) ?(?:(?:set|data|dataset|folder|dir|split|images?|imgs?|pics?|pictures?|photos?|samples?|\d{1,2}|20\d\d) ?)*$/;

const splitOfWord: Readonly<Record<string, Split>> = {
  ...Object.fromEntries(["train", "training"].map((word) => [word, "train" as const])),
  ...Object.fromEntries(["val", "valid", "validation", "validate", "dev", "eval", "evaluation"].map((word) => [word, "val" as const])),
  ...Object.fromEntries(["test", "testing", "pred", "predict", "prediction", "predictions"].map((word) => [word, "test" as const])),
};

/** The split that a folder is named for (`train`, `test_set`, `Validation`, `seg_pred`, `test1`); undefined for other names. */
export function splitOf(folder: string): Split | undefined {
  const words = folder.toLowerCase().replaceAll(/[\s._-]+/g, " ");
  const word = splitPattern.exec(words.trim())?.[1];
  return word === undefined ? undefined : splitOfWord[word];
}

const plainNames = new Set([
  "image",
  "images",
  "img",
  "imgs",
  "picture",
  "pictures",
  "pic",
  "pics",
  "photo",
  "photos",
  "jpg",
  "jpeg",
  "jpegs",
  "png",
]);
const plainMore = new Set(["jpegimages", "frames", "data", "dataset", "files", "all", "raw", "unknown", "unlabeled", "unlabelled"]);

/** Whether a folder is called for what it holds and not for a class: `images`, `photos`, `unlabeled`. */
export function isPlainName(folder: string): boolean {
  const name = folder.toLowerCase().trim();
  return plainNames.has(name) || plainMore.has(name);
}

const besideNames =
  /^(?:docs?|documentation|readme|figures?|figs?|plots?|assets|screenshots?|thumbnails?|thumbs|previews?|covers?|extras?|misc|unsorted|temp|tmp|backups?|bak|junk|trash|inbox|examples?|samples?|demo|masks?|segmentations?|annotations?|bbox(?:es)?|labels?|ground[\s_-]?truth|gt)$/;

/** Whether a folder is called for what people put beside their classes: `docs`, `masks`, `screenshots`. */
export function isBesideName(folder: string): boolean {
  return besideNames.test(folder.toLowerCase().trim());
}

/** Whether a folder is called for a piece of a set that came in pieces: `batch1`, `part_2`, `fold-3`. */
export function isPartName(folder: string): boolean {
  return /^(?:batch|part|fold|shard|chunk|piece|set|session|split|round|download|dump|archive|volume|vol)[\s._-]?\d+$/i.test(folder.trim());
}

const toolFolders =
  /^\.(?:git|svn|hg|dvc|serval|cache|thumbnails?|trash.*|ipynb_checkpoints|apdisk|appledouble|fseventsd|spotlight-v100|temporaryitems|documentrevisions-v100|vscode|idea|venv|github)$/i;

/** A hidden folder that a tool made: passed over without a remark. */
export function isToolFolder(folder: string): boolean {
  return toolFolders.test(folder) || folder === "__MACOSX";
}
