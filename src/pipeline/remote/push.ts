import { statSync } from "node:fs";
import { join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { setAside } from "../cache/corrupt-object.ts";
import { objectExists, objectPath } from "../cache/file-work.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import type { TrackedOut } from "../dvc-files/tracked-outs.ts";
import { findExisting } from "./find-existing.ts";
import type { RemoteLink } from "./link.ts";
import { firstOf } from "../../text.ts";

export interface Transferred {
  readonly remote: string;
  readonly url: string;
  readonly objects: number;
  readonly bytes: number;
  /** Objects that were there already. */
  readonly present: number;
}

export type OnTransfer = (objects: number, total: number, bytes: number) => void;

/**
 * Brings what the outs need from the cache to the remote, where it is missing there. A folder's manifest goes last and only
 * where all its files are there: a remote never shows a folder that it cannot deliver. What can be sent is sent before
 * E_CACHE_CORRUPT or E_CACHE_MISSING says what cannot.
 */
export async function pushOuts(
  root: string,
  cache: OutputCache,
  link: RemoteLink,
  outs: readonly Pick<TrackedOut, "path" | "md5">[],
  onTransfer?: OnTransfer,
): Promise<Transferred> {
  const objects = join(cache.config.cacheDir, "files/md5");
  const folders = outs.flatMap(({ path, md5 }) => (md5.endsWith(".dir") ? [{ path, md5, files: cache.entries(md5) }] : []));
  /** Object -> the file that a message names. */
  const files = new Map(outs.flatMap(({ path, md5 }): [string, string][] => (md5.endsWith(".dir") ? [] : [[md5, path]])));
  for (const folder of folders) for (const { md5, relpath } of folder.files ?? []) files.set(md5, `${folder.path}/${relpath}`);

  const there = await findExisting(link, [...files.keys(), ...new Set(folders.map(({ md5 }) => md5))]);
  const present = there.size;
  const todo = [...files.keys()].filter((md5) => !there.has(md5));
  const manifests = new Set(folders.flatMap(({ md5, files: known }) => (known === null || there.has(md5) ? [] : [md5])));
  const total = todo.length + manifests.size;
  let sent = 0;
  let bytes = 0;
  const send = async (md5: string): Promise<void> => {
    const path = objectPath(objects, md5);
    await link.attempt("upload", md5, (request) => link.remote.upload(md5, path, request));
    there.add(md5);
    bytes += statSync(path).size;
    sent++;
    onTransfer?.(sent, total, bytes);
  };

  const missing: string[] = [];
  const corrupt: ServalError[] = [];
  await link.each(todo, async (md5) => {
    if (!objectExists(objects, md5)) missing.push(files.get(md5) ?? md5);
    else {
      try {
        await send(md5);
      } catch (error) {
        if (!(error instanceof ServalError && error.code === "E_CACHE_CORRUPT")) throw error;
        corrupt.push(setAside(root, objects, md5, files.get(md5) ?? md5));
      }
    }
  });
  const whole = folders.filter(({ md5, files: known }) => manifests.has(md5) && known!.every((file) => there.has(file.md5)));
  await link.remote.settle();
  await link.each([...new Set(whole.map(({ md5 }) => md5))], send);
  await link.remote.settle();

  if (corrupt.length > 0) throw listErrors("E_CACHE_CORRUPT", corrupt);
  // Where the cache lacks a manifest, the remote may still have the whole folder.
  missing.push(...folders.filter(({ md5, files: known }) => known === null && !there.has(md5)).map(({ path }) => path));
  if (missing.length > 0) {
    throw new ServalError(
      "E_CACHE_MISSING",
      `${listPaths(missing)}: neither the cache nor the remote "${link.remote.name}" has the data.`,
      {
        hint: "Make it again (`serval add PATH` or `serval repro`), or pull it from another remote; all else was pushed.",
        details: { paths: missing },
      },
    );
  }
  return { remote: link.remote.name, url: link.remote.url, objects: sent, bytes, present };
}

/** Many errors of one kind as one. */
export function listErrors(code: "E_CACHE_CORRUPT" | "E_REMOTE_CORRUPT", errors: readonly Error[]): ServalError {
  const messages = errors.map(({ message }) => message);
  return new ServalError(code, firstOf(messages, 10, "\n  "), { details: { count: errors.length } });
}

export function listPaths(paths: readonly string[]): string {
  const named = paths.map((path) => `"${path}"`);
  return firstOf(named, 5);
}
