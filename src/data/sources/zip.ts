import { basename } from "node:path";
import { pipeline, Transform, type Readable } from "node:stream";
import { crc32, createInflateRaw } from "node:zlib";
import yauzl, { type Entry, type ZipFile } from "yauzl";
import { ServalError } from "../../errors/serval-error.ts";
import { layoutOf, placed, type LabelOptions, type Source, type SourceEntry } from "./source.ts";
import { archiveError, defaultZipLimits, notAZip, overlap, readDirectory, type ZipItem, type ZipLimits } from "./zip-directory.ts";
import { openZipReader, type ZipReader } from "./zip-reader.ts";

export interface ZipOptions extends LabelOptions {
  readonly limits?: ZipLimits;
  readonly id?: string;
  readonly title?: string;
  /** How names are written that are not UTF-8, by its name in the Encoding standard: gbk, shift_jis, … */
  readonly encoding?: string | undefined;
}

/**
 * Opens a zip without unpacking it. The whole directory is checked before an entry is handed out, so a refused archive
 * leaves nothing behind; what an entry really holds is counted again while it is read. Throws E_ARCHIVE_*, E_SOURCE_EMPTY, E_USAGE.
 */
export async function openZip(path: string, options: ZipOptions = {}): Promise<Source> {
  const limits = options.limits ?? defaultZipLimits;
  const title = options.title ?? basename(path);
  const { reader, sizeBytes } = await openZipReader(path);
  try {
    const zip = await openDirectory(reader, sizeBytes, title);
    const { items, folders, hidden, remarks } = await readDirectory(zip, title, sizeBytes, limits, options.encoding);
    const names = items.filter(({ fault }) => fault === undefined).map(({ name }) => name);
    const layout = layoutOf(title, { names, folders, hidden, labelsFrom: options.labelsFrom });
    return {
      id: options.id ?? `zip:${title}`,
      title,
      count: items.length,
      tree: layout.tree,
      remarks: [...remarks, ...layout.remarks],
      ...(layout.hint !== undefined && { hint: layout.hint }),
      async *entries(): AsyncGenerator<SourceEntry> {
        for (const item of items) {
          const { name, entry, fault } = item;
          yield {
            name,
            ...placed(name, layout),
            ...(fault && { fault }),
            version: `${entry.uncompressedSize}-${entry.crc32.toString(16).padStart(8, "0")}`,
            sizeBytes: entry.uncompressedSize,
            open: () => openEntry(zip, reader, title, item),
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

/** The directory of an archive, whose entries can be read once, one after the other. Throws E_ARCHIVE_CORRUPT. */
export async function openDirectory(reader: ZipReader, sizeBytes: number, title: string): Promise<ZipFile> {
  return await yauzl
    .fromRandomAccessReaderPromise(reader, sizeBytes, {
      lazyEntries: true,
      autoClose: false,
      decodeStrings: false,
      validateEntrySizes: true,
    })
    .catch(async (error: unknown) => {
      throw notAZip(title, await reader.range(0, Math.min(1024, sizeBytes)), error);
    });
}

/** Opens one entry; the bytes that really come out are held against the declared size and checksum. Throws E_ARCHIVE_*. */
export async function openEntry(zip: ZipFile, reader: ZipReader, title: string, { name, entry, end }: ZipItem): Promise<Readable> {
  const where = `"${name}" in "${title}"`;
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
