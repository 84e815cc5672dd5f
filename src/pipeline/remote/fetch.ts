import { chmodSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { ServalError } from "../../errors.ts";
import { cacheMode, objectExists, objectPath } from "../cache/file-work.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import { nameObject } from "../cache/store.ts";
import { withTemporaryFolder } from "../cache/temporary-folder.ts";
import type { TrackedOut } from "../cache/tracked-outs.ts";
import type { RemoteLink } from "./link.ts";
import { listErrors, type OnTransfer, type Transferred } from "./push.ts";

export interface Fetched extends Transferred {
  /** The outs that the remote cannot deliver. */
  readonly missing: readonly string[];
  /** Says which objects of the remote have wrong bytes. */
  readonly corrupt: ServalError | undefined;
}

/**
 * Brings what the outs need from the remote into the cache, where it is missing there. Each object is hashed on its way into a
 * temporary file, and gets its name only where the hash is right. What the remote lacks, or has with other bytes, is in the result.
 */
export async function fetchOuts(
  cache: OutputCache,
  link: RemoteLink,
  outs: readonly Pick<TrackedOut, "path" | "md5">[],
  onTransfer?: OnTransfer,
): Promise<Fetched> {
  const objects = join(cache.config.cacheDir, "files/md5");
  const has = new Map<string, boolean>();
  const inCache = (md5: string): boolean => {
    const known = has.get(md5) ?? objectExists(objects, md5);
    has.set(md5, known);
    return known;
  };
  const corrupt: ServalError[] = [];
  const lacking = new Set<string>();
  let fetched = 0;
  let bytes = 0;
  let present = 0;

  await withTemporaryFolder(join(cache.config.cacheDir, "files"), async (temporary) => {
    let names = 0;
    const fetchAll = async (wanted: Iterable<string>, path: (md5: string) => string): Promise<void> => {
      const unique = [...new Set(wanted)];
      const todo = unique.filter((md5) => !inCache(md5));
      present += unique.length - todo.length;
      const total = fetched + todo.length;
      await link.each(todo, async (md5) => {
        // A try that was given up may still write: the next one gets a file of its own.
        const receive = async (): Promise<{ staged: string; found: string | null }> =>
          await link.attempt("download", md5, async (request) => {
            const staged = join(temporary, String(++names));
            return { staged, found: await link.remote.download(md5, staged, request) };
          });
        const isRight = (found: string | null): boolean => found === null || found === md5.slice(0, 32);
        let { staged, found } = await receive();
        // Once more: the bytes may have changed on the way.
        if (!isRight(found)) ({ staged, found } = await receive());
        if (found === null) lacking.add(md5);
        else if (!isRight(found)) {
          rmSync(staged, { force: true });
          lacking.add(md5);
          corrupt.push(
            new ServalError(
              "E_REMOTE_CORRUPT",
              `Remote "${link.remote.name}": "${link.remote.locate(md5)}" (${path(md5)}): expected the MD5 ${md5.slice(0, 32)}, got ${found}.`,
            ),
          );
        } else {
          bytes += statSync(staged).size;
          chmodSync(staged, cacheMode);
          nameObject(staged, objectPath(objects, md5), cache.config.shared);
          has.set(md5, true);
          onTransfer?.(++fetched, total, bytes);
        }
      });
    };
    const pathOf = new Map(outs.map(({ path, md5 }) => [md5, path]));
    // What a folder needs stands in its manifest.
    await fetchAll(
      outs.filter(({ md5 }) => md5.endsWith(".dir")).map(({ md5 }) => md5),
      (md5) => pathOf.get(md5) ?? md5,
    );
    for (const { path, md5 } of outs) {
      if (md5.endsWith(".dir")) for (const entry of readEntries(cache, md5)) pathOf.set(entry.md5, `${path}/${entry.relpath}`);
    }
    await fetchAll(
      outs.flatMap(({ md5 }) => (md5.endsWith(".dir") ? readEntries(cache, md5).map((entry) => entry.md5) : [md5])),
      (md5) => pathOf.get(md5) ?? md5,
    );
  });
  const missing = outs.filter(({ md5 }) => lacking.has(md5) || readEntries(cache, md5).some((entry) => lacking.has(entry.md5)));
  return {
    remote: link.remote.name,
    url: link.remote.url,
    objects: fetched,
    bytes,
    present,
    missing: missing.map(({ path }) => path),
    corrupt: corrupt.length === 0 ? undefined : listErrors("E_REMOTE_CORRUPT", corrupt),
  };
}

function readEntries(cache: OutputCache, md5: string): readonly { readonly md5: string; readonly relpath: string }[] {
  return md5.endsWith(".dir") ? (cache.entries(md5) ?? []) : [];
}
