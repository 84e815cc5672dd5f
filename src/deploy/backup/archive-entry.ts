import { ServalError } from "../../errors/serval-error.ts";

/** `hard link`: another name of a file that came before. `other`: a device, a pipe or anything that only tar knows. */
export type EntryKind = "file" | "folder" | "link" | "hard link" | "other";

/** What an archive says about one of its entries. */
export interface ArchiveEntry {
  readonly kind: EntryKind;
  /** As the archive has it, without the slash at the end of a folder. */
  readonly path: string;
  /** Where a link leads, or the path of the file that a hard link names; "" for the others. */
  readonly target: string;
  /** Whether it would run with the rights of its owner or group. */
  readonly runsAsOwner: boolean;
}

/** What GNU tar needs besides the archive to print a list whose every line is one entry, whatever the names hold. */
export const listingFlags = ["--list", "--verbose", "--numeric-owner", "--quoting-style=c"] as const;
export const listingLocale = { LC_ALL: "C" } as const;

const kinds: Readonly<Record<string, EntryKind>> = { "-": "file", d: "folder", l: "link", h: "hard link" };
const quoted = String.raw`"((?:[^"\\]|\\.)*)"`;
const line = new RegExp(String.raw`^(\S)(\S{9})\S* \S+ +\S+ \S+ \S+ ${quoted}(?: (?:->|link to) ${quoted})?$`);

/** One line of such a list. Throws E_ARCHIVE_UNSAFE for one that cannot be read, or a name that is not text. */
export function parseEntry(text: string): ArchiveEntry {
  const [, type = "", mode = "", path, target = ""] = line.exec(text) ?? [];
  if (path === undefined) {
    throw new ServalError("E_ARCHIVE_UNSAFE", `The archive holds an entry that tar lists as ${JSON.stringify(text.slice(0, 200))}.`);
  }
  return {
    kind: kinds[type] ?? "other",
    path: unquote(path).replace(/(?<=[^/])\/$/, ""),
    target: unquote(target),
    runsAsOwner: type !== "d" && /s/i.test(`${mode[2]}${mode[5]}`),
  };
}

const escapes: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** Undoes the quoting of C, which leaves nothing but ASCII. */
function unquote(text: string): string {
  const bytes = [...text.matchAll(/\\([0-7]{3})|\\(.)|([^\\])/g)].map(([, octal, escaped, plain]) =>
    octal === undefined ? (escapes[escaped ?? ""] ?? (escaped ?? plain ?? "").charCodeAt(0)) : Number.parseInt(octal, 8),
  );
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch (cause) {
    throw new ServalError("E_ARCHIVE_UNSAFE", `The archive holds the name ${JSON.stringify(text.slice(0, 200))}, which is not UTF-8.`, {
      cause,
    });
  }
}
