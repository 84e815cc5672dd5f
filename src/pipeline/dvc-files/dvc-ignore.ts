import { existsSync } from "node:fs";
import { join } from "node:path";
import { maxYamlBytes } from "../../config/yaml.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readTextFile } from "../../files.ts";

interface Rule {
  readonly pattern: RegExp;
  readonly ignored: boolean;
  readonly foldersOnly: boolean;
}

/** Whether DVC ignores a path (relative to the repository, forward slashes). */
export type Ignored = (path: string, isFolder: boolean) => boolean;

/**
 * The rules of the .dvcignore files that apply to everything below `folder` (relative to the repository, "" for itself): the
 * one of the repository and those of the folders on the way. The syntax is .gitignore's; the last rule that fits decides.
 */
export function loadDvcIgnore(root: string, folder: string): Ignored {
  const rules: Rule[] = [];
  let dir = "";
  for (const part of ["", ...folder.split("/").filter(Boolean)]) {
    dir = dir === "" ? part : `${dir}/${part}`;
    const path = join(root, dir, ".dvcignore");
    if (!existsSync(path)) continue;
    if (dir === folder && folder !== "") {
      throw new ServalError("E_DATA_PATH", `${dir}/.dvcignore: a .dvcignore cannot lie inside a folder that is versioned as one.`, {
        hint: "Move its lines into the .dvcignore of the repository.",
      });
    }
    rules.push(
      ...readTextFile(path, maxYamlBytes)
        .split(/\r?\n/)
        .flatMap((line) => parseIgnoreLine(line, dir)),
    );
  }
  // Last, so that no .dvcignore takes them back: what is seen as data may also be removed.
  rules.push(...[".hg/", ".git/", ".git", ".dvc/"].flatMap((line) => parseIgnoreLine(line, "")));
  rules.reverse();
  const decide = (path: string, isFolder: boolean): boolean =>
    rules.find(({ pattern, foldersOnly }) => (isFolder || !foldersOnly) && pattern.test(path))?.ignored ?? false;
  return decide;
}

/** The rule of one line of a .gitignore-like file that lies in `dir`; none for blank lines and comments. */
function parseIgnoreLine(line: string, dir: string): Rule[] {
  let text = line.trim();
  if (text === "" || text.startsWith("#")) return [];
  const ignored = !text.startsWith("!");
  if (!ignored) text = text.slice(1);
  const foldersOnly = text.endsWith("/");
  text = text.replace(/^\\(?=[!#])/, "").replace(/(?<!\/)\/+$/, "");
  if (text === "") return [];
  // A slash inside ties the pattern to the folder of the file; without one it fits at any depth.
  const tied = text.includes("/");
  text = text.replace(/^\//, "");
  const prefix = dir === "" ? "" : `${escape(dir)}/`;
  const pieces = [...(tied ? [] : ([folders] as const)), ...readGlob(text)];
  return [{ pattern: new RegExp(`^${prefix}${translate(pieces)}$`, "su"), ignored, foldersOnly }];
}

/** `*` and the `**` of folders; a string is the source of a regular expression for everything between them. */
const star = Symbol("*");
const folders = Symbol("**/");
type Piece = string | typeof star | typeof folders;

function readGlob(glob: string): Piece[] {
  const pieces: Piece[] = [];
  for (let i = 0; i < glob.length; i++) {
    const rest = glob.slice(i);
    const c = glob[i] ?? "";
    if (rest.startsWith("**/") && (i === 0 || glob[i - 1] === "/")) {
      pieces.push(folders);
      i += 2;
    } else if (rest === "**" && (i === 0 || glob[i - 1] === "/")) {
      pieces.push(".+");
      i += 1;
    } else if (c === "*") {
      pieces.push(star);
      while (glob[i + 1] === "*") i++;
    } else if (c === "?") pieces.push("[^/]");
    else if (c === "[") {
      const set = /^\[([!^]?)(\]?[^\]]*)\]/.exec(rest);
      if (set === null) pieces.push("\\[");
      else {
        // No set fits a slash, as in Git.
        pieces.push(`${set[1] === "" ? "(?!/)[" : "[^/"}${(set[2] ?? "").replaceAll(/[[\\\]]/g, "\\$&")}]`);
        i += set[0].length - 1;
      }
    } else if (c === "\\" && i + 1 < glob.length) pieces.push(escape(glob[++i] ?? ""));
    else pieces.push(escape(c));
  }
  return pieces;
}

/**
 * The rules come from the author of the repository, and a pattern like `*a*a*a*a*b` must not take a minute for one long name. What
 * follows a `*` or `**` is taken where it is first found, and that is never tried again: a later place leaves less for what comes
 * after. Only the last one, which must reach the end, is tried at each place.
 */
function translate(pieces: readonly Piece[]): string {
  let groups = 0;
  const once = (any: string, source: string): string => {
    const name = `g${groups++}`;
    return `(?=(?<${name}>${any}${source}))\\k<${name}>`;
  };
  const chain = (parts: readonly string[], any: string, atEnd: string): string =>
    parts.map((part, i) => (i === 0 ? part : i === parts.length - 1 ? atEnd + part : once(any, part))).join("");
  const sections = splitAt(pieces, folders).map((section) =>
    chain(
      splitAt(section, star).map((chunk) => chunk.join("")),
      "[^/]*?",
      "[^/]*",
    ),
  );
  return chain(sections, "(?:[^/]*/)*?", "(?:.*/)?");
}

function splitAt<Separator extends symbol>(pieces: readonly Piece[], separator: Separator): Exclude<Piece, Separator>[][] {
  const parts: Exclude<Piece, Separator>[][] = [[]];
  for (const piece of pieces) {
    if (piece === separator) parts.push([]);
    else parts.at(-1)?.push(piece as Exclude<Piece, Separator>);
  }
  return parts;
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
