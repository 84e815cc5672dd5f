import { basename } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { compareWithLock, recordInLock } from "../../http/download-lock.ts";
import { download, type DownloadOptions } from "../../http/download.ts";
import type { LabelOptions, Source } from "./source.ts";
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

export interface PresetOptions extends DownloadOptions, LabelOptions {
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
  const record = await compareWithLock(options.lockPath, name, preset.url, path);
  await recordInLock(options.lockPath, name, record);
  return openZip(path, { id: `preset:${name}`, title: basename(new URL(preset.url).pathname), labelsFrom: options.labelsFrom });
}
