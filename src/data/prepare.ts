import { mkdir, readdir, rename, rm, statfs } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { ServalError, toServalError } from "../errors/serval-error.ts";
import { readBytesIfThere, sha256, writeFileAtomic } from "../files.ts";
import { type ImageLimits, defaultImageLimits } from "../image/check-image.ts";
import type { Preprocess } from "../image/preprocess.ts";
import { preprocessImage } from "../image/preprocess-image.ts";
import { readManifest, type ManifestRow } from "./manifest.ts";
import { mapOrdered } from "./map-ordered.ts";
import { indexName, readShardIndex, recipeOf, type ShardIndex, type ShardRecipe } from "./shard-index.ts";
import { ShardWriter } from "./shard-writer.ts";
import { checkFiles } from "./shards.ts";
import { planRows, type PlannedRow, type ShardPlan } from "./shard-plan.ts";
import { splitNames, type Split } from "./split.ts";

export interface PrepareOptions extends ShardRecipe {
  /** data/raw */
  readonly rawDir: string;
  /** data/processed */
  readonly outDir: string;
  /** Write the shards even where they are up to date. */
  readonly force?: boolean;
  readonly limits?: ImageLimits;
  /** For tests; see ShardWriter. */
  readonly maxShardBytes?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface PrepareReport {
  /** False when the shards were up to date. */
  readonly changed: boolean;
  readonly dataVersion: string;
  readonly images: number;
  /** Pictures by split and class. */
  readonly counts: Readonly<Record<Split, Readonly<Record<string, number>>>>;
  readonly leftOut: ShardIndex["leftOut"];
  readonly bytes: number;
  readonly seconds: number;
  readonly imagesPerSecond: number;
}

const partialName = ".partial";

/**
 * Decodes every picture of data/raw once into uint8 shards. New shards are written beside the old ones and take their
 * place when all are whole; until then, and after any failure, the old ones stay as they are. Rows are in the order of
 * their sha256, so that any first part of a split is a fair sample of it. Throws E_MANIFEST_*, E_LABEL_CONFLICT,
 * E_CLASS_TOO_SMALL, E_DATA_CHANGED, E_DISK_FULL; the signal's reason when aborted.
 */
export async function prepareShards(options: PrepareOptions): Promise<PrepareReport> {
  const startedAt = performance.now();
  const { rawDir, outDir } = options;
  const manifest = await readManifest(rawDir);
  const recipe = recipeOf(options);
  if (options.force !== true) {
    const current = await currentIndex(outDir);
    if (current !== undefined && isUpToDate(current, manifest.dataVersion, recipe)) return report(current, false, startedAt);
  }
  const plan = planRows(manifest.rows, recipe);
  const partial = join(outDir, partialName);
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    const index = await writeShards(partial, plan, manifest.dataVersion, recipe, options);
    await moveIntoPlace(partial, outDir, index);
    return report(index, true, startedAt);
  } catch (error) {
    // What was written makes room again before we ask how much there is.
    await rm(partial, { recursive: true, force: true });
    throw await explain(error, outDir, plan, recipe);
  }
}

/** The index on disk if its files are all there; anything else means that the shards have to be written. */
async function currentIndex(outDir: string): Promise<ShardIndex | undefined> {
  try {
    const index = await readShardIndex(outDir);
    await checkFiles(outDir, index);
    return index;
  } catch (error) {
    if (error instanceof ServalError) return undefined;
    throw error;
  }
}

function isUpToDate(index: ShardIndex, dataVersion: string, recipe: ShardRecipe): boolean {
  return index.dataVersion === dataVersion && JSON.stringify(recipeOf(index)) === JSON.stringify(recipe);
}

async function writeShards(
  dir: string,
  plan: ShardPlan,
  dataVersion: string,
  recipe: ShardRecipe,
  options: PrepareOptions,
): Promise<ShardIndex> {
  const rowBytes = recipe.width * recipe.height * 3;
  const writers = Object.fromEntries(
    splitNames.map((split) => [split, new ShardWriter(dir, split, rowBytes, options.maxShardBytes)]),
  ) as Record<Split, ShardWriter>;
  const all = splitNames.flatMap((split) => plan.splits[split]);
  const preprocess = {
    orient: recipe.orient,
    width: recipe.width,
    height: recipe.height,
    fit: recipe.fit,
    kernel: recipe.kernel,
    crop: null,
  };
  const limits = options.limits ?? defaultImageLimits;
  let done = 0;
  const decoded = mapOrdered(all, 2 * availableParallelism(), async (planned: PlannedRow) => ({
    split: planned.split,
    pixels: await decodePicture(options.rawDir, planned.row, preprocess, limits),
  }));
  try {
    for await (const { split, pixels } of decoded) {
      options.signal?.throwIfAborted();
      await writers[split].add(pixels);
      done++;
      options.onProgress?.(done, all.length);
    }
    for (const split of splitNames) await writers[split].finish();
  } finally {
    for (const split of splitNames) await writers[split].close();
  }
  const part = (split: Split): ShardIndex["splits"][Split] => ({
    files: writers[split].files,
    rows: plan.splits[split].map(({ row }) => [row.sha256, row.label] as const),
  });
  return {
    formatVersion: 1,
    ...recipe,
    labels: plan.labels,
    dataVersion,
    leftOut: plan.leftOut,
    splits: { train: part("train"), val: part("val"), test: part("test") },
  };
}

