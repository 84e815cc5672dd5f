import { createHash, randomUUID } from "node:crypto";
import { closeSync, constants, createReadStream, fstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { ServalError } from "./errors/serval-error.ts";

type Content = string | Uint8Array | Iterable<string> | AsyncIterable<string | Uint8Array>;

/**
 * Replaces a file so that a reader, or a machine that loses power, sees either the old bytes or the new ones: temporary
 * in the same folder, fsync, rename. Makes the folder when it is missing; removes the temporary when anything fails. `mode` is
 * that of the new file; the pieces of an iterable are written one after the other.
 */
export async function writeFileAtomic(path: string, data: Content, mode = 0o666): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes renames in a folder survive a power cut. Some file systems (and Windows) cannot sync a folder: then there is nothing to do. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch {
    // The rename itself is done; only its durability depends on the file system now.
  }
}

/**
 * The text of a regular file of at most `maxBytes`. A file of another's repository may be a link to a device or a pipe, which
 * never end. Throws E_TEXT_FILE.
 */
export function readTextFile(path: string, maxBytes: number): string {
  // Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const found = fstatSync(file);
    const got = found.isFile() ? `${found.size} bytes` : found.isDirectory() ? "a folder" : "a device or pipe";
    if (!found.isFile() || found.size > maxBytes) {
      throw new ServalError("E_TEXT_FILE", `${path}: expected a file of at most ${maxBytes} bytes, got ${got}.`);
    }
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/**
 * Whether an error of the file system says that nothing is there: no entry, or a file in the place of a folder above it. All other
 * errors, such as a broken disk (EIO) or too many open files (EMFILE), say nothing about what is there.
 */
export function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
}

function undefinedIfAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

/** The text of a file; undefined where there is none. Throws what keeps an existing file from being read. */
export async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(undefinedIfAbsent);
}

/** The bytes of a file; undefined where there is none. Throws what keeps an existing file from being read. */
export async function readBytesIfThere(path: string): Promise<Buffer<ArrayBuffer> | undefined> {
  return await readFile(path).catch(undefinedIfAbsent);
}

/** What is at a path, links followed; undefined where there is nothing. */
export async function statIfThere(path: string): Promise<Stats | undefined> {
  return await stat(path).catch(undefinedIfAbsent);
}

/** The names in a folder; none where there is no folder. */
export async function listIfThere(path: string): Promise<string[]> {
  return (await readdir(path).catch(undefinedIfAbsent)) ?? [];
}

/** The first bytes of a file, fewer where it is shorter. */
export async function readStart(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** SHA-256 of a file in lower-case hex, read as a stream. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}

/** SHA-256 of bytes, or of a text's UTF-8, in lower-case hex. */
export function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}
