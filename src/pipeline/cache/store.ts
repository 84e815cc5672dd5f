import { lstatSync, mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { writeFileAtomic } from "../../files.ts";
import { findPathFault } from "../../safe-path.ts";
import { setAside } from "./corrupt-object.ts";
import type { DvcConfig } from "../dvc-files/dvc-config.ts";
import { objectExists, objectPath, protect, stampOf, type FileWork, type NameItem, type PlaceItem } from "./file-work.ts";
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
 * manifest of a folder last: a reader, or a machine that loses power, finds whole objects or none. With hard links the file
 * of the workspace becomes the object: both names are one file, read-only, as with DVC. `link` puts what cache.type asks for
 * into the place of the files.
 */
export async function storeFiles(place: CachePlace, path: string, link = true): Promise<HashedTree> {
  const { root, objects, hasher } = place;
  const seen = walkFiles(root, path);
  if (seen === null) throw new ServalError("E_FILE_NOT_FOUND", `"${path}" does not exist, so it cannot be put into the cache.`);
  refuseUnsafeNames(seen.files);
  const now = Date.now();
  mkdirSync(objects, { recursive: true });
  const hashes = hasher.known(path, seen);
  const full = (i: number): string => `${root}/${seen.files[i]!.path}`;
  const sameDrive = place.config.linkTypes[0] === "hardlink" && statSync(objects).dev === statSync(join(root, path)).dev;
  const becomesObject = (i: number): boolean => sameDrive && !seen.files[i]!.isLink;
  const lacking = seen.files.flatMap((_, i) => (hashes[i] !== undefined && objectExists(objects, hashes[i]) ? [] : [i]));
  const [toLink, toCopy] = [lacking.filter(becomesObject), lacking.filter((i) => !becomesObject(i))];
  const todo = [...toLink, ...toCopy];
  const report = (done: number): void => place.onProgress?.("store", Math.min(done * batchFiles, todo.length), todo.length);
  const linked = new Set<string>();
  await withTemporaryFolder(join(place.config.cacheDir, "files"), async (temporary) => {
    const batches = [
      ...inBatches(toLink).map((batch): FileWork => ({ kind: "hash", paths: batch.map(full) })),
      ...inBatches(toCopy).map((batch): FileWork => ({ kind: "stage", paths: batch.map(full), objects, temporary })),
    ];
    const results = (await place.pool.run(batches, report)).flat();
    const finished = new Map<string, NameItem>();
    for (const [i, { md5, staged }] of results.entries()) {
      const at = todo[i]!;
      hashes[at] = md5;
      if (staged !== undefined) finished.set(md5, { md5, path: staged, keep: false });
      else if (becomesObject(at) && !finished.has(md5) && !objectExists(objects, md5))
        finished.set(md5, { md5, path: full(at), keep: true });
    }
    if (finished.size === 0) return;
    const items = [...finished.values()];
    const paths = items.map(({ path: file }) => file);
    await syncFiles(temporary, paths);
    const { shared } = place.config;
    const named = await place.pool.run(inBatches(items).map((batch): FileWork => ({ kind: "name", items: batch, objects, shared })));
    for (const [i, result] of named.flat().entries()) if (result.linked === true) linked.add(paths[i]!);
    // The names of the objects themselves.
    await syncFiles(temporary, [...new Set(items.map(({ md5 }) => dirname(objectPath(objects, md5))))]);
  });
  const files = seen.files.map((file, i): HashedFile => ({ ...file, md5: hashes[i]! }));
  const tree = hashTree(path, seen.isFolder, files);
  const changed = new Set(todo);
  hasher.remember(files.filter(({ mtimeMs }, i) => changed.has(i) && mtimeMs < now - 50));
  if (tree.isFolder && !objectExists(objects, tree.md5)) {
    await writeFileAtomic(objectPath(objects, tree.md5), tree.manifest);
    protect(objectPath(objects, tree.md5));
  }
  if (link) await relinkFiles(place, linked.size === 0 ? files : files.filter((_, i) => !linked.has(full(i))));
  return tree;
}

/** A file that could not be pulled later is not recorded. */
function refuseUnsafeNames(files: readonly { readonly path: string }[]): void {
  for (const { path } of files) {
    const fault = findPathFault(path);
    if (fault === undefined) continue;
    throw new ServalError("E_DATA_PATH", `${JSON.stringify(path)} ${fault}: it cannot be versioned.`, {
      hint: "Rename it, move it away, or name it in .dvcignore.",
    });
  }
}

/**
 * Replaces the files whose kind (copy, hard link, symbolic link) is not the one that cache.type asks for. Throws E_CACHE_CORRUPT
 * where the object of a file is damaged, and E_DATA_UNSAVED where a file changed meanwhile: such files stay as they are.
 */
export async function relinkFiles(place: CachePlace, files: readonly HashedFile[]): Promise<void> {
  const { root, objects, hasher, config } = place;
  const wrong = files.filter((file) => needsRelink(place, file));
  if (wrong.length === 0) return;
  await withTemporaryFolder(join(root, ".dvc/tmp"), async (temporary) => {
    const items = wrong.map(({ md5, path, stamp }): PlaceItem => ({
      object: objectPath(objects, md5),
      md5,
      target: join(root, path),
      expected: stamp,
    }));
    const batches = inBatches(items).map((batch): FileWork => ({ kind: "place", items: batch, temporary, types: config.linkTypes }));
    const results = (await place.pool.run(batches)).flat();
    hasher.remember(wrong.flatMap((file, i) => (results[i]?.stamp === undefined ? [] : [{ ...file, stamp: results[i].stamp }])));
    const [damaged] = wrong.filter((_, i) => results[i]?.corrupt === true).map(({ md5, path }) => setAside(root, objects, md5, path));
    if (damaged !== undefined) {
      throw new ServalError("E_CACHE_CORRUPT", `${damaged.message} "${root}" still has the file as it was.`, {
        hint: "The damaged object was moved to .dvc/tmp/corrupt. Run the command again: it adds the file to the cache again.",
        details: damaged.details,
      });
    }
    const changed = wrong.filter((_, i) => results[i]?.changed === true).map(({ path }) => path);
    if (changed.length > 0) {
      throw new ServalError("E_DATA_UNSAVED", `"${changed[0]}" changed while it was put into the cache, and was left as it is.`, {
        hint: "Run the command again when nothing writes there.",
        details: { paths: changed },
      });
    }
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
