import { chmodSync, lstatSync, mkdirSync, rmdirSync, rmSync, statSync, unlinkSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { setAside } from "./corrupt-object.ts";
import { objectExists, objectPath, type FileWork, type PlaceItem } from "./file-work.ts";
import { inBatches, type HashedFile } from "./hash-files.ts";
import type { ManifestEntry } from "./manifest.ts";
import type { RestoreOptions } from "./output-cache.ts";
import { relinkFiles, type CachePlace } from "./store.ts";
import { withTemporaryFolder } from "./temporary-folder.ts";
import { batchFiles } from "./work-pool.ts";
import { firstOf } from "../../text.ts";

export interface RestoreTarget {
  /** Relative to the repository. */
  readonly path: string;
  readonly folder: boolean;
  readonly isexec: boolean;
  /** For a file, one entry with the path "". */
  readonly wanted: readonly ManifestEntry[];
}

/** Makes the workspace hold these files and no others; false, and nothing changed, where the cache lacks one that is needed. */
export async function restoreFiles(place: CachePlace, target: RestoreTarget, options: RestoreOptions): Promise<boolean> {
  const { root, objects, config } = place;
  const current = await place.hasher.hash(target.path);
  const present = new Map((current?.files ?? []).map((file) => [file.path, file]));
  const wanted = target.wanted.map(({ relpath, md5 }) => ({ path: relpath === "" ? target.path : `${target.path}/${relpath}`, md5 }));
  const right: HashedFile[] = [];
  const todo = wanted.filter(({ path, md5 }) => {
    const file = present.get(path);
    if (file?.md5 !== md5) return true;
    right.push(file);
    return false;
  });
  if (!todo.every(({ md5 }) => objectExists(objects, md5))) return false;

  const keep = new Map(wanted.map(({ path, md5 }) => [path, md5]));
  const lost = [...present.values()].filter(({ path, md5 }) => keep.get(path) !== md5);
  if (options.force !== true) refuseLoss(lost.filter(({ md5 }) => !objectExists(objects, md5)).map(({ path }) => path));
  const links = linkedFolders(root, target.path, [...todo, ...lost]);
  if (options.force !== true && links.length > 0) {
    throw new ServalError("E_DATA_UNSAVED", `"${links[0]}" is a link to a folder: what is in there would be overwritten or removed.`, {
      hint: "Put the folder itself there, or recreate it with --force: that removes the link, not what it leads to.",
      details: { paths: links },
    });
  }
  for (const path of links) unlinkSync(join(root, path));
  if (current !== null && current.isFolder !== target.folder)
    clear(
      join(root, target.path),
      lost.map(({ path }) => join(root, path)),
    );
  else for (const { path } of lost) if (!keep.has(path)) removeFile(join(root, path), join(root, target.path));

  if (target.folder) mkdirSync(join(root, target.path), { recursive: true });
  await withTemporaryFolder(join(root, ".dvc/tmp"), async (temporary) => {
    const items = todo.map(({ path, md5 }): PlaceItem => ({
      object: objectPath(objects, md5),
      md5,
      target: join(root, path),
    }));
    const batches = inBatches(items).map((batch): FileWork => ({ kind: "place", items: batch, temporary, types: config.linkTypes }));
    const results = (
      await place.pool.run(batches, (done) => place.onProgress?.("restore", Math.min(done * batchFiles, items.length), items.length))
    ).flat();
    place.hasher.remember(
      todo.flatMap(({ path, md5 }, i) => (results[i]?.stamp === undefined ? [] : [{ path, md5, stamp: results[i].stamp }])),
    );
    const corrupt = todo.filter((_, i) => results[i]?.corrupt === true);
    const errors = corrupt.map(({ path, md5 }) => setAside(root, objects, md5, path));
    if (errors.length > 0) {
      throw new ServalError(
        "E_CACHE_CORRUPT",
        firstOf(
          errors.map(({ message }) => message),
          10,
          "\n  ",
        ),
        {
          details: { objects: corrupt.map(({ md5 }) => md5) },
        },
      );
    }
  });
  if (options.relink === true) await relinkFiles(place, right);
  if (target.isexec) {
    const full = join(root, target.path);
    const mode = statSync(full).mode;
    if ((mode & 0o100) === 0) chmodSync(full, mode | 0o100);
  }
  return true;
}

/** The folders of these files, below `top`, that are links to elsewhere. */
function linkedFolders(root: string, top: string, files: readonly { readonly path: string }[]): string[] {
  const folders = new Set<string>();
  for (const { path } of files) {
    for (let dir = posix.dirname(path); dir.length > top.length && !folders.has(dir); dir = posix.dirname(dir)) folders.add(dir);
  }
  return [...folders].filter((dir) => {
    try {
      return lstatSync(join(root, dir)).isSymbolicLink();
    } catch {
      // Nothing there, or a file in the place of a folder above it.
      return false;
    }
  });
}

function refuseLoss(paths: readonly string[]): void {
  if (paths.length === 0) return;
  const named = paths.map((path) => `"${path}"`);
  throw new ServalError(
    "E_DATA_UNSAVED",
    `${firstOf(named, 5)}: would be overwritten or removed, and the cache does not have what is in there.`,
    {
      details: { paths },
    },
  );
}

/** Removes a file, and the folders that it leaves empty below `top`. */
function removeFile(path: string, top: string): void {
  unlinkSync(path);
  for (let dir = dirname(path); dir.length > top.length; dir = dirname(dir)) {
    try {
      rmdirSync(dir);
    } catch {
      return;
    }
  }
}

/** A file stands where a folder is wanted, or the other way round. */
function clear(top: string, files: readonly string[]): void {
  for (const path of files) removeFile(path, top);
  // What .dvcignore hides was not seen and is not ours to remove: then this fails and says so.
  if (lstatSync(top, { throwIfNoEntry: false })?.isDirectory() === true) rmdirSync(top);
  else rmSync(top, { force: true });
}
