import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { download } from "../../http/download.ts";
import { nameFormat } from "../../image/name-format.ts";
import { readStart } from "../../files.ts";
import { defaultStateDir } from "../../paths.ts";
import { openFolder } from "./folder.ts";
import { openPreset, type Preset } from "./preset.ts";
import { openSample } from "./sample.ts";
import type { LabelOptions, Source } from "./source.ts";
import { openZip } from "./zip.ts";

export interface OpenSourceOptions extends LabelOptions {
  /** How names in a zip are written that are not UTF-8: gbk, shift_jis, … */
  readonly zipEncoding?: string | undefined;
  /** Folders outside a source that its links may lead to: the caches of repositories. */
  readonly linkRoots?: readonly string[] | undefined;
  /** The working repository: paths are relative to it. */
  readonly cwd?: string;
  /** Downloads go to its downloads/. Default: .serval of the working repository. */
  readonly stateDir?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called while a URL or preset is downloaded. */
  readonly onDownload?: (doneBytes: number, totalBytes: number) => void;
  readonly presets?: Readonly<Record<string, Preset>>;
}

/**
 * Opens what a user calls a source: a zip, a folder with one subfolder per class, an http(s) URL of a zip,
 * `preset:NAME` or `sample`. Throws E_FILE_NOT_FOUND, E_SOURCE, E_SOURCE_EMPTY, E_DOWNLOAD*, E_ARCHIVE_*.
 */
export async function openSource(name: string, options: OpenSourceOptions = {}): Promise<Source> {
  const cwd = options.cwd ?? ".";
  const downloads = {
    dir: resolve(cwd, options.stateDir ?? defaultStateDir, "downloads"),
    signal: options.signal,
    onProgress: options.onDownload,
  };
  const labels = { labelsFrom: options.labelsFrom };
  const zipped = { ...labels, encoding: options.zipEncoding };
  if (name === "sample") return openSample();
  if (name.startsWith("preset:")) {
    const presets = options.presets && { presets: options.presets };
    return openPreset(name.slice("preset:".length), { ...downloads, lockPath: join(cwd, "downloads.lock.json"), ...presets, ...labels });
  }
  if (/^https?:\/\//i.test(name)) {
    const url = parseUrl(name);
    return openZip(await download(url, downloads), { id: `url:${url}`, title: basename(new URL(url).pathname) || url, ...zipped });
  }
  const path = resolve(cwd, name);
  const there = await stat(path).catch(() => undefined);
  if (there === undefined) throw new ServalError("E_FILE_NOT_FOUND", `The data source "${name}" does not exist.`);
  if (there.isDirectory()) return openFolder(path, { ...labels, linkRoots: options.linkRoots });
  if (path.toLowerCase().endsWith(".zip")) return openZip(path, zipped);
  const known = there.isFile() ? nameFormat(await readStart(path, 1024)) : undefined;
  const what = known === undefined ? "" : ` It is ${known.name}.`;
  throw new ServalError("E_SOURCE", `"${name}" is neither a folder nor a .zip file.${what}`, {
    ...(known !== undefined && /archive|compressed/.test(known.name) && { hint: "Unpack it, and import the folder that it gives." }),
  });
}

function parseUrl(name: string): string {
  const url = URL.parse(name);
  if (url === null) throw new ServalError("E_SOURCE", `"${name}" is not a valid URL.`);
  if (url.username === "" && url.password === "") return url.href;
  // The address of a source is recorded with the data.
  throw new ServalError("E_SOURCE", `The address of ${url.host} contains a user or a password, which would be recorded with the data.`, {
    hint: "Download the file with another program, then import the file.",
  });
}
