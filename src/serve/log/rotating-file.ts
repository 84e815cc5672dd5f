import { randomBytes } from "node:crypto";
import { open, readdir, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Writable } from "node:stream";
import { callbackify } from "node:util";

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
 * versions of a service do while one takes over: who finds that another put the file aside only opens the new one.
 */
export function openRotatingFile(path: string, { maxBytes, keep }: RotationLimits): Writable {
  let file: FileHandle | undefined;
  let size = 0;
  let asideMs = 0;
  const reopen = async (): Promise<FileHandle> => {
    file = await open(path, "a+");
    ({ size } = await file.stat());
    // A disk that was full may have left half a line.
    if (size > 0 && (await file.read({ position: size - 1, length: 1 })).buffer[0] !== newline) await file.appendFile("\n");
    return file;
  };
  const rotate = async (full: FileHandle): Promise<FileHandle> => {
    const [ours, named] = await Promise.all([full.stat(), stat(path).catch(() => undefined)]);
    file = undefined;
    await full.close();
    if (named?.ino === ours.ino) {
      asideMs = Math.max(Date.now(), asideMs + 1);
      // No two processes choose one name, so that neither takes a file of the other's away.
      const name = `${path}.${new Date(asideMs).toISOString().replaceAll(":", "-")}-${randomBytes(3).toString("hex")}`;
      await rename(path, name).catch(ignoreMissing);
      await removeOldest(path, keep);
    }
    return await reopen();
  };
  const append = async (lines: readonly Buffer[]): Promise<void> => {
    let to = file ?? (await reopen());
    let waiting: Buffer[] = [];
    for (const line of lines) {
      if (size > 0 && size + line.length > maxBytes) {
        await to.appendFile(Buffer.concat(waiting));
        waiting = [];
        to = await rotate(to);
      }
      waiting.push(line);
      size += line.length;
    }
    await to.appendFile(Buffer.concat(waiting));
  };
  return new Writable({
    construct: callbackify(async () => void (await reopen())),
    writev: callbackify(async (entries: readonly { readonly chunk: Buffer }[]) => await append(entries.map(({ chunk }) => chunk))),
    destroy: callbackify(async (error: Error | null) => {
      await file?.close();
      if (error) throw error;
    }),
  });
}

async function removeOldest(path: string, keep: number): Promise<void> {
  const aside = (await readdir(dirname(path))).filter((name) => name.startsWith(`${basename(path)}.`)).sort();
  for (const name of aside.slice(0, Math.max(0, aside.length - keep))) await rm(join(dirname(path), name), { force: true });
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
