import { readFile, rm, stat } from "node:fs/promises";
import { basename } from "node:path";
import { ServalError } from "../../errors.ts";
import { sha256File, writeFileAtomic } from "../../files.ts";
import { download, type DownloadOptions } from "./download.ts";
import type { Source } from "./source.ts";
import { openZip } from "./zip.ts";

/** A public data set by a short name. */
export interface Preset {
  readonly url: string;
}

export const presets: Readonly<Record<string, Preset>> = {
  // The Asirra / Kaggle "Dogs vs. Cats" photographs as Microsoft publishes them; PetImages/Cat and PetImages/Dog.
  "cats-dogs": {
    url: "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip",
  },
};

/** One entry of downloads.lock.json. */
export interface DownloadRecord {
  readonly url: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface PresetOptions extends DownloadOptions {
  /**
   * downloads.lock.json at the root of the working repository; it belongs in Git. A preset's size and hash are
   * written there at the first download and compared ever after, on every machine that shares the repository.
   */
  readonly lockPath: string;
  readonly presets?: Readonly<Record<string, Preset>>;
}

/** Downloads a preset, or finds it downloaded, and opens it. Throws E_SOURCE, E_DOWNLOAD, E_DOWNLOAD_MISMATCH. */
export async function openPreset(name: string, options: PresetOptions): Promise<Source> {
  const known = options.presets ?? presets;
  const preset = known[name];
  if (preset === undefined) {
    throw new ServalError("E_SOURCE", `There is no preset "${name}"; expected one of ${Object.keys(known).join(", ")}.`);
  }
  const path = await download(preset.url, options);
  await checkAgainstLock(name, preset.url, path, options.lockPath);
  return openZip(path, { id: `preset:${name}`, title: basename(new URL(preset.url).pathname) });
}

async function checkAgainstLock(name: string, url: string, path: string, lockPath: string): Promise<void> {
  const lock = await readLock(lockPath);
  const actual: DownloadRecord = { url, sizeBytes: (await stat(path)).size, sha256: await sha256File(path) };
  const recorded = lock[name];
  if (recorded === undefined) {
    const sorted = Object.fromEntries(Object.entries({ ...lock, [name]: actual }).sort(([a], [b]) => (a < b ? -1 : 1)));
    await writeFileAtomic(lockPath, `${JSON.stringify(sorted, null, 2)}\n`);
    return;
  }
  if (recorded.sizeBytes === actual.sizeBytes && recorded.sha256 === actual.sha256) return;
  // The next import downloads it again: it may have been damaged on the way.
  for (const file of [path, `${path}.json`]) await rm(file, { force: true });
  throw new ServalError(
    "E_DOWNLOAD_MISMATCH",
    `"${url}" has ${actual.sizeBytes} bytes with sha256 ${actual.sha256}; ${basename(lockPath)} expects ${recorded.sizeBytes} bytes with sha256 ${recorded.sha256}.`,
    { details: { actual, recorded } },
  );
}

async function readLock(path: string): Promise<Record<string, DownloadRecord>> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "{}";
    throw error;
  });
  try {
    return JSON.parse(text) as Record<string, DownloadRecord>;
  } catch (error) {
    // An unreadable lock must not count as "first download": that would accept anything.
    throw new ServalError("E_DOWNLOAD_MISMATCH", `"${path}" is not JSON, so the download cannot be compared with what was recorded.`, {
      cause: error,
    });
  }
}
