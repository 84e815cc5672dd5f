import { basename } from "node:path";
import { pipeline, Transform, type Readable } from "node:stream";
import { crc32, createInflateRaw } from "node:zlib";
import yauzl, { type Entry, type ZipFile } from "yauzl";
import { ServalError } from "../../errors/serval-error.ts";
import { classLayout, isHidden } from "../layout.ts";
import type { Source, SourceEntry } from "./source.ts";
import { openZipReader, type ZipReader } from "./zip-reader.ts";

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

/**
 * Opens a zip without unpacking it. The whole directory is checked before an entry is handed out, so a refused archive
 * leaves nothing behind: unsafe names and links are E_ARCHIVE_UNSAFE, declared sizes over a limit and entries that share bytes
 * E_ARCHIVE_LIMITS; what an entry really holds is counted again while it is read.
 */
export async function openZip(path: string, options: { limits?: ZipLimits; id?: string; title?: string } = {}): Promise<Source> {
  const limits = options.limits ?? defaultZipLimits;
  const title = options.title ?? basename(path);
  const { reader, sizeBytes } = await openZipReader(path);
  try {
    const zip = await yauzl
      .fromRandomAccessReaderPromise(reader, sizeBytes, {
        lazyEntries: true,
        autoClose: false,
        strictFileNames: false,
        validateEntrySizes: true,
      })
      .catch((error: unknown) => {
        throw archiveError(title, error);
      });
    const files = await readDirectory(zip, title, sizeBytes, limits);
    const place = classLayout(files.map((file) => file.name));
    return {
      id: options.id ?? `zip:${title}`,
      title,
      count: files.length,
      async *entries(): AsyncGenerator<SourceEntry> {
        for (const { name, entry, end } of files) {
          const placement = place(name);
          yield {
            name,
            label: placement?.label,
            path: placement && `${placement.label}/${placement.rest}`,
            version: `${entry.uncompressedSize}-${entry.crc32.toString(16).padStart(8, "0")}`,
            sizeBytes: entry.uncompressedSize,
            open: () => openEntry(zip, reader, title, { name, entry, end }),
          };
        }
      },
      close: () => reader.closeFile(),
    };
  } catch (error) {
    await reader.closeFile();
    throw error;
  }
}

interface ZipItem {
  readonly name: string;
  readonly entry: Entry;
  /** Where the next entry begins, in bytes: its own must end before that. */
  readonly end: number;
}

async function readDirectory(zip: ZipFile, title: string, archiveBytes: number, limits: ZipLimits): Promise<ZipItem[]> {
  if (zip.entryCount > limits.maxEntries) {
    throw new ServalError("E_ARCHIVE_LIMITS", `"${title}" declares ${zip.entryCount} entries; at most ${limits.maxEntries} are read.`);
  }
  const entries: Entry[] = [];
  const files: Omit<ZipItem, "end">[] = [];
  const names = new Set<string>();
  let total = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      checkEntry(title, entry, limits);
      entries.push(entry);
      total += entry.uncompressedSize;
      if (total > limits.maxTotalBytes || (total > ratioFloorBytes && total > archiveBytes * limits.maxRatio)) {
        throw new ServalError(
          "E_ARCHIVE_LIMITS",
          `"${title}" has ${archiveBytes} bytes and declares more than ${total} unpacked; at most ${Math.min(limits.maxTotalBytes, archiveBytes * limits.maxRatio)} are read.`,
        );
      }
      const name = entry.fileName.normalize("NFC");
      if (name.endsWith("/") || isHidden(name)) continue;
      if (names.has(name)) throw new ServalError("E_ARCHIVE_CORRUPT", `"${title}" holds "${name}" twice.`);
      names.add(name);
      files.push({ name, entry });
    }
  } catch (error) {
    throw archiveError(title, error);
  }
  const ends = findEnds(title, entries, archiveBytes);
  return files.map((file) => ({ ...file, end: ends.get(file.entry) ?? archiveBytes }));
}

/**
 * Where each entry has to end: where the next one begins. Entries that share bytes make a small archive unpack to any size, and
 * no packer writes them (Fifield, "A better zip bomb", 2019). Throws E_ARCHIVE_LIMITS.
 */
