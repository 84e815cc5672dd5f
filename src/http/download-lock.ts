import { rm, stat } from "node:fs/promises";
import { basename } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { readIfThere, sha256File, writeFileAtomic } from "../files.ts";

/** downloads.lock.json lies at the root of the working repository and belongs in Git: every machine then gets the same bytes. */
export const downloadLockFile = "downloads.lock.json";

/** One entry of the lock. */
export interface DownloadRecord {
  readonly url: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/**
 * Compares a downloaded file with what the lock has under `name`, and returns what it is. A file that differs is removed, because it
 * may have been damaged on the way: the next call downloads it again. Throws E_DOWNLOAD_MISMATCH.
 */
export async function compareWithLock(lockPath: string, name: string, url: string, path: string): Promise<DownloadRecord> {
  const recorded = (await readLock(lockPath))[name];
  const actual: DownloadRecord = { url, sizeBytes: (await stat(path)).size, sha256: await sha256File(path) };
  if (recorded === undefined || (recorded.sizeBytes === actual.sizeBytes && recorded.sha256 === actual.sha256)) return actual;
  for (const file of [path, `${path}.json`]) await rm(file, { force: true });
  throw new ServalError(
    "E_DOWNLOAD_MISMATCH",
    `"${url}" has ${actual.sizeBytes} bytes with sha256 ${actual.sha256}; ${basename(lockPath)} expects ${recorded.sizeBytes} bytes with sha256 ${recorded.sha256}.`,
    { details: { actual, recorded } },
  );
}

/** Writes a file's size and hash into the lock, unless it has an entry of that name: the first one counts. */
export async function recordInLock(lockPath: string, name: string, record: DownloadRecord): Promise<void> {
  const lock = await readLock(lockPath);
  if (lock[name] !== undefined) return;
  const sorted = Object.fromEntries(Object.entries({ ...lock, [name]: record }).sort(([a], [b]) => (a < b ? -1 : 1)));
  await writeFileAtomic(lockPath, `${JSON.stringify(sorted, null, 2)}\n`);
}

async function readLock(path: string): Promise<Record<string, DownloadRecord>> {
  const text = (await readIfThere(path)) ?? "{}";
  try {
    return JSON.parse(text) as Record<string, DownloadRecord>;
  } catch (error) {
    // An unreadable lock must not count as "first download": that would accept anything.
    throw new ServalError("E_DOWNLOAD_MISMATCH", `"${path}" is not JSON, so the download cannot be compared with what was recorded.`, {
      cause: error,
    });
  }
}
