import { hash } from "node:crypto";
import type { FileWork } from "./file-work.ts";
import { renderManifest } from "./manifest.ts";
import type { HashState } from "./state-db.ts";
import { walkFiles, type SeenFile, type SeenTree } from "./walk.ts";
import { batchFiles, type WorkPool } from "./work-pool.ts";

export interface HashedFile extends SeenFile {
  readonly md5: string;
}

export interface HashedTree {
  readonly isFolder: boolean;
  /** Of a folder, the hash of its manifest, with `.dir`; else that of the file. */
  readonly md5: string;
  /** What the `.dir` object holds; "" for a file. */
  readonly manifest: string;
  readonly files: readonly HashedFile[];
}

export interface FileHasher {
  hash(path: string): Promise<HashedTree | null>;
  /** Remembers hashes of files that were seen like this before they were read. */
  remember(files: readonly Pick<HashedFile, "path" | "md5" | "stamp">[]): void;
  /** Of each file, its hash where the state knows it. */
  known(path: string, tree: SeenTree): (string | undefined)[];
}

/**
 * A file that changed this short a time ago may change again without a new mtime: clocks of file systems tick slowly. Its
 * hash is not remembered (Git calls such entries racily clean).
 */
const racyMs = 50;

export function createFileHasher(
  root: string,
  state: HashState,
  pool: WorkPool,
  onProgress: (done: number, total: number) => void,
): FileHasher {
  const hasher: FileHasher = {
    async hash(path) {
      const tree = walkFiles(root, path);
      if (tree === null) return null;
      const now = Date.now();
      const hashes = hasher.known(path, tree);
      const unknown = tree.files.flatMap((file, i) => (hashes[i] === undefined ? [i] : []));
      const batches = inBatches(unknown).map((batch): FileWork => ({
        kind: "hash",
        paths: batch.map((i) => `${root}/${tree.files[i]!.path}`),
      }));
      const results = await pool.run(batches, (done) => onProgress(Math.min(done * batchFiles, unknown.length), unknown.length));
      for (const [i, { md5 }] of results.flat().entries()) hashes[unknown[i]!] = md5;
      const files = tree.files.map((file, i) => ({ ...file, md5: hashes[i]! }));
      hasher.remember(unknown.map((i) => files[i]!).filter(({ mtimeMs }) => mtimeMs < now - racyMs));
      return hashTree(path, tree.isFolder, files);
    },
    remember(files) {
      if (files.length > 0) state.save(files.map(({ path, md5, stamp }) => [path, md5, stamp] as const));
    },
    known(path, tree) {
      const rows = state.below(path);
      return tree.files.map((file) => {
        const row = rows.get(file.path);
        return row?.stamp === file.stamp ? row.md5 : undefined;
      });
    },
  };
  return hasher;
}

/** The hash of a folder from those of its files, or of the file itself. */
export function hashTree(path: string, isFolder: boolean, files: readonly HashedFile[]): HashedTree {
  if (!isFolder) return { isFolder, md5: files[0]!.md5, manifest: "", files };
  const manifest = renderManifest(files.map((file) => ({ relpath: file.path.slice(path.length + 1), md5: file.md5 })));
  return { isFolder, md5: `${hash("md5", manifest)}.dir`, manifest, files };
}

export function inBatches<T>(items: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(items.length / batchFiles) }, (_, i) => items.slice(i * batchFiles, (i + 1) * batchFiles));
}
