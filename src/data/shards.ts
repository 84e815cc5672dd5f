import { closeSync, openSync, readSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { sha256File } from "../files.ts";
import { readShardIndex, type ShardIndex, type ShardRecipe } from "./shard-index.ts";
import { splitNames, type Split } from "./split.ts";

export type { Split } from "./split.ts";

export interface SplitRows {
  readonly count: number;
  /** Of the original file, by row. */
  readonly sha256: readonly string[];
  /** Index into `labels`, by row. */
  readonly classIndex: Uint16Array;
}

/** The prepared pictures: uint8 rows [height, width, 3]. */
export interface Shards extends ShardRecipe {
  readonly labels: readonly string[];
  readonly dataVersion: string;
  readonly splits: Readonly<Record<Split, SplitRows>>;
  /** Copies row `index` of a split (height * width * 3 bytes) into `target` at `offset`; synchronous. */
  readRow(split: Split, index: number, target: Uint8Array, offset: number): void;
  close(): void;
}

interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly firstRow: number;
  readonly rows: number;
}

/**
 * Opens data/processed. The sizes of all files are checked, and the SHA-256 of those of the splits in `verify`. Throws E_SHARDS_MISSING or
 * E_SHARDS_CORRUPT, which names the file.
 */
export async function openShards(dir: string, options: { verify?: readonly Split[] } = {}): Promise<Shards> {
  const index = await readShardIndex(dir);
  await checkFiles(dir, index, options.verify);
  const rowBytes = index.width * index.height * 3;
  const files: Record<Split, OpenFile[]> = { train: [], val: [], test: [] };
  const close = (): void => {
    for (const split of splitNames) for (const file of files[split].splice(0)) closeSync(file.fd);
  };
  try {
    for (const split of splitNames) {
      let firstRow = 0;
      for (const { name, rows } of index.splits[split].files) {
        const path = join(dir, name);
        files[split].push({ fd: openSync(path, "r"), path, firstRow, rows });
        firstRow += rows;
      }
    }
  } catch (error) {
    close();
    throw error;
  }
  const { width, height, fit, kernel, orient, shares, seed, dedupe, labels, dataVersion } = index;
  const splits = { train: splitRows(index, "train"), val: splitRows(index, "val"), test: splitRows(index, "test") };
  return {
    width,
    height,
    fit,
    kernel,
    orient,
    shares,
    seed,
    dedupe,
    labels,
    dataVersion,
    splits,
    readRow(split, row, target, offset) {
      const file = files[split].find((file) => row < file.firstRow + file.rows);
      if (file === undefined || row < 0) {
        throw new ServalError("E_SHARDS_CORRUPT", `Row ${row} of ${split} was asked for; it has ${splits[split].count}.`);
      }
      const read = readSync(file.fd, target, offset, rowBytes, (row - file.firstRow) * rowBytes);
      if (read !== rowBytes) throw new ServalError("E_SHARDS_CORRUPT", `"${file.path}" ends within row ${row - file.firstRow}.`);
    },
    close,
  };
}

function splitRows(index: ShardIndex, split: Split): SplitRows {
  const numbers = new Map(index.labels.map((label, i) => [label, i]));
  const { rows } = index.splits[split];
  const classIndex = Uint16Array.from(rows, ([, label]) => {
    const number = numbers.get(label);
    if (number === undefined)
      throw new ServalError("E_SHARDS_CORRUPT", `index.json has a row of ${split} labelled "${label}", which is not in its labels.`);
    return number;
  });
  return { count: rows.length, sha256: rows.map(([sha256]) => sha256), classIndex };
}

/** Checks that every file of the index is there and as long as it should be, and of the splits in `verify` that each byte is. */
export async function checkFiles(dir: string, index: ShardIndex, verify: readonly Split[] = []): Promise<void> {
  const rowBytes = index.width * index.height * 3;
  for (const split of splitNames) {
    for (const file of index.splits[split].files) {
      const path = join(dir, file.name);
      const size = (await stat(path).catch(() => undefined))?.size;
      if (size === undefined) throw new ServalError("E_SHARDS_CORRUPT", `"${path}" is missing.`);
      if (size !== file.rows * rowBytes) {
        throw new ServalError("E_SHARDS_CORRUPT", `"${path}" has ${size} bytes; expected ${file.rows} rows of ${rowBytes}.`);
      }
      if (verify.includes(split) && (await sha256File(path)) !== file.sha256)
        throw new ServalError("E_SHARDS_CORRUPT", `"${path}" does not match its sha256 in index.json.`);
    }
  }
}
