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
  readonly #sizeBytes: number;
  #block: Buffer = Buffer.alloc(0);
  #blockStart = 0;

  constructor(fd: number, sizeBytes: number) {
    super();
    this.#fd = fd;
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
    return new Promise((resolve, reject) => {
      read(this.#fd, target, offset, target.length - offset, position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    });
  }
}

export async function openZipReader(path: string): Promise<{ reader: ZipReader; sizeBytes: number }> {
  const fd = await fdOpen(path, "r");
  const { size } = await fdStat(fd);
  return { reader: new ZipReader(fd, size), sizeBytes: size };
}
