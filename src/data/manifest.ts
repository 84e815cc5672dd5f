import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { readIfThere, sha256, writeFileAtomic } from "../files.ts";
import { findPathFault } from "../safe-path.ts";
import { splitNames, type Split } from "./split-names.ts";

/** One picture of data/raw. The field order here is the key order in the file. */
export interface ManifestRow {
  /** Relative to data/raw, forward slashes, NFC. */
  readonly path: string;
  readonly label: string;
  readonly sha256: string;
  /** 64-bit difference hash, 16 hex digits. */
  readonly dhash: string;
  /** As seen, after EXIF orientation. */
  readonly width: number;
  readonly height: number;
  readonly format: string;
  /** The split that the source has it in; absent where the source has none, or was imported by an earlier version. */
  readonly split?: Split;
}

export interface Manifest {
  readonly rows: readonly ManifestRow[];
  /** The data version: SHA-256 of the file's bytes. */
  readonly dataVersion: string;
}

export const manifestName = "manifest.jsonl";

/** Orders strings as their UTF-8 bytes, the same on every machine and in every locale. */
export function compareBytes(a: string, b: string): number {
  // UTF-16 and UTF-8 agree on the order except for surrogates, which sort before U+E000..U+FFFF in UTF-16 only.
  return isPlain(a) && isPlain(b) ? (a < b ? -1 : a > b ? 1 : 0) : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function isPlain(text: string): boolean {
  return !/[\ud800-\uffff]/.test(text);
}

export function formatManifest(rows: readonly ManifestRow[]): string {
  return [...rows]
    .sort((a, b) => compareBytes(a.path, b.path))
    .map(
      ({ path, label, sha256, dhash, width, height, format, split }) =>
        `${JSON.stringify({ path, label, sha256, dhash, width, height, format, ...(split !== undefined && { split }) })}\n`,
    )
    .join("");
}

/** Parses a manifest; E_MANIFEST_CORRUPT names the line. `where` is the file's path, for messages. */
export function parseManifest(text: string, where: string): ManifestRow[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line, i) => parseRow(line, `${where}:${i + 1}`));
}

function parseRow(line: string, where: string): ManifestRow {
  let row: Partial<Record<keyof ManifestRow, unknown>> | null;
  try {
    row = JSON.parse(line) as typeof row;
  } catch (error) {
    throw new ServalError("E_MANIFEST_CORRUPT", `${where} is not JSON: ${line.slice(0, 80)}`, { cause: error });
  }
  const texts = [row?.path, row?.label, row?.format];
  const valid =
    texts.every((text) => typeof text === "string" && text !== "") &&
    /^[0-9a-f]{64}$/.test(String(row?.sha256)) &&
    /^[0-9a-f]{16}$/.test(String(row?.dhash)) &&
    Number.isInteger(row?.width) &&
    Number.isInteger(row?.height) &&
    (row?.split === undefined || splitNames.includes(row.split as Split));
  if (!valid) throw new ServalError("E_MANIFEST_CORRUPT", `${where} is not a manifest row: ${line.slice(0, 200)}`);
  const fault = findPathFault(String(row?.path));
  if (fault !== undefined) {
    throw new ServalError(
      "E_MANIFEST_CORRUPT",
      `${where}: ${JSON.stringify(row?.path)} ${fault}: expected a path in the folder of the manifest.`,
    );
  }
  return row as ManifestRow;
}

/** Reads the manifest of an imported folder; E_MANIFEST_MISSING where nothing was imported yet. */
export async function readManifest(dir: string): Promise<Manifest> {
  const path = join(dir, manifestName);
  const text = await readIfThere(path);
  if (text === undefined) throw new ServalError("E_MANIFEST_MISSING", `"${path}" does not exist.`);
  return { rows: parseManifest(text, path), dataVersion: sha256(text) };
}

/** Whether a folder is one that an import wrote: another program's file may have the name of the manifest. */
export async function isImportedFolder(dir: string): Promise<boolean> {
  const text = await readIfThere(join(dir, manifestName));
  const first = text?.slice(0, Math.max(0, text.indexOf("\n")));
  try {
    return first !== undefined && parseManifest(first, manifestName).length === 1;
  } catch {
    return false;
  }
}

/** The rows of an imported folder; none where nothing was imported yet. */
export async function readRows(dir: string): Promise<readonly ManifestRow[]> {
  try {
    return (await readManifest(dir)).rows;
  } catch (error) {
    if (error instanceof ServalError && error.code === "E_MANIFEST_MISSING") return [];
    throw error;
  }
}

/** Writes the manifest and returns it with its data version; a file that is equal already keeps its time. */
export async function writeManifest(dir: string, rows: readonly ManifestRow[]): Promise<Manifest & { readonly changed: boolean }> {
  const path = join(dir, manifestName);
  const text = formatManifest(rows);
  const before = await readIfThere(path);
  if (before !== text) await writeFileAtomic(path, text);
  return { rows: parseManifest(text, path), dataVersion: sha256(text), changed: before !== text };
}
