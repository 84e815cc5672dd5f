import { stat } from "node:fs/promises";
import { ServalError } from "../../errors.ts";
import { openFolder } from "./folder.ts";
import { openSample } from "./sample.ts";
import type { Source } from "./source.ts";
import { openZip } from "./zip.ts";

/** Opens what a user calls a source: a zip, a folder, an http(s) URL or `sample`. */
export async function openSource(name: string): Promise<Source> {
  if (name === "sample") return openSample();
  const there = await stat(name).catch(() => undefined);
  if (there === undefined) throw new ServalError("E_FILE_NOT_FOUND", `The data source "${name}" does not exist.`);
  if (there.isDirectory()) return openFolder(name);
  if (name.toLowerCase().endsWith(".zip")) return openZip(name);
  throw new ServalError("E_SOURCE", `"${name}" is neither a folder nor a .zip file.`);
}
