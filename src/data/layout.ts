import { posix } from "node:path";
import { sha256 } from "../files.ts";
import { isSafePath } from "../safe-path.ts";

/** Where a file of a source belongs: its class, and its name inside the class folder. */
export interface Placement {
  readonly label: string;
  readonly rest: string;
}

const imageExtensions = new Set([".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic"]);
const splitFolders = new Set(["train", "training", "val", "valid", "validation", "dev", "test", "testing"]);

/** One rule for all sources: NFC, trimmed, lower case, so that `Rose/` and `rose/` are one class. */
export function labelOf(folder: string): string {
  return safeName(folder.normalize("NFC").trim().toLowerCase());
}

/**
 * A name that every file system takes: control characters and those that Windows reserves become `_`, a name that means
 * something else (`con`, `git~1`) gets one in front, and a name that is too long loses its middle. "" stays "".
 */
export function safeName(name: string): string {
  const plain = shorten(name.toWellFormed().normalize("NFC")).replaceAll(/[\p{Cc}<>:"|?*\\]/gu, "_");
  const safe = plain.replace(/(?<![. ])[. ]+$/, (end) => "_".repeat(end.length));
  return safe === "" || isSafePath(safe) ? safe : `_${safe}`;
}

/** Leaves room in the 255 bytes of a name for the mark of a second file, and for that of a temporary one. */
function shorten(name: string): string {
  const bytes = Buffer.from(name);
  if (bytes.length <= 200) return name;
  const extension = posix.extname(name);
  const end = extension.length > 16 ? "" : extension;
  return (
    bytes
      .subarray(0, 180)
      .toString("utf8")
      .replace(/\ufffd$/, "") + end
  );
}

/** The path that the bytes of an entry get, of safe names; for one that is too deep, a name made of its hash. */
export function safePath(name: string): string {
  const path = name
    .split("/")
    .map(safeName)
    .filter((part) => part !== "")
    .join("/");
  return isSafePath(path) ? path : `${sha256(name).slice(0, 16)}${safeName(posix.extname(name).slice(0, 16))}`;
}

/** Droppings of operating systems and tools (`.DS_Store`, `__MACOSX/`, `.git/`): not data, not worth a remark. */
export function isHidden(name: string): boolean {
  return name.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
}

function looksLikeImage(name: string): boolean {
  return imageExtensions.has(posix.extname(name).toLowerCase());
}

/**
 * Finds the classes from the folder names (the ImageFolder layout, wherever in the tree it begins): leading folders that
 * all pictures share are stripped, then a level of train/val/test folders, and the next folder is the class; folders
 * below it are part of the name. `names` are all files of the source with forward slashes; what is called like a picture
 * decides, so a readme at the top does not. Returns undefined for a name that lies in no class folder.
 */
export function classLayout(names: readonly string[]): (name: string) => Placement | undefined {
  const pictures = names.filter(looksLikeImage);
  const folders = (pictures.length > 0 ? pictures : names).map((name) => name.split("/").slice(0, -1)).filter((parts) => parts.length > 0);
  const depth = commonDepth(folders);
  const prefix = (folders[0] ?? []).slice(0, depth);
  const splitLevel =
    folders.length > 0 && folders.every((parts) => parts.length > depth + 1 && splitFolders.has(parts[depth]!.toLowerCase()));
  const classAt = splitLevel ? depth + 1 : depth;
  return (name) => {
    const parts = name.split("/");
    if (parts.length < classAt + 2 || prefix.some((part, i) => parts[i] !== part)) return undefined;
    const label = labelOf(parts[classAt]!);
    const rest = safePath(parts.slice(classAt + 1).join("/"));
    return label === "" ? undefined : { label, rest };
  };
}

/** How many leading folders all paths share, leaving at least one folder for the class. */
function commonDepth(folders: readonly string[][]): number {
  const first = folders[0] ?? [];
  let depth = Math.max(0, first.length - 1);
  for (const parts of folders) {
    depth = Math.min(depth, Math.max(0, parts.length - 1));
    for (let i = 0; i < depth; i++) if (parts[i] !== first[i]) depth = i;
  }
  return depth;
}
