import { close, fstat, open, read } from "node:fs";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { RandomAccessReader } from "yauzl";

const blockBytes = 1 << 20;
const chunkBytes = 1 << 18;
const fdOpen = promisify(open);
const fdStat = promisify(fstat);
const fdClose = promisify(close);

/** Random access to an archive with a read-ahead: its directory is tens of thousands of reads of some fifty bytes. */
export class ZipReader extends RandomAccessReader {
  readonly #fd: number;
  readonly #start: number;
  readonly #sizeBytes: number;
  #block: Buffer = Buffer.alloc(0);
  #blockStart = 0;

  /** `startByte` is where the archive begins in the file, `sizeBytes` how long it is from there. */
  constructor(fd: number, startByte: number, sizeBytes: number) {
    super();
    this.#fd = fd;
    this.#start = startByte;
    this.#sizeBytes = sizeBytes;
  }

  override read(buffer: Buffer, offset: number, length: number, position: number, callback: (error: Error | null) => void): void {
    void this.#fill(buffer, offset, length, position, callback);
  }

  async #fill(buffer: Buffer, offset: number, length: number, position: number, done: (error: Error | null) => void): Promise<void> {
    let failure: Error | null = null;
    try {
      const bytes = await this.range(position, position + length);
      if (bytes.length < length) failure = new RangeError("unexpected end of the file");
      else bytes.copy(buffer, offset);
    } catch (error) {
      failure = error as Error;
    }
    done(failure);
  }

  /** Bytes [start, end), fewer at the end of the file. */
  async range(start: number, end: number): Promise<Buffer> {
    const cached = this.#cached(start, end);
    if (cached !== undefined) return cached;
    const length = Math.max(end - start, Math.min(blockBytes, this.#sizeBytes - start));
    const block = Buffer.allocUnsafe(Math.max(0, length));
    let filled = 0;
    while (filled < block.length) {
      const count = await this.#readAt(block, filled, start + filled);
      if (count === 0) break;
      filled += count;
    }
    this.#block = block.subarray(0, filled);
    this.#blockStart = start;
    return this.#block.subarray(0, Math.min(filled, end - start));
  }

  /** Bytes [start, end) as a stream; small ranges come from the read-ahead. */
  async stream(start: number, end: number): Promise<Readable> {
    if (end - start <= blockBytes) return Readable.from([await this.range(start, end)]);
    // Not a ReadStream: one that is destroyed, as behind a damaged entry, closes the file that the other entries are read from.
    return Readable.from(this.#chunks(start, end), { objectMode: false });
  }

  async *#chunks(start: number, end: number): AsyncGenerator<Buffer> {
    for (let at = start; at < end;) {
      const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, end - at));
      const count = await this.#readAt(chunk, 0, at);
      if (count === 0) return;
      yield chunk.subarray(0, count);
      at += count;
    }
  }

  async closeFile(): Promise<void> {
    await fdClose(this.#fd);
  }

  #cached(start: number, end: number): Buffer | undefined {
    const from = start - this.#blockStart;
    return from >= 0 && end <= this.#blockStart + this.#block.length ? this.#block.subarray(from, end - this.#blockStart) : undefined;
  }

  #readAt(target: Buffer, offset: number, position: number): Promise<number> {
    const length = Math.max(0, Math.min(target.length - offset, this.#sizeBytes - position));
    return new Promise((resolve, reject) => {
      read(this.#fd, target, offset, length, this.#start + position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    });
  }
}

/** Opens a file and finds the archive in it. */
export async function openZipReader(path: string): Promise<{ reader: ZipReader; sizeBytes: number }> {
  const fd = await fdOpen(path, "r");
  const { size } = await fdStat(fd);
  try {
    const { start, end } = await findArchive(new ZipReader(fd, 0, size), size);
    return { reader: new ZipReader(fd, start, end - start), sizeBytes: end - start };
  } catch (error) {
    await fdClose(fd);
    throw error;
  }
}

const endRecordBytes = 22;
const locatorBytes = 20;
const wideRecordBytes = 56;
const [endRecord, locator, wideRecord, directoryEntry] = [0x06054b50, 0x07064b50, 0x06064b50, 0x02014b50];

/**
 * Where an archive lies in a file (APPNOTE 4.3.14 to 4.3.16). Programs that unpack themselves put bytes before it, and downloads get some behind
 * it; offsets in it count from its first byte. What is not found is left to the reader, which says so.
 */
async function findArchive(file: ZipReader, sizeBytes: number): Promise<{ start: number; end: number }> {
  const whole = { start: 0, end: sizeBytes };
  const tailStart = Math.max(0, sizeBytes - 0xffff - endRecordBytes - locatorBytes - wideRecordBytes);
  // A copy: the reader's own block is overwritten by the next read.
  const tail = Buffer.from(await file.range(tailStart, sizeBytes));
  for (let at = tail.length - endRecordBytes; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== endRecord) continue;
    const end = tailStart + at + endRecordBytes + tail.readUInt16LE(at + 20);
    if (end > sizeBytes) continue;
    const { directory, start } = locateDirectory(tail, at, tailStart);
    if (start === 0) return { start, end };
    const first = start > 0 ? await file.range(directory, directory + 4) : Buffer.alloc(0);
    if (first.length === 4 && first.readUInt32LE(0) === directoryEntry) return { start, end };
    // The distance means something else, as where a signature lies behind the directory.
    return { start: 0, end };
  }
  return whole;
}

/** Where the directory should begin in the file, and by how much all offsets of the archive are too small. */
function locateDirectory(tail: Buffer, at: number, tailStart: number): { directory: number; start: number } {
  const wideAt = at - locatorBytes - wideRecordBytes;
  const isWide = wideAt >= 0 && tail.readUInt32LE(at - locatorBytes) === locator && tail.readUInt32LE(wideAt) === wideRecord;
  const recordAt = tailStart + (isWide ? wideAt : at);
  const bytes = isWide ? Number(tail.readBigUInt64LE(wideAt + 40)) : tail.readUInt32LE(at + 12);
  const offset = isWide ? Number(tail.readBigUInt64LE(wideAt + 48)) : tail.readUInt32LE(at + 16);
  const directory = recordAt - bytes;
  return { directory, start: directory - offset };
}
