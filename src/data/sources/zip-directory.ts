import yauzl, { type Entry, type ZipFile } from "yauzl";
import { ServalError } from "../../errors/serval-error.ts";
import { nameFormat } from "../../image/name-format.ts";
import { isHidden } from "../layout/entry-names.ts";
import type { SourceEntry } from "./source.ts";
import { decodeNames } from "./zip-names.ts";

/** What a trustworthy archive of pictures stays below. Pictures are compressed already: their zip hardly shrinks. */
export interface ZipLimits {
  readonly maxEntries: number;
  /** Unpacked size of all entries together. */
  readonly maxTotalBytes: number;
  /** Unpacked size of one entry. */
  readonly maxEntryBytes: number;
  /** Unpacked over packed size; asked of the whole archive, and of single entries over 1 MiB. */
  readonly maxRatio: number;
}

export const defaultZipLimits: ZipLimits = {
  maxEntries: 2_000_000,
  maxTotalBytes: 64 * 2 ** 30,
  maxEntryBytes: 256 * 2 ** 20,
  maxRatio: 200,
};

const ratioFloorBytes = 1 << 20;
/** Without the name and the extra field (APPNOTE 4.3.7). */
const localHeaderBytes = 30;
/** Methods that are not read, by their number (APPNOTE 4.4.5). */
const methodNames: Readonly<Record<number, string>> = {
  1: "Shrink",
  6: "Implode",
  9: "Deflate64",
  12: "BZip2",
  14: "LZMA",
  20: "Zstandard",
  93: "Zstandard",
  95: "XZ",
  96: "JPEG",
  97: "WavPack",
  98: "PPMd",
};
const readMethods = new Set([0, 8]);
const aesMethod = 99;

export interface ZipItem {
  /** Unique: a second entry of one name has a number behind it. */
  readonly name: string;
  readonly entry: Entry;
  /** Where the next entry begins, in bytes: its own must end before that. */
  readonly end: number;
  readonly fault?: SourceEntry["fault"];
}

export interface ZipDirectory {
  readonly items: readonly ZipItem[];
  readonly folders: readonly string[];
  readonly hidden: readonly string[];
  readonly remarks: readonly string[];
}

/**
 * Reads and checks the whole directory: unsafe names and links are E_ARCHIVE_UNSAFE, declared sizes over a limit and entries that share bytes
 * E_ARCHIVE_LIMITS, an archive of which no entry can be read E_ARCHIVE_METHOD.
 */
export async function readDirectory(
  zip: ZipFile,
  title: string,
  archiveBytes: number,
  limits: ZipLimits,
  encoding: string | undefined,
): Promise<ZipDirectory> {
  const entries = await readEntries(zip, title, archiveBytes, limits);
  const { names, remark } = decodeNames(title, entries, encoding);
  for (const [i, entry] of entries.entries()) checkEntry(title, names[i]!, entry);
  const places = new Set<string>();
  const counts = new Map<string, number>();
  // One entry that is listed twice is one entry: its bytes are not shared with another.
  const listedAgain = new Set(
    entries.filter((entry, i) => {
      const place = `${entry.relativeOffsetOfLocalHeader} ${names[i]}`;
      return places.size === places.add(place).size;
    }),
  );
  const ends = findEnds(
    title,
    entries.filter((entry) => !listedAgain.has(entry)),
    new Map(entries.map((entry, i) => [entry, names[i]!])),
    archiveBytes,
  );
  const items: ZipItem[] = [];
  for (const [i, entry] of entries.entries()) {
    const name = names[i]!;
    if (name.endsWith("/") || isHidden(name)) continue;
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    const end = ends.get(entry) ?? archiveBytes;
    if (count === 1) items.push({ name, entry, end, ...unreadable(name, entry) });
    else items.push({ name: `${name} (${count})`, entry, end, fault: twice(title, name) });
  }
  refuseUnreadable(title, items);
  return {
    items,
    folders: [...new Set(names.filter((name) => name.endsWith("/")).map((name) => name.slice(0, -1)))],
    hidden: names.filter((name) => !name.endsWith("/") && isHidden(name)),
    remarks: remark === undefined ? [] : [remark],
  };
}

function twice(title: string, name: string): NonNullable<SourceEntry["fault"]> {
  return { code: "E_ARCHIVE_CORRUPT", message: `"${title}" holds "${name}" more than once: the first was taken, this one set aside.` };
}

/** Why the bytes of an entry cannot be had: it is encrypted, or packed by an unknown method. */
export function unreadable(name: string, entry: Entry): Pick<ZipItem, "fault"> {
  const reason = unreadableReason(entry);
  return reason === undefined ? {} : { fault: { code: "E_ARCHIVE_METHOD", message: `"${name}" ${reason}.` } };
}

function unreadableReason(entry: Entry): string | undefined {
  if (entry.isEncrypted() || entry.compressionMethod === aesMethod) return "is encrypted";
  const method = entry.compressionMethod;
  return readMethods.has(method) ? undefined : `is packed by the method ${methodNames[method] ?? "number"} (${method}), which is not read`;
}

/** Says it of the archive where it is so of all of it: nothing of it could be imported. */
function refuseUnreadable(title: string, items: readonly ZipItem[]): void {
  const reasons = new Set(items.map(({ entry, fault }) => (fault === undefined ? undefined : unreadableReason(entry))));
  if (items.length === 0 || reasons.has(undefined)) return;
  const reason = [...reasons].join(", and ");
  throw new ServalError("E_ARCHIVE_METHOD", `"${title}": each of its ${items.length} files ${reason}.`, {
    hint: reason.includes("encrypted")
      ? "Unpack it with its password, then import the folder."
      : "Unpack it and import the folder, or pack it again with the usual method (Deflate).",
  });
}

