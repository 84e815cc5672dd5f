import { createReadStream } from "node:fs";
import { realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isHidden, isPictureName } from "../../data/layout/entry-names.ts";
import { readCsvRecords } from "../../data/sources/csv-records.ts";
import { readEntry } from "../../data/sources/source.ts";
import { walkEntries } from "../../data/sources/walk-folder.ts";
import { ZipStream } from "../../data/sources/zip-stream.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { statIfThere } from "../../files.ts";
import { isPattern, matchPictures } from "../model/find-pictures.ts";
import { readLines } from "../read-lines.ts";
import type { PictureReader } from "./picture-reader.ts";
import type { ListedPicture, PictureSource } from "./picture-source.ts";

export interface OpenPicturesOptions {
  /** Paths are relative to it. */
  readonly cwd: string;
  /** Column of a CSV file that has the paths. Default: the one that is called path, file, filename, image, url or uri. */
  readonly column?: string | undefined;
  readonly maxBytes: number;
  readonly reader: PictureReader;
}

/** Links may multiply folders without end. */
const mostEntries = 100_000_000;
const pathColumns = ["path", "file", "filename", "file_name", "image", "url", "uri"];

/**
 * Opens what a user calls a source of pictures: a folder, a pattern, a zip, a text file with a path on each line, a CSV file with a column of
 * paths or addresses, or s3://BUCKET/PREFIX. Throws E_FILE_NOT_FOUND, E_SOURCE, E_ARCHIVE_*, E_REMOTE_*, E_USAGE.
 */
export async function openPictures(name: string, options: OpenPicturesOptions): Promise<PictureSource> {
  const { cwd, column } = options;
  const isCsv = /\.[ct]sv$/i.test(name);
  if (column !== undefined && !isCsv) throw new ServalError("E_USAGE", `--column is for a CSV file; "${name}" is not called like one.`);
  if (name.startsWith("s3://")) return await openBucket(name, options);
  if (await isPattern(cwd, name)) return await openPattern(name, options);
  const path = resolve(cwd, name);
  const there = await statIfThere(path);
  if (there === undefined) throw new ServalError("E_FILE_NOT_FOUND", `"${name}" does not exist.`);
  if (there.isDirectory()) return await openFolder(name, options);
  const id = `${name} ${there.size} ${Math.round(there.mtimeMs)}`;
  if (/\.zip$/i.test(name)) return await openZip(path, id, options);
  if (isCsv) return listed(column === undefined ? id : `${id} ${column}`, options, () => readColumn(name, path, column));
  if (/\.(txt|lst|list)$/i.test(name)) return listed(id, options, () => readLines(name, createReadStream(path)));
  throw new ServalError("E_SOURCE", `"${name}" is not a folder, a pattern, a .zip, a .csv or a .txt file, or s3://BUCKET/PREFIX.`, {
    hint: isPictureName(name)
      ? `Run \`serval predict ${name}\`.`
      : "Name the folder of the pictures, or a list of their paths that ends in .txt.",
  });
}

async function openFolder(name: string, { cwd, reader }: OpenPicturesOptions): Promise<PictureSource> {
  const root = await realpath(resolve(cwd, name));
  return {
    id: name,
    compare: compareSteps,
    isFar: false,
    async *pictures() {
      for await (const entry of walkEntries(root, [root], mostEntries)) {
        if (isHidden(entry.name)) continue;
        const path = join(name, entry.name);
        if ("reason" in entry) yield refused(path, new ServalError("E_PATH_LINK", `${path} ${entry.reason}.`));
        else if (!entry.isFolder && isPictureName(entry.name)) yield { name: path, read: async () => await reader.read(path) };
      }
    },
    close: async () => {},
  };
}

/** Folders are listed by name, each in its place among the files beside it. */
function compareSteps(a: string, b: string): number {
  const [left, right] = [a, b].map((path) => path.split(/[\\/]/)) as [string[], string[]];
  for (const [i, step] of left.entries()) {
    const other = right[i];
    if (other === undefined) return 1;
    if (step !== other) return step < other ? -1 : 1;
  }
  return left.length - right.length;
}

async function openPattern(pattern: string, { cwd, reader }: OpenPicturesOptions): Promise<PictureSource> {
  return {
    id: pattern,
    compare: (a, b) => (a < b ? -1 : a === b ? 0 : 1),
    isFar: false,
    async *pictures() {
      for (const name of await matchPictures(cwd, pattern)) yield { name, read: async () => await reader.read(name) };
    },
    close: async () => {},
  };
}

async function openZip(path: string, id: string, { maxBytes }: OpenPicturesOptions): Promise<PictureSource> {
  const zip = await ZipStream.open(path);
  return {
    id,
    isFar: false,
    async *pictures() {
      for await (const entry of zip.entries()) {
        const { name, fault } = entry;
        if (!isPictureName(name)) continue;
        if (fault !== undefined) yield refused(name, new ServalError(fault.code, fault.message));
        // A copy: the bytes are a part of what was read ahead.
        else yield { name, read: async () => new Uint8Array(await readEntry(entry, maxBytes)) };
      }
    },
    close: async () => await zip.close(),
  };
}

async function openBucket(url: string, { reader }: OpenPicturesOptions): Promise<PictureSource> {
  if (!/^s3:\/\/[^/]+/.test(url)) throw new ServalError("E_SOURCE", `Expected s3://BUCKET/PREFIX, got "${url}".`);
  const bucket = await reader.bucket(url);
  return {
    id: url,
    compare: (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)),
    isFar: true,
    async *pictures() {
      for await (const { name } of bucket.list()) {
        if (isPictureName(name) && !isHidden(name)) yield { name, read: async () => await reader.read(name) };
      }
    },
    close: async () => {},
  };
}

function listed(id: string, { reader }: OpenPicturesOptions, names: () => AsyncIterable<string>): PictureSource {
  return {
    id,
    isFar: true,
    async *pictures() {
      for await (const name of names()) {
        if (name === "") yield refused(name, new ServalError("E_FILE_NOT_FOUND", "The list has no path in this row."));
        else yield { name, read: async () => await reader.read(name) };
      }
    },
    close: async () => {},
  };
}

function refused(name: string, error: ServalError): ListedPicture {
  return { name, read: async () => await Promise.reject(error) };
}

/** The cells of one column, without the spaces around them. */
async function* readColumn(title: string, path: string, column: string | undefined): AsyncGenerator<string, void, undefined> {
  let at: number | undefined;
  for await (const { cells } of readCsvRecords(title, createReadStream(path))) {
    if (at === undefined) at = findColumn(title, cells, column);
    else yield (cells[at] ?? "").trim();
  }
}

function findColumn(title: string, head: readonly string[], column: string | undefined): number {
  const names = head.map((name) => name.trim());
  const wanted = column === undefined ? pathColumns : [column];
  const at = names.findIndex((name) => wanted.includes(column === undefined ? name.toLowerCase() : name));
  if (at >= 0) return at;
  const expected = column === undefined ? `one of ${pathColumns.join(", ")}` : `"${column}"`;
  throw new ServalError("E_USAGE", `"${title}": expected a column called ${expected}, got ${names.join(", ")}.`, {
    hint: "Name the column of the paths or addresses with --column.",
  });
}
