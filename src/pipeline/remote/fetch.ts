import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { nameObject, objectExists, objectPath } from "../cache/file-work.ts";
import type { ManifestEntry } from "../cache/manifest.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import { withTemporaryFolder } from "../cache/temporary-folder.ts";
import type { TrackedOut } from "../dvc-files/tracked-outs.ts";
import type { RemoteLink } from "./link.ts";
import type { OnTransfer, Transferred } from "./push.ts";

export interface FetchedObjects {
  readonly objects: number;
  readonly bytes: number;
  /** Objects that the cache had already. */
  readonly present: number;
  /** What the remote does not have, or has with other bytes. */
  readonly lacking: ReadonlySet<string>;
  /** One for each object of the remote that has wrong bytes. */
  readonly corrupt: readonly ServalError[];
}

export interface Fetched extends Transferred {
  /** The outs that the remote cannot deliver. */
  readonly missing: readonly string[];
  readonly corrupt: readonly ServalError[];
}

/** What is fetched of the outs that a repository records. */
export type WantedOut = Pick<TrackedOut, "path" | "md5"> & Partial<Pick<TrackedOut, "size">>;

/** A list of ten million files. */
const mostManifestBytes = 2 ** 30;

/** Brings what the outs need from the remote into the cache, where it is missing there. */
export async function fetchOuts(
  cache: OutputCache,
  link: RemoteLink,
  outs: readonly WantedOut[],
  onTransfer?: OnTransfer,
): Promise<Fetched> {
  const paths = new Map(outs.map(({ path, md5 }) => [md5, path]));
  // No file of a folder is larger than the folder. Old versions of DVC recorded no sizes.
  const sizes = new Map(outs.map(({ md5, size = 0 }) => [md5, size > 0 ? size : Number.POSITIVE_INFINITY]));
  const nameOf = (md5: string): string => paths.get(md5) ?? md5;
  // The manifest of a folder lists what it needs.
  const manifests = outs.filter(({ md5 }) => md5.endsWith(".dir")).map(({ md5 }) => md5);
  const first = await fetchObjects(cache, link, manifests, { nameOf });
  const entries = new Map(manifests.map((md5) => [md5, first.lacking.has(md5) ? [] : (cache.entries(md5) ?? [])]));
  for (const [md5, files] of entries) {
    for (const file of files) {
      paths.set(file.md5, `${paths.get(md5)}/${file.relpath}`);
      sizes.set(file.md5, Math.max(sizes.get(file.md5) ?? 0, sizes.get(md5) ?? 0));
    }
  }
  const wanted = outs.flatMap(({ md5 }) => entries.get(md5)?.map((file) => file.md5) ?? [md5]);
  const second = await fetchObjects(cache, link, wanted, { nameOf, maxBytesOf: (md5) => sizes.get(md5) ?? 0, onTransfer });
  const lacks = (md5: string): boolean => first.lacking.has(md5) || second.lacking.has(md5);
  return {
    remote: link.remote.name,
    url: link.remote.url,
    objects: first.objects + second.objects,
    bytes: first.bytes + second.bytes,
    present: first.present + second.present,
    missing: outs.filter(({ md5 }) => lacks(md5) || entries.get(md5)?.some((file) => lacks(file.md5)) === true).map(({ path }) => path),
    corrupt: [...first.corrupt, ...second.corrupt],
  };
}

interface FetchOptions {
  /** The file that a message names for an object. */
  readonly nameOf: (md5: string) => string;
  /** No more of an object is received. Default: as much as a list of files may have. */
  readonly maxBytesOf?: (md5: string) => number;
  readonly onTransfer?: OnTransfer | undefined;
}

/**
 * Brings objects into the cache. Each is hashed on its way into a temporary file, and gets its name only where the hash is
 * right. What cannot be had is in the result.
 */
export async function fetchObjects(
  cache: OutputCache,
  link: RemoteLink,
  md5s: readonly string[],
  options: FetchOptions,
): Promise<FetchedObjects> {
  const { nameOf, maxBytesOf = (): number => mostManifestBytes, onTransfer } = options;
  const objects = join(cache.config.cacheDir, "files/md5");
  const unique = [...new Set(md5s)];
  const todo = unique.filter((md5) => (md5.endsWith(".dir") ? readManifest(cache, md5) === null : !objectExists(objects, md5)));
  const lacking = new Set<string>();
  const corrupt: ServalError[] = [];
  let fetched = 0;
  let bytes = 0;
  await withTemporaryFolder(join(cache.config.cacheDir, "files"), async (temporary) => {
    let names = 0;
    const receive = async (md5: string): Promise<{ readonly staged: string; readonly found: string | null }> =>
      await link.attempt("download", md5, async (request) => {
        // A try that was given up may still write: the next one gets its own file.
        const staged = join(temporary, String(++names));
        return { staged, found: await link.remote.download(md5, staged, maxBytesOf(md5), request) };
      });
    await link.each(todo, async (md5) => {
      const isRight = (found: string | null): boolean => found === null || found === md5.slice(0, 32);
      let { staged, found } = await receive(md5);
      // Once more: the bytes may have changed on the way.
      if (!isRight(found)) ({ staged, found } = await receive(md5));
      if (found === null || !isRight(found)) {
        lacking.add(md5);
        if (found === null) return;
        rmSync(staged);
        const what = `Remote "${link.remote.name}": "${link.remote.locate(md5)}" (${nameOf(md5)})`;
        corrupt.push(new ServalError("E_REMOTE_CORRUPT", `${what}: expected the MD5 ${md5.slice(0, 32)}, got ${found}.`));
        return;
      }
      bytes += statSync(staged).size;
      nameObject(staged, objectPath(objects, md5), cache.config.shared);
      fetched++;
      onTransfer?.(fetched, todo.length, bytes);
    });
  });
  return { objects: fetched, bytes, present: unique.length - todo.length, lacking, corrupt };
}

/** One that is damaged is set aside by the look into it, and counts as missing. */
function readManifest(cache: OutputCache, md5: string): readonly ManifestEntry[] | null {
  try {
    return cache.entries(md5);
  } catch (error) {
    if (error instanceof ServalError && error.code === "E_CACHE_CORRUPT") return null;
    throw error;
  }
}
