import { lstatSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseObjectName, type RemoteObject, type RemoteRequest } from "./remote.ts";

/** The objects below `files/md5` of a cache or a folder remote whose names begin with these two digits; all of them for "". */
export function listObjects(objects: string, digits: string, request?: RemoteRequest): RemoteObject[] {
  const folders = digits === "" ? readFolder(objects) : [digits];
  return folders.flatMap((folder) => {
    request?.signal.throwIfAborted();
    request?.moved();
    // A link could lead into the cache of another repository, and what is listed here may be removed.
    if (lstatSync(join(objects, folder), { throwIfNoEntry: false })?.isSymbolicLink() === true) return [];
    return readFolder(join(objects, folder)).flatMap((name) => {
      const md5 = parseObjectName(`${folder}/${name}`);
      const size = md5 === undefined ? undefined : statSync(join(objects, folder, name), { throwIfNoEntry: false })?.size;
      return md5 === undefined || size === undefined ? [] : [{ md5, size }];
    });
  });
}

function readFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
}
