import { hash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { isAbsent } from "../../files.ts";
import { defaultStateDir } from "../../paths.ts";
import { LinkGuard } from "../../safe-path.ts";
import { setAside } from "./corrupt-object.ts";
import { isWithin, loadDvcConfig } from "../dvc-files/dvc-config.ts";
import { createFileHasher, type FileHasher, type HashedTree } from "./hash-files.ts";
import { objectExists, objectPath } from "./file-work.ts";
import { parseManifest, type ManifestEntry } from "./manifest.ts";
import type { OutEntry } from "../dvc-files/out-entry.ts";
import type { OutputCache, OutputCacheOptions } from "./output-cache.ts";
import { restoreFiles } from "./restore.ts";
import { openHashState } from "./state-db.ts";
import { relinkFiles, storeFiles } from "./store.ts";
import { WorkPool } from "./work-pool.ts";

/** The cache of the repository at `root`, laid out as DVC 3 does: `files/md5/ab/…`. Any number of processes may use it at once. */
export async function openOutputCache(root: string, options: OutputCacheOptions = {}): Promise<OutputCache> {
  const config = await loadDvcConfig(root);
  const objects = join(config.cacheDir, "files/md5");
  const stateDir = options.stateDir ?? join(root, defaultStateDir);
  const guard = new LinkGuard(root, config.followedLinks);
  for (const dir of [join(root, ".dvc/tmp/locks"), join(root, ".dvc/tmp/corrupt"), objects, join(config.cacheDir, "runs"), stateDir]) {
    if (isWithin(dir, root)) await guard.check(relative(root, dir).split(sep).join("/"), true);
  }
  const state = openHashState(join(stateDir, "hashes.sqlite"));
  // State must never be committed, whatever the repository's own .gitignore says.
  if (!existsSync(join(stateDir, ".gitignore"))) writeNew(join(stateDir, ".gitignore"), "*\n");
  const pool = new WorkPool(options.signal);
  const hasher: FileHasher = createFileHasher(root, state, pool, (done, total) => options.onProgress?.("hash", done, total));
  const place = { root, config, objects, state, pool, hasher, onProgress: options.onProgress };

  const copying = { ...place, config: { ...config, linkTypes: ["copy"] as const } };

  const entries = (md5: string): ManifestEntry[] | null => {
    const bytes = readObject(objectPath(objects, md5));
    if (bytes === null) return null;
    // Manifests decide which files are removed: they are never trusted unread, and what is hashed is what is parsed.
    if (hash("md5", bytes) !== md5.slice(0, 32)) throw setAside(root, objects, md5, "the list of a folder's files");
    return parseManifest(bytes.toString("utf8"), `The manifest ${md5}`);
  };

  return {
    config,
    hash: async (path) => {
      const tree = await hasher.hash(path);
      return tree && describeTree(path, tree);
    },
    store: async (path, { asCopy = false } = {}) => {
      await guard.check(path);
      return describeTree(path, await storeFiles(asCopy ? copying : place, path, !asCopy));
    },
    checkWritable: (path) => guard.check(path),
    remove: async (path) => {
      await guard.check(path);
      await rm(join(root, path), { recursive: true, force: true });
    },
    unlink: async (path) => {
      await guard.check(path);
      const tree = await hasher.hash(path);
      // Links of somebody's own lead elsewhere and stay.
      if (tree)
        await relinkFiles(
          copying,
          tree.files.filter(({ path: file, md5 }) => isSameFile(join(root, file), objectPath(objects, md5))),
        );
    },
    restore: async (entry, restoreOptions = {}) => {
      const folder = entry.md5.endsWith(".dir");
      await guard.check(entry.path, folder);
      const wanted = folder ? entries(entry.md5) : [{ relpath: "", md5: entry.md5 }];
      if (wanted === null) return false;
      return await restoreFiles(
        restoreOptions.asCopy === true ? copying : place,
        { path: entry.path, folder, isexec: entry.isexec === true, wanted },
        restoreOptions,
      );
    },
    has: async (md5) => {
      if (!md5.endsWith(".dir")) return objectExists(objects, md5);
      return entries(md5)?.every((entry) => objectExists(objects, entry.md5)) ?? false;
    },
    entries,
    object: (md5) => (objectExists(objects, md5) ? objectPath(objects, md5) : null),
    close: () => {
      state.close();
      void pool.close();
    },
  };
}

/** Null where there is none. */
function readObject(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/** Leaves alone what has the name, a link to nothing included. */
function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function isSameFile(a: string, b: string): boolean {
  const [first, second] = [a, b].map((path) => statSync(path, { bigint: true, throwIfNoEntry: false }));
  return first !== undefined && first.ino === second?.ino && first.dev === second.dev;
}

function describeTree(path: string, tree: HashedTree): OutEntry {
  const size = tree.files.reduce((sum, file) => sum + file.size, 0);
  const [only] = tree.files;
  if (!tree.isFolder && only) return { path, md5: only.md5, size, ...(only.executable && { isexec: true }) };
  return { path, md5: tree.md5, size, nfiles: tree.files.length };
}