async function readEntries(zip: ZipFile, title: string, archiveBytes: number, limits: ZipLimits): Promise<Entry[]> {
  if (zip.entryCount > limits.maxEntries) {
    throw new ServalError("E_ARCHIVE_LIMITS", `"${title}" declares ${zip.entryCount} entries; at most ${limits.maxEntries} are read.`);
  }
  const entries: Entry[] = [];
  let total = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      checkSize(title, entry, limits);
      entries.push(entry);
      total += entry.uncompressedSize;
      if (total > limits.maxTotalBytes || (total > ratioFloorBytes && total > archiveBytes * limits.maxRatio)) {
        throw new ServalError(
          "E_ARCHIVE_LIMITS",
          `"${title}" has ${archiveBytes} bytes and declares more than ${total} unpacked; at most ${Math.min(limits.maxTotalBytes, archiveBytes * limits.maxRatio)} are read.`,
        );
      }
    }
  } catch (error) {
    throw archiveError(title, error);
  }
  return entries;
}

/**
 * Where each entry has to end: where the next one begins. Entries that share bytes make a small archive unpack to any size, and
 * no packer writes them (Fifield, "A better zip bomb", 2019). Throws E_ARCHIVE_LIMITS.
 */
function findEnds(title: string, entries: readonly Entry[], names: ReadonlyMap<Entry, string>, archiveBytes: number): Map<Entry, number> {
  const sorted = [...entries].sort((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader);
  return new Map(
    sorted.map((entry, i): [Entry, number] => {
      const next = sorted[i + 1];
      const end = next?.relativeOffsetOfLocalHeader ?? archiveBytes;
      // The header in front of the bytes may have a name of another length; only that header says how long it is.
      if (entry.relativeOffsetOfLocalHeader + localHeaderBytes + entry.compressedSize > end) {
        throw overlap(title, names.get(entry) ?? "", next && names.get(next));
      }
      return [entry, end];
    }),
  );
}

export function overlap(title: string, name: string, next?: string): ServalError {
  const other = next === undefined ? "what follows them" : `those of ${JSON.stringify(next)}`;
  return new ServalError("E_ARCHIVE_LIMITS", `"${title}": the bytes of ${JSON.stringify(name)} overlap with ${other}, as in a zip bomb.`);
}

function checkEntry(title: string, name: string, entry: Entry): void {
  const shown = JSON.stringify(name);
  // The upper half of the attributes is the Unix mode where the archive was made on Unix (APPNOTE 4.4.15).
  const fileType = (entry.externalFileAttributes >>> 16) & 0o170000;
  if (fileType !== 0 && fileType !== 0o100000 && fileType !== 0o040000) {
    throw new ServalError(
      "E_ARCHIVE_UNSAFE",
      `"${title}" holds ${shown}, which is a ${fileType === 0o120000 ? "symbolic link" : "device"}; expected files.`,
    );
  }
  if (name.includes("\0")) throw new ServalError("E_ARCHIVE_UNSAFE", `"${title}" holds ${shown}, a name with a zero byte.`);
  const fault = yauzl.validateFileName(name.replaceAll("\\", "/"));
  if (fault !== null) throw new ServalError("E_ARCHIVE_UNSAFE", `"${title}" holds an entry with an ${fault.replace(": ", ': "')}".`);
}

function checkSize(title: string, entry: Entry, limits: ZipLimits): void {
  // Not decoded yet, and shown as the format says.
  const name = (): string => JSON.stringify(yauzl.getFileNameLowLevel(entry.generalPurposeBitFlag, entry.fileNameRaw, [], false));
  const size = entry.uncompressedSize;
  if (size > limits.maxEntryBytes) {
    throw new ServalError("E_ARCHIVE_LIMITS", `"${title}" declares ${size} bytes for ${name()}; at most ${limits.maxEntryBytes} are read.`);
  }
  if (size > ratioFloorBytes && size > entry.compressedSize * limits.maxRatio) {
    throw new ServalError(
      "E_ARCHIVE_LIMITS",
      `"${title}" packs ${size} bytes of ${name()} into ${entry.compressedSize}; at most ${limits.maxRatio} times as many are read.`,
    );
  }
}

/** yauzl refuses damaged structures with plain errors; their text is the particular. */
export function archiveError(title: string, error: unknown, entry?: string): ServalError {
  if (error instanceof ServalError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (reason.includes("strong encryption")) {
    return new ServalError("E_ARCHIVE_METHOD", `"${title}" is encrypted.`, {
      hint: "Unpack it with its password, then import the folder.",
      cause: error,
    });
  }
  const where = entry === undefined ? `"${title}"` : `"${entry}" in "${title}"`;
  return new ServalError("E_ARCHIVE_CORRUPT", `${where} cannot be read: ${reason}.`, { cause: error });
}

/** What is called a zip and begins like something else that has a name: a web page, a RAR archive, a pointer. */
export function notAZip(title: string, start: Uint8Array, error: unknown): ServalError {
  const known = nameFormat(start);
  if (known === undefined || known.short === "zip") return archiveError(title, error);
  return new ServalError("E_ARCHIVE_CORRUPT", `"${title}" cannot be read: it is ${known.name}.`, { hint: known.remedy, cause: error });
}