function findEnds(title: string, entries: readonly Entry[], archiveBytes: number): Map<Entry, number> {
  const sorted = [...entries].sort((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader);
  return new Map(
    sorted.map((entry, i): [Entry, number] => {
      const next = sorted[i + 1];
      const end = next?.relativeOffsetOfLocalHeader ?? archiveBytes;
      // The header in front of the bytes has a name of its own length; how long it is stands there alone.
      if (entry.relativeOffsetOfLocalHeader + localHeaderBytes + entry.compressedSize > end) throw overlap(title, entry.fileName, next);
      return [entry, end];
    }),
  );
}

function overlap(title: string, name: string, next?: Entry): ServalError {
  const other = next === undefined ? "what follows them" : `those of ${JSON.stringify(next.fileName)}`;
  return new ServalError("E_ARCHIVE_LIMITS", `"${title}": the bytes of ${JSON.stringify(name)} overlap with ${other}, as in a zip bomb.`);
}

function checkEntry(title: string, entry: Entry, limits: ZipLimits): void {
  const name = JSON.stringify(entry.fileName);
  // The upper half of the attributes is the Unix mode where the archive was made on Unix (APPNOTE 4.4.15).
  const fileType = (entry.externalFileAttributes >>> 16) & 0o170000;
  if (fileType !== 0 && fileType !== 0o100000 && fileType !== 0o040000) {
    throw new ServalError(
      "E_ARCHIVE_UNSAFE",
      `"${title}" holds ${name}, which is a ${fileType === 0o120000 ? "symbolic link" : "device"}; expected files.`,
    );
  }
  if (entry.fileName.includes("\0")) throw new ServalError("E_ARCHIVE_UNSAFE", `"${title}" holds ${name}, a name with a zero byte.`);
  const size = entry.uncompressedSize;
  if (size > limits.maxEntryBytes) {
    throw new ServalError("E_ARCHIVE_LIMITS", `"${title}" declares ${size} bytes for ${name}; at most ${limits.maxEntryBytes} are read.`);
  }
  if (size > ratioFloorBytes && size > entry.compressedSize * limits.maxRatio) {
    throw new ServalError(
      "E_ARCHIVE_LIMITS",
      `"${title}" packs ${size} bytes of ${name} into ${entry.compressedSize}; at most ${limits.maxRatio} times as many are read.`,
    );
  }
}

/** Opens one entry; the bytes that really come out are held against the declared size and checksum. */
async function openEntry(zip: ZipFile, reader: ZipReader, title: string, { name, entry, end }: ZipItem): Promise<Readable> {
  const where = `"${name}" in "${title}"`;
  if (!entry.canDecodeFileData())
    throw new ServalError("E_ARCHIVE_CORRUPT", `${where} is encrypted or packed by a method that is not read.`);
  try {
    const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
    if (fileDataStart + entry.compressedSize > end) throw overlap(title, name);
    const packed = await reader.stream(fileDataStart, fileDataStart + entry.compressedSize);
    const content = checkContent(where, entry);
    // The consumer of the last stream sees every error: of the packed bytes as one of the archive, of the disk as it is.
    const fail = (error?: NodeJS.ErrnoException | null): void => {
      if (error) content.destroy(error.code?.startsWith("Z_") === true ? archiveError(title, error, name) : error);
    };
    const unpacked = entry.isCompressed() ? pipeline(packed, createInflateRaw(), fail) : packed.once("error", fail);
    unpacked.pipe(content);
    return content.once("close", () => packed.destroy());
  } catch (error) {
    throw archiveError(title, error, name);
  }
}

function checkContent(where: string, entry: Entry): Transform {
  let checksum = 0;
  let size = 0;
  const corrupt = (reason: string): ServalError => new ServalError("E_ARCHIVE_CORRUPT", `${where} ${reason}.`);
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.byteLength;
      checksum = crc32(chunk, checksum);
      if (size > entry.uncompressedSize) done(corrupt(`holds more than the ${entry.uncompressedSize} bytes that it declares`));
      else done(null, chunk);
    },
    flush(done) {
      if (size < entry.uncompressedSize) done(corrupt(`holds ${size} bytes and declares ${entry.uncompressedSize}`));
      else done(checksum === entry.crc32 ? null : corrupt("does not match its checksum"));
    },
  });
}

/** yauzl refuses unsafe names and damaged structures with plain errors; their text is the particular. */
function archiveError(title: string, error: unknown, entry?: string): ServalError {
  if (error instanceof ServalError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (/^(absolute path|invalid relative path|invalid characters in fileName)/.test(reason)) {
    return new ServalError("E_ARCHIVE_UNSAFE", `"${title}" holds an entry with an ${reason.replace(": ", ': "')}".`, { cause: error });
  }
  const where = entry === undefined ? `"${title}"` : `"${entry}" in "${title}"`;
  return new ServalError("E_ARCHIVE_CORRUPT", `${where} cannot be read: ${reason}.`, { cause: error });
}
