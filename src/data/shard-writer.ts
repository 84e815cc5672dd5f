import { createHash, type Hash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { ShardFile } from "./shard-index.ts";
import type { Split } from "./split.ts";

/** Small enough for any object store and FAT, large enough that a set has few files. */
const maxShardBytes = 256_000_000;

const bufferBytes = 4 << 20;

/** Writes the rows of one split into `SPLIT-NNNNN.bin` files, each synced when it is full. */
export class ShardWriter {
  readonly files: ShardFile[] = [];
  readonly #dir: string;
  readonly #split: Split;
  readonly #rowsPerFile: number;
  readonly #buffer: Uint8Array;
  #filled = 0;
  #file: { handle: FileHandle; name: string; hash: Hash; rows: number } | undefined;

  constructor(dir: string, split: Split, rowBytes: number, maxBytes: number = maxShardBytes) {
    this.#dir = dir;
    this.#split = split;
    this.#rowsPerFile = Math.max(1, Math.floor(maxBytes / rowBytes));
    this.#buffer = new Uint8Array(Math.max(rowBytes, bufferBytes));
  }

  async add(row: Uint8Array): Promise<void> {
    this.#file ??= await this.#openNext();
    if (this.#filled + row.byteLength > this.#buffer.byteLength) await this.#writeBuffer();
    this.#buffer.set(row, this.#filled);
    this.#filled += row.byteLength;
    this.#file.hash.update(row);
    if (++this.#file.rows === this.#rowsPerFile) await this.finish();
  }

  /** Completes the current file; call it once more after the last row. */
  async finish(): Promise<void> {
    if (this.#file === undefined) return;
    await this.#writeBuffer();
    const { handle, name, hash, rows } = this.#file;
    await handle.sync();
    await this.close();
    this.files.push({ name, rows, sha256: hash.digest("hex") });
  }

  /** Lets go of the current file without completing it. */
  async close(): Promise<void> {
    const handle = this.#file?.handle;
    this.#file = undefined;
    await handle?.close();
  }

  async #openNext(): Promise<{ handle: FileHandle; name: string; hash: Hash; rows: number }> {
    const name = `${this.#split}-${String(this.files.length).padStart(5, "0")}.bin`;
    return { handle: await open(join(this.#dir, name), "wx"), name, hash: createHash("sha256"), rows: 0 };
  }

  async #writeBuffer(): Promise<void> {
    let start = 0;
    while (start < this.#filled) start += (await this.#file!.handle.write(this.#buffer, start, this.#filled - start)).bytesWritten;
    this.#filled = 0;
  }
}