/** Import has decoded every picture once, so this fails only for what was on the edge of a limit then. */
async function decodePicture(rawDir: string, row: ManifestRow, preprocess: Preprocess, limits: ImageLimits): Promise<Uint8Array> {
  const bytes = await readPicture(rawDir, row);
  try {
    return await preprocessImage(bytes, preprocess, limits);
  } catch (error) {
    const { code, message } = toServalError(error);
    throw new ServalError(code, `"${join(rawDir, row.path)}": ${message}`, { cause: error });
  }
}

/** Reads a picture and holds it against the manifest: a model must not be trained on other data than it says. */
async function readPicture(rawDir: string, row: ManifestRow): Promise<Uint8Array> {
  const path = join(rawDir, row.path);
  const bytes = await readBytesIfThere(path);
  if (bytes === undefined) throw new ServalError("E_DATA_CHANGED", `"${path}" is in the manifest but not on disk.`);
  const actual = sha256(bytes);
  if (actual !== row.sha256) {
    throw new ServalError("E_DATA_CHANGED", `"${path}" has sha256 ${actual.slice(0, 12)}…; the manifest says ${row.sha256.slice(0, 12)}….`);
  }
  return bytes;
}

/**
 * Swaps the new shards in. The index is removed first and written last: a reader in between, even after a power cut, finds
 * no index rather than one that speaks of other files.
 */
async function moveIntoPlace(partial: string, outDir: string, index: ShardIndex): Promise<void> {
  const text = formatIndex(index);
  // On the disk before anything old goes, so that a full disk still leaves the old shards.
  await writeFileAtomic(join(partial, indexName), text);
  await rm(join(outDir, indexName), { force: true });
  const names = splitNames.flatMap((split) => index.splits[split].files.map((file) => file.name));
  for (const old of await readdir(outDir)) if (/^(train|val|test)-\d+\.bin$/.test(old) && !names.includes(old)) await rm(join(outDir, old));
  for (const name of names) await rename(join(partial, name), join(outDir, name));
  await rename(join(partial, indexName), join(outDir, indexName));
  await rm(partial, { recursive: true, force: true });
}

/** JSON with one row a line, so that two versions can be compared by eye. */
function formatIndex(index: ShardIndex): string {
  const { splits, ...head } = index;
  const parts = splitNames.map((split) => {
    const rows = splits[split].rows.map((row) => JSON.stringify(row)).join(",\n");
    return `"${split}": {"files": ${JSON.stringify(splits[split].files)}, "rows": [\n${rows}]}`;
  });
  return `${JSON.stringify(head, null, 1).replace(/\n\}$/, "")},\n "splits": {\n${parts.join(",\n")}}\n}\n`;
}

async function explain(error: unknown, outDir: string, plan: ShardPlan, recipe: ShardRecipe): Promise<unknown> {
  const failure = toServalError(error);
  if (failure.code !== "E_DISK_FULL") return error;
  const rows = splitNames.reduce((sum, split) => sum + plan.splits[split].length, 0);
  const needed = rows * recipe.width * recipe.height * 3;
  const disk = await statfs(outDir);
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  return new ServalError(
    "E_DISK_FULL",
    `The shards did not fit into "${outDir}": ${megabytes(needed)} are needed, ${megabytes(disk.bavail * disk.bsize)} are free (${failure.message}). What was there before is unchanged.`,
    { cause: error },
  );
}

function report(index: ShardIndex, changed: boolean, startedAt: number): PrepareReport {
  const seconds = (performance.now() - startedAt) / 1000;
  const images = splitNames.reduce((sum, split) => sum + index.splits[split].rows.length, 0);
  const count = (split: Split): Record<string, number> => {
    const counts = Object.fromEntries(index.labels.map((label) => [label, 0]));
    for (const [, label] of index.splits[split].rows) counts[label] = (counts[label] ?? 0) + 1;
    return counts;
  };
  return {
    changed,
    dataVersion: index.dataVersion,
    images,
    counts: { train: count("train"), val: count("val"), test: count("test") },
    leftOut: index.leftOut,
    bytes: images * index.width * index.height * 3,
    seconds,
    imagesPerSecond: images / seconds,
  };
}
