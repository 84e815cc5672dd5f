import { createReadStream, lstatSync, rmSync } from "node:fs";
import { chmod, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder } from "../../files.ts";
import type { RemoteConfig } from "../cache/dvc-config.ts";
import { cacheMode, objectPath } from "../cache/file-work.ts";
import { nameObject } from "../cache/store.ts";
import { makeTemporaryFolder } from "../cache/temporary-folder.ts";
import { copyHashed, readChecked } from "./copy-hashed.ts";
import { listObjects } from "./list-objects.ts";
import type { Remote } from "./remote.ts";

/** A folder: on this disk, an external one, or a network drive. */
export function openFolderRemote(config: RemoteConfig, settings: Pick<Remote, "jobs" | "stallMs"> & { readonly shared: boolean }): Remote {
  const objects = join(config.url, "files/md5");
  let temporary: string | undefined;
  let names = 0;
  return {
    name: config.name,
    url: config.url,
    jobs: settings.jobs,
    stallMs: settings.stallMs,
    locate: (md5) => objectPath(objects, md5),
    // Nothing half-written ever has such a name, neither from us nor from DVC: being there is enough.
    has: (md5) => Promise.resolve(lstatSync(objectPath(objects, md5), { throwIfNoEntry: false }) !== undefined),
    list: (digits, request) => Promise.resolve(listObjects(objects, digits, request)),
    async upload(md5, path, request) {
      temporary ??= makeTemporaryFolder(dirname(objects));
      const staged = join(temporary, String(++names));
      try {
        await copyHashed(readChecked(md5, path, request.moved), staged, request.moved);
        // The modes are a courtesy to other tools: file systems without them take none.
        await chmod(staged, cacheMode).catch(() => undefined);
        nameObject(staged, objectPath(objects, md5), settings.shared);
        await syncFolder(dirname(objectPath(objects, md5)));
      } finally {
        rmSync(staged, { force: true });
      }
    },
    async download(md5, path, request) {
      const object = objectPath(objects, md5);
      const found = await stat(object).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (found === undefined) return null;
      const source = createReadStream(object, { highWaterMark: 1 << 20, signal: request.signal });
      return await copyHashed(source as AsyncIterable<Buffer>, path, request.moved);
    },
    remove: (md5) => rm(objectPath(objects, md5), { force: true }),
    refusal: () => undefined,
    close: () => {
      if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
    },
  };
}
