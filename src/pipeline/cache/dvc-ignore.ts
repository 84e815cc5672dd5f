import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ServalError } from "../../errors.ts";

interface Rule {
  readonly pattern: RegExp;
  readonly ignored: boolean;
  readonly foldersOnly: boolean;
}

/** Whether DVC takes no notice of a path (relative to the repository, forward slashes). */
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
      ...readFileSync(path, "utf8")
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
  const anywhere = tied ? "" : "(?:.*/)?";
  return [{ pattern: new RegExp(`^${prefix}${anywhere}${translate(text)}$`, "su"), ignored, foldersOnly }];
}

function translate(glob: string): string {
  let out = "";
  for (let i = 0; i < glob.length; i++) {
    const rest = glob.slice(i);
    const c = glob[i] ?? "";
    if (rest.startsWith("**/") && (i === 0 || glob[i - 1] === "/")) {
      out += "(?:.*/)?";
      i += 2;
    } else if (rest === "**" && (i === 0 || glob[i - 1] === "/")) {
      out += ".+";
      i += 1;
    } else if (c === "*") {
      out += "[^/]*";
      while (glob[i + 1] === "*") i++;
    } else if (c === "?") out += "[^/]";
    else if (c === "[") {
      const set = /^\[([!^]?)(\]?[^\]]*)\]/.exec(rest);
      if (set === null) out += "\\[";
      else {
        out += `[${set[1] === "" ? "" : "^"}${(set[2] ?? "").replaceAll(/[[\\\]]/g, "\\$&")}]`;
        i += set[0].length - 1;
      }
    } else if (c === "\\" && i + 1 < glob.length) out += escape(glob[++i] ?? "");
    else out += escape(c);
  }
  return out;
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
