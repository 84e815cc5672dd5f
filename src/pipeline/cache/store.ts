import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, renameSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ServalError } from "../../errors.ts";
import { writeFileAtomic } from "../../files.ts";
import type { DvcConfig } from "./dvc-config.ts";
import { objectExists, objectPath, protect, stampOf, type FileWork, type PlaceItem } from "./file-work.ts";
import { hashTree, inBatches, type FileHasher, type HashedFile, type HashedTree } from "./hash-files.ts";
import type { OutputCacheOptions } from "./output-cache.ts";
import { syncFiles, withTemporaryFolder } from "./temporary-folder.ts";
import { walkFiles } from "./walk.ts";
import { batchFiles, type WorkPool } from "./work-pool.ts";

/** What the parts of an open cache share. */
export interface CachePlace {
  readonly root: string;
  readonly config: DvcConfig;
  /** `files/md5` of the cache. */
  readonly objects: string;
  readonly pool: WorkPool;
  readonly hasher: FileHasher;
  readonly onProgress: OutputCacheOptions["onProgress"];
}

/**
 * Puts a file or folder into the cache. First copies under temporary names, then one sync, then the final names, and the
 * manifest of a folder last: a reader, or a machine that loses power, finds whole objects or none. `link` puts what
 * cache.type asks for into the place of the files.
 */
export async function storeFiles(place: CachePlace, path: string, link = true): Promise<HashedTree> {
  const { root, objects, hasher } = place;
  const seen = walkFiles(root, path);
  if (seen === null) throw new ServalError("E_FILE_NOT_FOUND", `"${path}" does not exist, so it cannot be put into the cache.`);
  const now = Date.now();
  mkdirSync(objects, { recursive: true });
  const hashes = hasher.known(path, seen);
  const todo = seen.files.flatMap((_, i) => (hashes[i] !== undefined && objectExists(objects, hashes[i]) ? [] : [i]));
  const byLink = place.config.linkTypes[0] === "hardlink";
  await withTemporaryFolder(join(place.config.cacheDir, "files"), async (temporary) => {
    const batches = inBatches(todo).map((batch): FileWork => ({
      kind: "stage",
      paths: batch.map((i) => `${root}/${seen.files[i]!.path}`),
      objects,
      temporary,
      byLink,
    }));
    const results = await place.pool.run(batches, (done) =>
      place.onProgress?.("store", Math.min(done * batchFiles, todo.length), todo.length),
    );
    const staged = new Map<string, string>();
    for (const [i, { md5, staged: copy }] of results.flat().entries()) {
      const at = todo[i]!;
      hashes[at] = md5;
      if (copy !== undefined) staged.set(md5, copy);
      else if (byLink && !objectExists(objects, md5)) staged.set(md5, linkForCache(`${root}/${seen.files[at]!.path}`, temporary, md5));
    }
    await syncFiles(temporary, [...staged.values()]);
    for (const [md5, copy] of staged) name(copy, objectPath(objects, md5), place.config.shared);
    // The names of the objects themselves.
    if (staged.size > 0) await syncFiles(temporary, [...new Set([...staged.keys()].map((md5) => dirname(objectPath(objects, md5))))]);
  });
  const files = seen.files.map((file, i): HashedFile => ({ ...file, md5: hashes[i]! }));
  const tree = hashTree(path, seen.isFolder, files);
  const changed = new Set(todo);
  hasher.remember(files.filter(({ mtimeMs }, i) => changed.has(i) && mtimeMs < now - 50));
  if (tree.isFolder && !objectExists(objects, tree.md5)) {
    await writeFileAtomic(objectPath(objects, tree.md5), tree.manifest);
    protect(objectPath(objects, tree.md5));
  }
  if (link) await relinkFiles(place, files);
  return tree;
}

/** The file of the workspace becomes the object: both names are one file, read-only, as DVC does for hard links. */
function linkForCache(path: string, temporary: string, md5: string): string {
  const staged = join(temporary, md5);
  if (existsSync(staged)) return staged;
  linkSync(path, staged);
  protect(staged);
  return staged;
}

function name(staged: string, object: string, shared: boolean): void {
  try {
    renameSync(staged, object);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const dir = dirname(object);
    mkdirSync(dir, { recursive: true });
    if (shared) chmodSync(dir, 0o2775);
    renameSync(staged, object);
  }
}

/** Replaces the files whose kind (copy, hard link, symbolic link) is not the one that cache.type asks for. */
export async function relinkFiles(place: CachePlace, files: readonly HashedFile[]): Promise<void> {
  const { root, objects, hasher, config } = place;
  const wrong = files.filter((file) => needsRelink(place, file));
  if (wrong.length === 0) return;
  await withTemporaryFolder(join(root, ".dvc/tmp"), async (temporary) => {
    const items = wrong.map(({ md5, path }): PlaceItem => ({
      object: objectPath(objects, md5),
      md5,
      target: join(root, path),
      check: false,
    }));
    const batches = inBatches(items).map((batch): FileWork => ({ kind: "place", items: batch, temporary, types: config.linkTypes }));
    const results = (await place.pool.run(batches)).flat();
    hasher.remember(wrong.flatMap((file, i) => (results[i]?.stamp === undefined ? [] : [{ ...file, stamp: results[i].stamp }])));
  });
}

function needsRelink({ config, root, objects }: CachePlace, file: HashedFile): boolean {
  const isCopy = !file.isLink && file.links === 1;
  for (const type of config.linkTypes) {
    if (type === "copy" || type === "reflink") {
      if (isCopy) return false;
    } else if (type === "hardlink" && !file.isLink) {
      if (file.size === 0 && isCopy) return false;
      // The stamp begins with the inode; it may be that the file became the object a moment ago.
      const object = statSync(objectPath(objects, file.md5), { bigint: true, throwIfNoEntry: false });
      return object === undefined || stampOf(object) !== stampOf(statSync(join(root, file.path), { bigint: true }));
    } else if (type === "symlink" && file.isLink) {
      const object = statSync(objectPath(objects, file.md5), { bigint: true, throwIfNoEntry: false });
      return object === undefined || object.ino !== lstatSync(join(root, file.path), { bigint: true }).ino;
    }
  }
  return true;
}
