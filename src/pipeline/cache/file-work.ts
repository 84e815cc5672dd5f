import { createHash, hash, randomUUID } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  type BigIntStats,
} from "node:fs";
import { dirname, join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import type { LinkType } from "../dvc-files/dvc-config.ts";
import type { Stamp } from "./state-db.ts";

/** DVC's mode for what is in the cache: read-only, and by that known to be whole. */
export const cacheMode = 0o444;
/** Up to this size a file is read in one piece; above it, it is copied by the kernel and hashed in pieces. */
const wholeBytes = 4 << 20;

/** Work on many files, done in a thread: everything in here is synchronous, which costs least for small files. */
export type FileWork =
  | { readonly kind: "hash"; readonly paths: readonly string[] }
  | {
      /** Hashes files, and leaves copies of those that `objects` lacks in `temporary`. */
      readonly kind: "stage";
      readonly paths: readonly string[];
      readonly objects: string;
      readonly temporary: string;
    }
  | {
      /** Gives files that are whole and durable the names of objects. */
      readonly kind: "name";
      readonly items: readonly NameItem[];
      readonly objects: string;
      readonly shared: boolean;
    }
  | {
      /** Puts objects into the workspace, each under a temporary name first. */
      readonly kind: "place";
      readonly items: readonly PlaceItem[];
      readonly temporary: string;
      readonly types: readonly LinkType[];
    };

export interface NameItem {
  readonly path: string;
  readonly md5: string;
  /** Whether the file keeps the name that it has. */
  readonly keep: boolean;
}

export interface PlaceItem {
  readonly object: string;
  readonly md5: string;
  readonly target: string;
  /** What the target must still look like to be replaced; where it does not matter, undefined. */
  readonly expected?: Stamp;
}

/** One result for each path or item, in order. */
export interface FileResult {
  readonly md5: string;
  /** stage: the copy that waits in `temporary`; undefined where the object is there already. */
  readonly staged?: string;
  /** name, by link: the file itself is the object now; false where another was faster. */
  readonly linked?: boolean;
  /** place: what the new file looks like. */
  readonly stamp?: Stamp;
  /** place: the object has other bytes than its name says; nothing was placed. */
  readonly corrupt?: boolean;
  /** place: the target does not look as expected any more; nothing was placed. */
  readonly changed?: boolean;
}

let own: { readonly parent: string; readonly dir: string } | undefined;
let names = 0;
/** Each thread writes into its own folder: two that create files in one folder wait for each other. */
function temporaryName(parent: string): string {
  if (own?.parent !== parent) own = { parent, dir: mkdtempSync(`${parent}/`) };
  return `${own.dir}/${++names}`;
}

export function runFileWork(work: FileWork): FileResult[] {
  if (work.kind === "hash") return work.paths.map((path) => ({ md5: hashFileMd5(path) }));
  if (work.kind === "stage") return work.paths.map((path) => stageFile(path, work));
  if (work.kind === "name") return work.items.map((item) => nameFile(item, work));
  const types = [...work.types];
  return work.items.map((item) => placeFile(item, work.temporary, types));
}

export function stampOf(stat: BigIntStats): Stamp {
  return `${stat.ino}:${stat.mtimeNs}:${stat.size}`;
}

/** The MD5 of a file in lower-case hex: what DVC names data by. */
export function hashFileMd5(path: string): string {
  const fd = openSync(path, "r");
  try {
    const chunk = Buffer.allocUnsafe(64 << 10);
    let length = readSync(fd, chunk);
    if (length < chunk.length) return hash("md5", chunk.subarray(0, length));
    const digest = createHash("md5").update(chunk);
    const large = Buffer.allocUnsafe(1 << 20);
    while ((length = readSync(fd, large)) > 0) digest.update(large.subarray(0, length));
    return digest.digest("hex");
  } finally {
    closeSync(fd);
  }
}

export function objectPath(objects: string, md5: string): string {
  return `${objects}/${md5.slice(0, 2)}/${md5.slice(2)}`;
}

/**
 * Whether an object is there. One that is not read-only was not finished by its writer, or came from elsewhere: it is
 * hashed, and made read-only or left out of account.
 */
export function objectExists(objects: string, md5: string): boolean {
  const path = objectPath(objects, md5);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if ((stat.mode & 0o777) === cacheMode) return true;
  if (hashFileMd5(path) !== md5.slice(0, 32)) return false;
  protect(path);
  return true;
}

export function protect(path: string): void {
  try {
    chmodSync(path, cacheMode);
  } catch {
    // A shared cache, or a file system without modes: DVC continues there as well.
  }
}

function stageFile(path: string, work: FileWork & { kind: "stage" }): FileResult {
  const { size } = statSync(path);
  if (size > wholeBytes) {
    const md5 = hashFileMd5(path);
    if (objectExists(work.objects, md5)) return { md5 };
    const staged = temporaryName(work.temporary);
    copyFileSync(path, staged, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    chmodSync(staged, cacheMode);
    // The object is named for the bytes that were copied, whatever became of the file meanwhile.
    return { md5: hashFileMd5(staged), staged };
  }
  const bytes = readFileSync(path);
  const md5 = hash("md5", bytes);
  if (objectExists(work.objects, md5)) return { md5 };
  const staged = temporaryName(work.temporary);
  writeNew(staged, bytes, cacheMode);
  return { md5, staged };
}

function writeNew(path: string, bytes: Uint8Array, mode: number): void {
  const fd = openSync(path, "wx", mode);
  try {
    writeFileSync(fd, bytes);
    if (mode === cacheMode) fchmodSync(fd, mode);
  } finally {
    closeSync(fd);
  }
}

function nameFile({ path, md5, keep }: NameItem, work: FileWork & { kind: "name" }): FileResult {
  const object = objectPath(work.objects, md5);
  if (!keep) {
    nameObject(path, object, work.shared);
    return { md5 };
  }
  try {
    inObjectFolder(object, work.shared, () => linkSync(path, object));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    if (objectExists(work.objects, md5)) return { md5, linked: false };
    // What has the name is damaged: the whole file takes its place.
    const beside = `${object}.${randomUUID()}`;
    linkSync(path, beside);
    renameSync(beside, object);
  }
  // Until now it is not read-only, so that other processes hash it before they use it.
  protect(object);
  return { md5, linked: true };
}

/** Gives a finished file the name of an object, and makes the folder for it where there is none yet. */
export function nameObject(staged: string, object: string, shared: boolean): void {
  inObjectFolder(object, shared, () => renameSync(staged, object));
}

function inObjectFolder(object: string, shared: boolean, give: () => void): void {
  try {
    give();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const dir = dirname(object);
    mkdirSync(dir, { recursive: true });
    if (shared) chmodSync(dir, 0o2775);
    give();
  }
}

/** `types` loses the ones that do not work here. */
function placeFile(item: PlaceItem, temporary: string, types: LinkType[]): FileResult {
  const { object, md5, target } = item;
  const staged = temporaryName(temporary);
  const size = statSync(object).size;
  for (;;) {
    const type = types[0];
    if (type === undefined) {
      throw new ServalError("E_DVC_CONFIG", `cache.type: none of the types that it names works between "${object}" and "${target}".`, {
        hint: "Add copy to cache.type in .dvc/config.",
      });
    }
    try {
      // All empty files are one object, and file systems limit how many links a file may have: DVC creates them instead of linking them.
      if (type === "copy" || (type === "hardlink" && size === 0)) {
        if (!copyObject(object, md5, staged, size)) return { md5, corrupt: true };
      } else {
        if (hashFileMd5(object) !== md5) return { md5, corrupt: true };
        if (type !== "reflink" && linkDirectly(object, target, type)) return { md5, stamp: stampOf(statSync(target, { bigint: true })) };
        linkObject(object, staged, type);
      }
      if (item.expected !== undefined && !looksLike(target, item.expected)) {
        rmSync(staged, { force: true });
        return { md5, changed: true };
      }
      moveInto(staged, target);
      // Renaming one hard link over another of the same file does nothing and leaves both.
      if (type === "hardlink") rmSync(staged, { force: true });
      return { md5, stamp: stampOf(statSync(target, { bigint: true })) };
    } catch (error) {
      rmSync(staged, { force: true });
      if (!linkRefused.has((error as NodeJS.ErrnoException).code ?? "") || type === "copy") throw error;
      if (type === "hardlink" && (error as NodeJS.ErrnoException).code === "EMLINK") {
        copyObject(object, md5, staged, size);
        moveInto(staged, target);
        return { md5, stamp: stampOf(statSync(target, { bigint: true })) };
      }
      types.shift();
    }
  }
}

function looksLike(path: string, expected: Stamp): boolean {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found !== undefined && stampOf(found) === expected;
}

/** What a file system answers that has no such links, or none to there. */
const linkRefused: ReadonlySet<string> = new Set([
  "EPERM",
  "ENOTSUP",
  "EOPNOTSUPP",
  "EXDEV",
  "ENOTTY",
  "ENOSYS",
  "EINVAL",
  "EAGAIN",
  "EMLINK",
]);

function copyObject(object: string, md5: string, staged: string, size: number): boolean {
  if (size > wholeBytes) {
    copyFileSync(object, staged, constants.COPYFILE_EXCL);
    chmodSync(staged, 0o666 & ~process.umask());
    if (hashFileMd5(staged) === md5) return true;
    rmSync(staged, { force: true });
    return false;
  }
  const bytes = readFileSync(object);
  if (hash("md5", bytes) !== md5) return false;
  writeNew(staged, bytes, 0o666);
  return true;
}

function linkObject(object: string, staged: string, type: LinkType): void {
  if (type === "hardlink") linkSync(object, staged);
  else if (type === "symlink") symlinkSync(object, staged);
  else {
    copyFileSync(object, staged, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    chmodSync(staged, 0o666 & ~process.umask());
  }
}

/** A link is whole from the start, so it needs no temporary name; false where the target exists. */
function linkDirectly(object: string, target: string, type: "hardlink" | "symlink"): boolean {
  for (let tries = 0; ; tries++) {
    try {
      linkObject(object, target, type);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") return false;
      if (code !== "ENOENT" || tries > 0) throw error;
      mkdirSync(dirname(target), { recursive: true });
    }
  }
}

/** Renames over the file that is there; across file systems, by a copy beside the target. */
function moveInto(staged: string, target: string): void {
  for (let tries = 0; ; tries++) {
    try {
      renameSync(staged, target);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (tries > 1) throw error;
      if (code === "ENOENT") mkdirSync(dirname(target), { recursive: true });
      // An empty folder: the files that were in it are gone by now, or this fails.
      else if (code === "EISDIR") rmdirSync(target);
      else if (code === "EXDEV") {
        const beside = join(dirname(target), `.${randomUUID()}.tmp`);
        copyFileSync(staged, beside, constants.COPYFILE_EXCL);
        rmSync(staged);
        renameSync(beside, target);
        return;
      } else throw error;
    }
  }
}
