import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { readIfThere, statIfThere } from "../files.ts";
import type { Fit, Kernel } from "../image/preprocess.ts";
import { isSafePath } from "../safe-path.ts";
import { manifestName } from "./manifest.ts";
import { splitNames, type Split, type SplitRecipe } from "./split.ts";

export interface ShardFile {
  readonly name: string;
  readonly rows: number;
  readonly sha256: string;
}

/** What makes the shards what they are; equal recipes and data versions give equal shards. */
export interface ShardRecipe extends SplitRecipe {
  readonly width: number;
  readonly height: number;
  readonly fit: Fit;
  readonly kernel: Kernel;
  readonly orient: boolean;
}

/** The recipe alone, in the order in which recipes are compared. */
export function recipeOf(options: ShardRecipe): ShardRecipe {
  const { width, height, fit, kernel, orient, shares, seed, dedupe } = options;
  return { width, height, fit, kernel, orient, shares: { train: shares.train, val: shares.val, test: shares.test }, seed, dedupe };
}

/** A picture that is in data/raw and in no split, and why. */
export interface LeftOut {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

/** data/processed/index.json */
export interface ShardIndex extends ShardRecipe {
  readonly formatVersion: 1;
  /** Sorted; the index is the class. */
  readonly labels: readonly string[];
  /** SHA-256 of the manifest. */
  readonly dataVersion: string;
  readonly leftOut: readonly LeftOut[];
  readonly splits: Readonly<
    Record<Split, { readonly files: readonly ShardFile[]; readonly rows: readonly (readonly [sha256: string, label: string])[] }>
  >;
}

export const indexName = "index.json";

/** Reads index.json; E_SHARDS_MISSING where nothing was prepared, E_SHARDS_CORRUPT where it is not an index of ours. */
export async function readShardIndex(dir: string): Promise<ShardIndex> {
  const path = join(dir, indexName);
  const text = await readIfThere(path);
  if (text === undefined) {
    const isImported = (await statIfThere(join(dir, "../raw", manifestName))) !== undefined;
    const hint = isImported ? { hint: "Run `serval prepare`, then this command again." } : {};
    throw new ServalError("E_SHARDS_MISSING", `"${path}" does not exist.`, hint);
  }
  const corrupt = (reason: string, cause?: unknown): ServalError => new ServalError("E_SHARDS_CORRUPT", `"${path}" ${reason}.`, { cause });
  let index: Partial<ShardIndex> | null;
  try {
    index = JSON.parse(text) as typeof index;
  } catch (error) {
    throw corrupt("is not JSON", error);
  }
  if (index?.formatVersion !== 1) throw corrupt(`has formatVersion ${String(index?.formatVersion)}; expected 1`);
  const { width, height, labels, splits } = index;
  if (!isCount(width) || !isCount(height) || !Array.isArray(labels)) throw corrupt("lacks width, height or labels");
  for (const split of splitNames) {
    const part = splits?.[split];
    if (!Array.isArray(part?.rows) || !Array.isArray(part.files)) throw corrupt(`lacks the rows or files of ${split}`);
    const outside = part.files.find(({ name }) => !isSafePath(String(name)));
    if (outside !== undefined) throw corrupt(`lists ${JSON.stringify(outside.name)}, which is not a file in its folder`);
    const rows = part.files.reduce((sum, file) => sum + file.rows, 0);
    if (rows !== part.rows.length) throw corrupt(`lists ${part.rows.length} rows of ${split}, but its files hold ${rows}`);
  }
  return index as ShardIndex;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}
