import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { isToolFolder } from "../layout/folder-names.ts";

export interface WalkedFolder {
  /** Files by their path in the folder with forward slashes, as they are written on disk. */
  readonly files: readonly string[];
  readonly folders: readonly string[];
  /** Links that are not followed, with the reason as the end of a sentence. */
  readonly refused: readonly { readonly name: string; readonly reason: string }[];
}

/** Links may multiply folders: each of forty folders that holds two links to the one before it makes a billion. */
const mostFiles = 2_000_000;
const mostLevels = 64;

/**
 * All files below a folder. A link is followed where it leads to a file or folder in `roots`; one that leads back to a folder that
 * it lies in ends there. `root` and `roots` are real paths. Throws E_SOURCE for more files than a source may have.
 */
export async function walkFolder(root: string, roots: readonly string[], mostEntries: number = mostFiles): Promise<WalkedFolder> {
  const files: string[] = [];
  const folders: string[] = [];
  const refused: { name: string; reason: string }[] = [];

  async function visit(dir: string, prefix: string, chain: readonly string[]): Promise<void> {
    const found = await readdir(dir, { withFileTypes: true });
    for (const item of found.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (item.isDirectory() && isToolFolder(item.name)) continue;
      const name = prefix + item.name;
      const path = join(dir, item.name);
      if (item.isSymbolicLink()) await follow(name, path, chain);
      else await take(item, name, path, chain);
    }
  }

  async function take(item: Pick<Dirent, "isFile" | "isDirectory">, name: string, real: string, chain: readonly string[]): Promise<void> {
    if (item.isFile()) files.push(name);
    if (item.isDirectory()) folders.push(name);
    if (files.length + folders.length > mostEntries) {
      throw new ServalError("E_SOURCE", `"${root}" holds more than ${mostEntries} files and folders, links followed.`);
    }
    if (!item.isDirectory()) return;
    await visit(real, `${name}/`, [...chain, real]);
  }

  async function follow(name: string, path: string, chain: readonly string[]): Promise<void> {
    const target = await realpath(path).catch(() => undefined);
    if (target === undefined) {
      refused.push({ name, reason: "is a broken link, or a link to itself" });
    } else if (!roots.some((allowed) => target === allowed || target.startsWith(allowed + sep))) {
      refused.push({
        name,
        reason: `is a link to "${target}", outside the source: it was not followed. Copy its target, or import that folder itself`,
      });
    } else if (chain.includes(target) || chain.length > mostLevels) {
      refused.push({ name, reason: "is a link to a folder around it: it was not followed" });
    } else {
      await take(await stat(target), name, target, chain);
    }
  }

  await visit(root, "", [root]);
  return { files, folders, refused };
}
