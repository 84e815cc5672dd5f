import { randomBytes } from "node:crypto";
import { open, readdir, rename, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Writable } from "node:stream";
import { callbackify } from "node:util";
import { statIfThere } from "../../files.ts";

export interface RotationLimits {
  /** A file that would grow beyond this is put aside. */
  readonly maxBytes: number;
  /** How many of those that were put aside are kept. */
  readonly keep: number;
}

const newline = 0x0a;

/** 60 MB in all, a little more than the engine keeps of stdout in deployment/docker-compose.yml. */
export const logRotation: RotationLimits = { maxBytes: 10_000_000, keep: 5 };

/**
 * Appends to a file and begins a new one where it would grow too large; the full one is put aside as FILE.TIME. Lines are
 * never torn: what is given to one `write` goes into one file. Several processes may write to the same path, as two
 * versions of a service do while one takes over: one that finds that another put the file aside only opens the new one.
 */
export class RotatingFile extends Writable {
  readonly #path: string;
  readonly #limits: RotationLimits;
  #file: FileHandle | undefined;
  #size = 0;
  /** When the last file was put aside: no two get one name. */
  #asideMs = 0;

  constructor(path: string, limits: RotationLimits) {
    super();
    this.#path = path;
    this.#limits = limits;
  }

  override _construct(done: Done): void {
    callbackify(async () => void (await this.#reopen()))(done);
  }

  override _writev(entries: readonly { readonly chunk: unknown }[], done: Done): void {
    callbackify(async () => await this.#append(entries.map(({ chunk }) => chunk as Buffer)))(done);
  }

  override _destroy(error: Error | null, done: Done): void {
    callbackify(async () => {
      await this.#file?.close();
      if (error) throw error;
    })(done);
  }

  async #append(lines: readonly Buffer[]): Promise<void> {
    let to = this.#file ?? (await this.#reopen());
    let waiting: Buffer[] = [];
    for (const line of lines) {
      if (this.#size > 0 && this.#size + line.length > this.#limits.maxBytes) {
        await to.appendFile(Buffer.concat(waiting));
        waiting = [];
        to = await this.#rotate(to);
      }
      waiting.push(line);
      this.#size += line.length;
    }
    await to.appendFile(Buffer.concat(waiting));
  }

  async #reopen(): Promise<FileHandle> {
    const file = await open(this.#path, "a+");
    this.#file = file;
    this.#size = (await file.stat()).size;
    // A disk that was full may have left half a line.
    if (this.#size > 0 && (await file.read({ position: this.#size - 1, length: 1 })).buffer[0] !== newline) await file.appendFile("\n");
    return file;
  }

  async #rotate(full: FileHandle): Promise<FileHandle> {
    const [ours, named] = await Promise.all([full.stat(), statIfThere(this.#path)]);
    this.#file = undefined;
    await full.close();
    if (named?.ino === ours.ino) {
      this.#asideMs = Math.max(Date.now(), this.#asideMs + 1);
      // No two processes choose one name, so that neither takes a file of the other's away.
      const name = `${this.#path}.${new Date(this.#asideMs).toISOString().replaceAll(":", "-")}-${randomBytes(3).toString("hex")}`;
      await rename(this.#path, name).catch(ignoreMissing);
      await removeOldest(this.#path, this.#limits.keep);
    }
    return await this.#reopen();
  }
}

type Done = (error?: Error | null) => void;

async function removeOldest(path: string, keep: number): Promise<void> {
  const aside = (await readdir(dirname(path))).filter((name) => name.startsWith(`${basename(path)}.`)).sort();
  for (const name of aside.slice(0, Math.max(0, aside.length - keep))) await rm(join(dirname(path), name), { force: true });
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
