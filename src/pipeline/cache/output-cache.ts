import type { DvcConfig } from "../dvc-files/dvc-config.ts";
import type { OutEntry } from "../dvc-files/out-entry.ts";
import type { ManifestEntry } from "./manifest.ts";

export interface OutputCacheOptions {
  readonly signal?: AbortSignal | undefined;
  /** Where the state database lies. Default: .serval of the repository. */
  readonly stateDir?: string | undefined;
  readonly onProgress?: (step: "hash" | "store" | "restore", done: number, total: number) => void;
}

export interface RestoreOptions {
  /** Gives up data in the workspace that the cache lacks. */
  readonly force?: boolean | undefined;
  /** Makes links (or copies) again where their type is not the one of cache.type. */
  readonly relink?: boolean | undefined;
  /** Puts copies into the workspace whatever cache.type says. */
  readonly asCopy?: boolean | undefined;
}

/** What writes to the workspace throws E_PATH_LINK where a folder on the way is a link that the user did not allow. */
export interface OutputCache {
  readonly config: DvcConfig;
  /** What is in the workspace; null where nothing is. Reads only files that changed since they were last hashed. */
  hash(path: string): Promise<OutEntry | null>;
  /**
   * Hashes, puts into the cache what it lacks, and links back by cache.type; with `asCopy` the workspace keeps its own files,
   * which Git may track. Throws E_FILE_NOT_FOUND.
   */
  store(path: string, options?: { readonly asCopy?: boolean }): Promise<OutEntry>;
  /** Turns links into the cache into independent files, so that they can be written to. */
  unlink(path: string): Promise<void>;
  /** Throws E_PATH_LINK where the path may not be written. */
  checkWritable(path: string): Promise<void>;
  /** Removes a file or folder from the workspace. */
  remove(path: string): Promise<void>;
  /**
   * Makes the workspace hold the entry; false where the cache lacks any of it, and then nothing changed. Throws E_DATA_UNSAVED
   * where data would be lost that is not in the cache, and E_CACHE_CORRUPT, which names the object and the file.
   */
  restore(entry: Pick<OutEntry, "path" | "md5" | "isexec">, options?: RestoreOptions): Promise<boolean>;
  /** Whether the cache holds the object; of a folder, also every file of it. */
  has(md5: string): Promise<boolean>;
  /** The files of a folder's hash; null where the cache lacks its manifest. */
  entries(md5: string): readonly ManifestEntry[] | null;
  /** Where the cache keeps the bytes of a hash; null where it does not have them. */
  object(md5: string): string | null;
  close(): void;
}
