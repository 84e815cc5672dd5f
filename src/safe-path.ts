import { lstat, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, posix } from "node:path";
import { ServalError } from "./errors/serval-error.ts";
import { defaultStateDir } from "./paths.ts";

/** The folders of Git, DVC and Serval. A program that can write there can run commands, or give itself more rights. */
const toolFolders: ReadonlySet<string> = new Set([".git", ".dvc", defaultStateDir]);
/** What Windows calls the same folders in names of eight letters and three, such as `git~1`. */
const shortToolFolder = /^(git|dvc|serval)~\d+$/;
const device = /^(con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$) *(\.|$)/;
const nameBytes = 255;
/** Below the 4,096 of Linux, with room for the folder before it. */
const pathBytes = 3072;

export interface PathRules {
  /**
   * The path is for a folder of Linux where none of the tools works, such as a container's volume: `.git`, `aux` and a backslash are
   * names like others there. A path that leads out of the folder is still refused.
   */
  readonly anyName?: boolean;
}

/**
 * What is wrong with a path that came from a file, an archive or a server, as the end of a sentence; undefined where it is safe. A safe
 * path lies below whatever folder it is joined to, on Linux, macOS and Windows, and in no folder of Git, DVC or Serval. The
 * file need not exist, and links are not looked at: that is the work of `LinkGuard`.
 */
export function findPathFault(path: string, { anyName = false }: PathRules = {}): string | undefined {
  if (path === "") return "is empty";
  if (!path.isWellFormed()) return "holds half of a character";
  if (path.includes("\0")) return "holds a control character";
  if (!anyName && /\p{Cc}/u.test(path)) return "holds a control character";
  if (!anyName && path.includes("\\")) return "holds a backslash, which separates folders on Windows";
  if (path.startsWith("/")) return "is absolute";
  if (Buffer.byteLength(path) > pathBytes) return `has more than ${pathBytes} bytes`;
  for (const name of path.split("/")) {
    const fault = findNameFault(name, anyName);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

export function isSafePath(path: string): boolean {
  return findPathFault(path) === undefined;
}

function findNameFault(name: string, anyName: boolean): string | undefined {
  if (name === "") return "holds two slashes in a row, or ends in one";
  const shown = JSON.stringify(name);
  if (Buffer.byteLength(name) > nameBytes) return `holds a name of more than ${nameBytes} bytes`;
  if (name === "." || name === "..") return `holds the name ${shown}, which is not that of a file`;
  if (anyName) return undefined;
  const folded = foldName(name);
  // `...` as well: Windows drops the dots, and what is left is the folder itself.
  if (folded === "") return `holds the name ${shown}, which is not that of a file`;
  if (toolFolders.has(folded) || shortToolFolder.test(folded)) return `holds ${shown}, a folder of the tools themselves`;
  if (device.test(folded)) return `holds ${shown}, the name of a device on Windows`;
  if (/^[a-z]$/.test(folded) && name.includes(":")) return `holds ${shown}, which begins with a drive letter`;
  return undefined;
}

/**
 * The name as the most forgiving file system compares it: without a stream of NTFS (`name:stream`), accents, characters that
 * are not seen, upper case, and dots and spaces at the end. HFS+ leaves out what is not seen, and APFS folds `ſ` to `s`.
 */
function foldName(name: string): string {
  const [file = ""] = name.split(":");
  const plain = file.normalize("NFKD").replaceAll(/[\p{Mn}\p{Default_Ignorable_Code_Point}\p{Cf}]/gu, "");
  return plain
    .toUpperCase()
    .toLowerCase()
    .replace(/(?<![. ])[. ]+$/, "");
}

/** A path below a root, normalized, with `/` between names, "" for the root itself; or what is wrong with it. */
export type ResolvedPath = { readonly path: string; readonly fault?: undefined } | { readonly fault: string };

/**
 * Resolves a path that a file in the folder `dir` (relative to the root) names. `..` is fine where the result lies below the
 * root and is safe: `../data` in `sub/dvc.yaml`.
 */
export function resolveBelow(dir: string, path: string, rules: PathRules = {}): ResolvedPath {
  if (path === "") return { fault: "is empty" };
  if (path.startsWith("/")) return { fault: "is absolute" };
  const full = posix.join(dir, path).replace(/\/$/, "");
  if (full === "..") return { fault: "lies outside the repository" };
  if (full.startsWith("../")) return { fault: "lies outside the repository" };
  if (full === ".") return { path: "" };
  const fault = findPathFault(full, rules);
  return fault === undefined ? { path: full } : { fault };
}

/** A link to a folder that the user allowed to write through. */
export interface FollowedLink {
  /** Where it led, every link in it resolved. */
  readonly target: string;
  /** When the link was made on this machine: a repository that brings a link and a permission for it cannot know that. */
  readonly stamp: string;
}

/** Where a link leads now, and when it was made; undefined where there is no link. */
export async function readLink(
  path: string,
): Promise<(FollowedLink & { readonly isFolder: boolean; readonly isFile: boolean }) | undefined> {
  const own = await lstat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (own?.isSymbolicLink() !== true) return undefined;
  const found = await stat(path).catch(() => undefined);
  const target = await realpath(path).catch(() => "a place that is not there");
  return { target, stamp: String(own.ctimeNs), isFolder: found?.isDirectory() === true, isFile: found?.isFile() === true };
}

/**
 * Keeps writes below a root from being led elsewhere by links. It looks before a write and not during it: it guards against
 * links that a repository brings, not against a program that exchanges folders at the same moment.
 */
export class LinkGuard {
  readonly root: string;
  readonly #followed: ReadonlyMap<string, FollowedLink>;

  /** `followed` has the links, relative to the root, that the user allowed. */
  constructor(root: string, followed: ReadonlyMap<string, FollowedLink> = new Map()) {
    this.root = root;
    this.#followed = followed;
  }

  /**
   * Throws E_PATH_LINK where a folder on the way to `path` (relative to the root) is a link that was not allowed. The path itself may be
   * a link to a file, which a write replaces, but not a link to a folder, nor with `asFolder` one to nothing.
   */
  async check(path: string, asFolder = false): Promise<void> {
    const names = path.split("/");
    // Outside the root everything is the user's own choice.
    if (names[0] === ".." || isAbsolute(path)) return;
    for (let depth = 1; depth <= names.length; depth++) {
      const at = names.slice(0, depth).join("/");
      const link = await readLink(join(this.root, at));
      if (link === undefined) continue;
      const isLast = depth === names.length;
      if (isLast && !link.isFolder && (link.isFile || !asFolder)) continue;
      const allowed = this.#followed.get(at);
      if (allowed?.target === link.target && allowed.stamp === link.stamp) continue;
      const where = isLast ? "" : ` Nothing was written to "${path}".`;
      throw new ServalError(
        "E_PATH_LINK",
        allowed === undefined
          ? `"${at}" is a link to "${link.target}": expected a folder.${where}`
          : `"${at}" is a link to "${link.target}", and not the link to "${allowed.target}" that was allowed.${where}`,
        {
          hint: `If the link is yours, allow it once: \`serval pull\`, checkout, add, repro, prepare, \`data import\`, train, evaluate and \`models release\` take --follow-link ${at}. If it came with the repository, remove it.`,
          details: { link: at, target: link.target },
        },
      );
    }
  }
}
