import { lstatSync, readdirSync, statSync, type BigIntStats } from "node:fs";
import { join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { loadDvcIgnore } from "../dvc-files/dvc-ignore.ts";
import { stampOf } from "./file-work.ts";
import type { Stamp } from "./state-db.ts";

export interface SeenFile {
  /** Relative to the repository, forward slashes. */
  readonly path: string;
  readonly stamp: Stamp;
  readonly size: number;
  readonly mtimeMs: number;
  readonly links: number;
  readonly isLink: boolean;
  readonly executable: boolean;
}

export interface SeenTree {
  /** Whether the path is a folder, or a link to one. */
  readonly isFolder: boolean;
  readonly files: readonly SeenFile[];
}

/**
 * The file at `path`, or every file below the folder, without what .dvcignore names; null where nothing is there. As with
 * DVC, a link to a file counts as that file, a link to a folder inside a folder is left out, and empty folders are not seen.
 */
export function walkFiles(root: string, path: string): SeenTree | null {
  const top = statSync(join(root, path), { bigint: true, throwIfNoEntry: false });
  if (top === undefined) return null;
  if (!top.isDirectory()) return { isFolder: false, files: [see(path, top, lstatSync(join(root, path)).isSymbolicLink())] };
  const ignored = loadDvcIgnore(root, path);
  const files: SeenFile[] = [];
  const folders = [path];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const below = `${folder}/${entry.name}`;
      if (ignored(below, entry.isDirectory())) continue;
      if (entry.isDirectory()) {
        folders.push(below);
        continue;
      }
      const full = `${root}/${below}`;
      const stat = statSync(full, { bigint: true, throwIfNoEntry: false });
      if (stat === undefined) throw missing(below, entry.isSymbolicLink());
      if (!stat.isDirectory()) files.push(see(below, stat, entry.isSymbolicLink()));
    }
  }
  return { isFolder: true, files };
}

function see(path: string, stat: BigIntStats, isLink: boolean): SeenFile {
  if (!stat.isFile()) throw new ServalError("E_DATA_PATH", `"${path}" is neither a file nor a folder: it cannot be versioned.`);
  return {
    path,
    stamp: stampOf(stat),
    size: Number(stat.size),
    mtimeMs: Number(stat.mtimeNs / 1_000_000n),
    links: Number(stat.nlink),
    isLink,
    executable: (stat.mode & 0o100n) !== 0n,
  };
}

function missing(path: string, isLink: boolean): ServalError {
  if (isLink)
    return new ServalError("E_DATA_PATH", `"${path}" is a link to a file that is not there.`, { hint: "Repair or remove the link." });
  if (path.includes("\ufffd")) {
    return new ServalError("E_DATA_PATH", `"${path}": the name is not valid UTF-8 and cannot be recorded.`, { hint: "Rename the file." });
  }
  return new ServalError("E_FILE_NOT_FOUND", `"${path}" disappeared while its folder was read.`);
}
