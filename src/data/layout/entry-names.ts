import { posix } from "node:path";
import { sha256 } from "../../files.ts";
import { isSafePath } from "../../safe-path.ts";

const imageExtensions = new Set([
  ".jpg",
  ".jpeg",
  ".jpe",
  ".jfif",
  ".png",
  ".webp",
  ".gif",
  ".bmp",
  ".tif",
  ".tiff",
  ".avif",
  ".heic",
  ".heif",
  ".jxl",
  ".jp2",
]);

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

/** Whether a file is called like a picture, also like one of a format that is not read. */
export function isPictureName(name: string): boolean {
  return imageExtensions.has(posix.extname(name).toLowerCase());
}

/** Whether a file is called like an archive. */
export function isArchiveName(name: string): boolean {
  return /\.(?:zip|tar|tgz|tar\.\w+|tbz2?|txz|gz|bz2|xz|zst|rar|7z)$/i.test(name);
}
