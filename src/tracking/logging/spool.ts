import { closeSync, ftruncateSync, openAsBlob, openSync, writeSync } from "node:fs";
import { constants, copyFile, lstat, mkdir, open, rm, writeFile, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isAbsent, readBytesIfThere, writeFileAtomic } from "../../files.ts";
import { isSafePath } from "../../safe-path.ts";
import type { DatasetInput } from "../client/tracking-client.ts";
import type { RunStatus } from "../client/wire.ts";

/** The first entry, and one more at each resume: what the server must know to find or make the run. */
export interface RunEntry {
  readonly type: "run";
  /** Address of the server that the run is for. */
  readonly server: string;
  readonly experiment: string;
  /** Our own name of the run, and of its folder; a tag finds it again on the server. */
  readonly run: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Of the process that writes: while it lives, no other sends the spool. */
  readonly host: string;
  readonly pid: number;
  /** Milliseconds since 1970, here and below. */
  readonly at: number;
}

export interface MetricsEntry {
  readonly type: "metrics";
  readonly at: number;
  readonly step: number;
  readonly metrics: Readonly<Record<string, number | string>>;
}

/** A model that the run made. Its files wait in the spool's folder of files, under `files` below `folder`. */
export interface ModelEntry {
  readonly type: "model";
  readonly at: number;
  readonly step: number;
  readonly name: string;
  /** Of the bundle: it finds the model again on the server. */
  readonly digest: string;
  /** Where the files lie on a server without logged models, and in the spool. */
  readonly folder: string;
  readonly files: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
  readonly metrics: Readonly<Record<string, number | string>>;
  /** An input of the run that the metrics were measured on. */
  readonly dataset: { readonly name: string; readonly digest: string };
}

/** One thing that was logged: a line of the spool. Times are those of logging, so that sending twice changes nothing. */
export type SpoolEntry =
  | RunEntry
  | MetricsEntry
  | ModelEntry
  | { readonly type: "params"; readonly params: Readonly<Record<string, string>> }
  | { readonly type: "tags"; readonly tags: Readonly<Record<string, string>> }
  | { readonly type: "input"; readonly input: DatasetInput }
  /** `path` is the place under the run; the bytes wait in the spool's folder of files under the same path. */
  | { readonly type: "artifact"; readonly path: string }
  | { readonly type: "end"; readonly at: number; readonly status: RunStatus };

export interface SpooledEntry {
  readonly entry: SpoolEntry;
  /** Where the next one begins, in bytes. */
  readonly next: number;
}

export const spoolFile = "tracking-spool.jsonl";
const filesFolder = "tracking-files";
/** What is read at a time: the memory that a run takes here however much of it waits. */
const chunkBytes = 1 << 18;

/**
 * What a run has logged and the server may not have yet, in the run's folder. Everything is written here first, so a
 * server that is down costs nothing, and what was logged survives the process; the file is the queue, and memory holds one
 * chunk of it. A spool that was delivered to its end is removed. Appends are synchronous: a few microseconds for a line of
 * a hundred bytes, and none can overtake another.
 */
export class Spool {
  readonly runDir: string;
  #size: number;
  #file: number | undefined;

  private constructor(runDir: string, size: number) {
    this.runDir = runDir;
    this.#size = size;
  }

  /** The spool of a run folder: what an earlier process left, or an empty one. */
  static async open(runDir: string): Promise<Spool> {
    const path = join(runDir, spoolFile);
    const bytes = (await readBytesIfThere(path)) ?? Buffer.alloc(0);
    const whole = wholeLines(bytes);
    if (whole.length < bytes.length) await writeFileAtomic(path, whole);
    return new Spool(runDir, whole.length);
  }

  /** Bytes that are written. */
  get size(): number {
    return this.#size;
  }

  append(entry: SpoolEntry): void {
    this.#file ??= openSync(join(this.runDir, spoolFile), "a");
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    try {
      for (let done = 0; done < line.length;) done += writeSync(this.#file, line, done);
      this.#size += line.length;
    } catch (error) {
      // Half a line would spoil the next one as well.
      ftruncateSync(this.#file, this.#size);
      throw error;
    }
  }

  /** The entries from byte `from` on, one chunk of them; none at the end. */
  async read(from: number): Promise<SpooledEntry[]> {
    if (from >= this.#size) return [];
    const file = await open(join(this.runDir, spoolFile), "r");
    try {
      for (let length = chunkBytes; ; length *= 2) {
        const bytes = await readBytes(file, from, Math.min(length, this.#size - from));
        const entries = parseEntries(bytes, from);
        if (entries.length > 0 || length >= this.#size - from) return entries;
      }
    } finally {
      await file.close();
    }
  }

  /** Keeps a copy of a file as it is now: artifacts/ is replaced by the next training. */
  async keepFile(path: string, source: string): Promise<void> {
    const copy = this.#copyOf(path);
    await mkdir(dirname(copy), { recursive: true });
    await copyFile(source, copy, constants.COPYFILE_FICLONE);
  }

  /** Keeps a file that is made of text. */
  async keepText(path: string, text: string): Promise<void> {
    const copy = this.#copyOf(path);
    await mkdir(dirname(copy), { recursive: true });
    await writeFile(copy, text);
  }

  /**
   * A kept file, read as it is sent; undefined when it was delivered before, or never kept: a spool that came from elsewhere could
   * name any file of this machine, by its path or by a link.
   */
  async openKeptFile(path: string): Promise<Blob | undefined> {
    if (!isSafePath(path)) return undefined;
    const copy = this.#copyOf(path);
    const found = await lstat(copy).catch((error: NodeJS.ErrnoException) => {
      if (isAbsent(error)) return undefined;
      throw error;
    });
    return found?.isFile() === true ? await openAsBlob(copy) : undefined;
  }

  async dropKeptFile(path: string): Promise<void> {
    await rm(this.#copyOf(path), { force: true });
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  /** After the last entry was delivered. */
  async remove(): Promise<void> {
    this.close();
    await rm(join(this.runDir, spoolFile), { force: true });
    await rm(join(this.runDir, filesFolder), { recursive: true, force: true });
  }

  #copyOf(path: string): string {
    return join(this.runDir, filesFolder, path);
  }
}

async function readBytes(file: FileHandle, from: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await file.read(bytes, 0, length, from);
  return bytes.subarray(0, bytesRead);
}

/** The whole lines of a chunk that begins at byte `from`. */
function parseEntries(bytes: Buffer, from: number): SpooledEntry[] {
  const entries: SpooledEntry[] = [];
  for (let start = 0, end = bytes.indexOf(0x0a); end >= 0; start = end + 1, end = bytes.indexOf(0x0a, start)) {
    entries.push({ entry: JSON.parse(bytes.toString("utf8", start, end)) as SpoolEntry, next: from + end + 1 });
  }
  return entries;
}

/** A process that was killed while it wrote leaves a last line without its end, and a machine that lost power worse: both are left out. */
function wholeLines(bytes: Buffer): Buffer {
  const lines: Buffer[] = [];
  for (let start = 0, end = bytes.indexOf(0x0a); end >= 0; start = end + 1, end = bytes.indexOf(0x0a, start)) {
    try {
      JSON.parse(bytes.toString("utf8", start, end));
      lines.push(bytes.subarray(start, end + 1));
    } catch {
      continue;
    }
  }
  return Buffer.concat(lines);
}
