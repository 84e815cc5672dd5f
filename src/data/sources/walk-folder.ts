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
  for await (const entry of walkEntries(root, roots, mostEntries)) {
    if ("reason" in entry) refused.push(entry);
    else (entry.isFolder ? folders : files).push(entry.name);
  }
  return { files, folders, refused };
}

/** A file or folder below the walked one, or a link that is not followed, with the reason as the end of a sentence. */
export type WalkedEntry = { readonly name: string; readonly isFolder: boolean } | { readonly name: string; readonly reason: string };

/** The same, one after the other: the entries of a folder by name, each folder before what is in it. Only the open folders are in memory. */
export async function* walkEntries(
  root: string,
  roots: readonly string[],
  mostEntries: number = mostFiles,
): AsyncGenerator<WalkedEntry, void, undefined> {
  let entries = 0;

  async function* visit(dir: string, prefix: string, chain: readonly string[]): AsyncGenerator<WalkedEntry, void, undefined> {
    const found = await readdir(dir, { withFileTypes: true });
    for (const item of found.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (item.isDirectory() && isToolFolder(item.name)) continue;
      const name = prefix + item.name;
      const path = join(dir, item.name);
      yield* item.isSymbolicLink() ? follow(name, path, chain) : take(item, name, path, chain);
    }
  }

  async function* take(
    item: Pick<Dirent, "isFile" | "isDirectory">,
    name: string,
    real: string,
    chain: readonly string[],
  ): AsyncGenerator<WalkedEntry, void, undefined> {
    const isFolder = item.isDirectory();
    if (!isFolder && !item.isFile()) return;
    if (++entries > mostEntries) {
      throw new ServalError("E_SOURCE", `"${root}" holds more than ${mostEntries} files and folders, links followed.`);
    }
    yield { name, isFolder };
    if (isFolder) yield* visit(real, `${name}/`, [...chain, real]);
  }

  async function* follow(name: string, path: string, chain: readonly string[]): AsyncGenerator<WalkedEntry, void, undefined> {
    const target = await realpath(path).catch(() => undefined);
    if (target === undefined) {
      yield { name, reason: "is a broken link, or a link to itself" };
    } else if (!roots.some((allowed) => target === allowed || target.startsWith(allowed + sep))) {
      const advice = "Copy its target, or import that folder itself";
      yield { name, reason: `is a link to "${target}", outside the source: it was not followed. ${advice}` };
    } else if (chain.includes(target) || chain.length > mostLevels) {
      yield { name, reason: "is a link to a folder around it: it was not followed" };
    } else {
      yield* take(await stat(target), name, target, chain);
    }
  }

  yield* visit(root, "", [root]);
}
