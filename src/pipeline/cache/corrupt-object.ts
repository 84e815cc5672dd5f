import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { hashFileMd5, objectPath } from "./file-work.ts";

/** Moves an object with wrong bytes out of the cache, so that it can be fetched again, and gives the error that says so. */
export function setAside(root: string, objects: string, md5: string, what: string): ServalError {
  const path = objectPath(objects, md5);
  const aside = join(root, ".dvc/tmp/corrupt");
  let now = "gone";
  try {
    now = hashFileMd5(path);
    mkdirSync(aside, { recursive: true });
    renameSync(path, join(aside, md5));
  } catch {
    // Another file system, or another process was faster.
    rmSync(path, { force: true });
  }
  return new ServalError("E_CACHE_CORRUPT", `"${path}" (${what}): expected the MD5 ${md5.slice(0, 32)}, got ${now}.`, {
    details: { md5, path },
  });
}
