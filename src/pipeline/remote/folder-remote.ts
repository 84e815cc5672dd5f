import { lstatSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder } from "../../files.ts";
import type { RemoteConfig } from "../dvc-files/dvc-config.ts";
import { nameObject, objectPath } from "../cache/file-work.ts";
import { makeTemporaryFolder } from "../cache/temporary-folder.ts";
import { copyHashed, readChecked, readPieces } from "./copy-hashed.ts";
import { listObjects } from "./list-objects.ts";
import type { Remote } from "./remote.ts";

/** A folder: on this disk, an external one, or a network drive. */
export function openFolderRemote(config: RemoteConfig, settings: Pick<Remote, "jobs" | "stallMs"> & { readonly shared: boolean }): Remote {
  const objects = join(config.url, "files/md5");
  let temporary: string | undefined;
  let names = 0;
  const touched = new Set<string>();
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
        await copyHashed(readChecked(md5, path, request), staged, Number.POSITIVE_INFINITY, request.moved);
        nameObject(staged, objectPath(objects, md5), settings.shared);
        touched.add(dirname(objectPath(objects, md5)));
      } finally {
        rmSync(staged, { force: true });
      }
    },
    async settle() {
      for (const dir of touched) await syncFolder(dir);
      touched.clear();
    },
    async download(md5, path, maxBytes, request) {
      const object = objectPath(objects, md5);
      if (lstatSync(object, { throwIfNoEntry: false }) === undefined) return null;
      return await copyHashed(readPieces(object, request), path, maxBytes, request.moved);
    },
    remove: (md5) => rm(objectPath(objects, md5), { force: true }),
    refusal: () => undefined,
    close: () => {
      if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
    },
  };
}
