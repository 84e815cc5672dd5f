import { posix } from "node:path";
import { isMap, isSeq, type Document, type YAMLMap } from "yaml";
import { parsePlainYaml, readYaml } from "../../config/yaml.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { resolveBelow } from "../../safe-path.ts";
import type { YamlValue } from "./yaml-values.ts";
import { renderYaml } from "./yaml-writer.ts";
import type { OutEntry } from "./out-entry.ts";

/** An out of a .dvc file. */
export interface DataFileOut extends OutEntry {
  /** The remote that it belongs to, where that is not the default one. */
  readonly remote?: string;
  readonly cached: boolean;
  readonly pushed: boolean;
}

export interface ReadOutsOptions {
  /** Leaves out what DVC 2 wrote, instead of refusing it. */
  readonly skipLegacy?: boolean;
}

/** The outs of a .dvc file at `file` (relative to the repository); their paths are relative to the repository. Throws E_DVC_FILE. */
export function parseDataFile(text: string, file: string, options: ReadOutsOptions = {}): DataFileOut[] {
  const value = parsePlainYaml(text, file, "E_DVC_FILE") as { wdir?: unknown; outs?: unknown } | null;
  if (value === null || !Array.isArray(value.outs)) throw new ServalError("E_DVC_FILE", `${file}: expected a list \`outs\`.`);
  const dir = resolveOrRefuse(posix.dirname(file), typeof value.wdir === "string" ? value.wdir : ".", `${file}: wdir`);
  return value.outs.flatMap((out: Record<string, unknown>, i) =>
    options.skipLegacy === true && isLegacyOut(out) ? [] : [readOut(out, `${file}: outs[${i}]`, dir)],
  );
}

/** Whether DVC 2 wrote it: its objects lie in another part of a cache. */
export function isLegacyOut(out: Record<string, unknown>): boolean {
  return typeof out["md5"] === "string" && out["hash"] === undefined;
}

/** An out as .dvc files and dvc.lock record it, with its path made relative to the repository. Throws E_DVC_FILE. */
export function readOut(out: Record<string, unknown>, where: string, dir: string): DataFileOut {
  const { path, md5, size, nfiles, isexec, hash, remote } = out;
  if (typeof path !== "string" || typeof md5 !== "string" || !/^[0-9a-f]{32}(\.dir)?$/.test(md5)) {
    const supported = "files" in out || "etag" in out || "version_id" in out ? " (cloud versioning is not supported)" : "";
    throw new ServalError("E_DVC_FILE", `${where}: expected \`path\` and \`md5\`, got ${JSON.stringify(out)}${supported}.`);
  }
  // DVC 2 wrote no `hash`. Its MD5 is the same except for texts with Windows line ends, which count as changed.
  if (hash !== undefined && hash !== "md5")
    throw new ServalError("E_DVC_FILE", `${where}: "${path}": expected the hash md5, got ${JSON.stringify(hash)}.`);
  const full = resolveOrRefuse(dir, path, where);
  if (full === "") throw unsafe(where, path, "is the repository itself");
  return {
    path: full,
    md5,
    size: typeof size === "number" ? size : 0,
    ...(typeof nfiles === "number" && { nfiles }),
    ...(isexec === true && { isexec }),
    ...(typeof remote === "string" && { remote }),
    cached: out["cache"] !== false,
    pushed: out["push"] !== false,
  };
}

function resolveOrRefuse(dir: string, path: string, where: string): string {
  const { path: full, fault } = { path: "", ...resolveBelow(dir, path) };
  if (fault !== undefined) throw unsafe(where, path, fault);
  return full;
}

function unsafe(where: string, path: string, fault: string): ServalError {
  return new ServalError("E_DVC_FILE", `${where}: ${JSON.stringify(path)} ${fault}: expected a path below the repository.`, {
    hint: "Correct the path. If the file came with a repository of somebody else, do not trust that repository.",
  });
}

/** The text of the .dvc file beside `entry`: DVC's own keys and order. `previous` is what was there: its other keys and comments stay. */
export function renderDataFile(entry: OutEntry, previous?: string): string {
  const values: [string, string | number | boolean][] = [
    ["md5", entry.md5],
    ["size", entry.size],
    ...(entry.nfiles === undefined ? [] : [["nfiles", entry.nfiles] as [string, number]]),
    ...(entry.isexec === true ? [["isexec", true] as [string, boolean]] : []),
    ["hash", "md5"],
  ];
  const name = posix.basename(entry.path);
  if (previous === undefined) {
    return renderYaml(new Map([["outs", [new Map<string, YamlValue>([...values, ["path", name]])]]]));
  }
  const { document } = readYaml(previous, `${entry.path}.dvc`, "E_DVC_FILE");
  const outs = document.get("outs");
  const out = isSeq(outs) && outs.items.length === 1 ? outs.items[0] : undefined;
  if (!isMap(out)) throw new ServalError("E_DVC_FILE", `${entry.path}.dvc: expected a list \`outs\` with one out.`);
  replaceHash(out, document, values);
  return document.toString({ indentSeq: false, lineWidth: 0, flowCollectionPadding: false });
}

function replaceHash(out: YAMLMap, document: Document, values: readonly [string, string | number | boolean][]): void {
  const keys = ["md5", "size", "nfiles", "isexec", "hash"];
  const at = out.items.findIndex((item) => keys.includes(String(item.key)));
  for (const key of keys) if (!values.some(([name]) => name === key)) out.delete(key);
  let place = Math.max(0, at);
  for (const [key, value] of values) {
    const index = out.items.findIndex((item) => String(item.key) === key);
    if (index >= 0) {
      out.set(key, value);
      place = index + 1;
    } else out.items.splice(place++, 0, document.createPair(key, value));
  }
}
