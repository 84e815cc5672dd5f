import { existsSync, readdirSync } from "node:fs";
import { join, posix } from "node:path";
import { maxYamlBytes } from "../../config/yaml.ts";
import { readTextFile } from "../../files.ts";
import { defaultStateDir } from "../../paths.ts";
import { loadDvcIgnore } from "./dvc-ignore.ts";
import type { ReadText } from "./yaml-values.ts";
import { git } from "./git.ts";

/** The text of a file of the workspace; undefined where there is none. Throws E_TEXT_FILE. */
export function workspaceReader(root: string): ReadText {
  return (path) => {
    try {
      return readTextFile(join(root, path), maxYamlBytes);
    } catch (error) {
      if (["ENOENT", "ENOTDIR", "EISDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
      throw error;
    }
  };
}

/** The files with these names (`*.dvc`, `dvc.lock`) in the workspace that neither Git nor DVC ignores, sorted. */
export async function findFiles(root: string, names: readonly string[]): Promise<string[]> {
  const named = (path: string): boolean =>
    names.some((name) => (name.startsWith("*") ? path.endsWith(name.slice(1)) : posix.basename(path) === name)) &&
    !/(^|\/)\.dvc$/i.test(path);
  // Git knows what is ignored, and does not look into data that is.
  const wanted = names.flatMap((name) => (name.startsWith("*") ? [name] : [name, `*/${name}`]));
  const listed = await git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ...wanted);
  const paths = listed?.split("\0").filter(Boolean) ?? walkForDataFiles(root, "");
  const ignored = loadDvcIgnore(root, "");
  const visible = (path: string): boolean =>
    path.split("/").every((_, i, parts) => !ignored(parts.slice(0, i + 1).join("/"), i + 1 < parts.length));
  return [...new Set(paths)].filter((path) => named(path) && visible(path) && existsSync(join(root, path))).sort();
}

/** Where there is no Git: every folder but those that are data themselves. */
function walkForDataFiles(root: string, dir: string): string[] {
  const entries = readdirSync(join(root, dir), { withFileTypes: true });
  const at = (name: string): string => (dir === "" ? name : `${dir}/${name}`);
  const data = new Set(entries.flatMap(({ name }) => (name.endsWith(".dvc") ? [name.slice(0, -".dvc".length)] : [])));
  return entries.flatMap((entry) => {
    if (!entry.isDirectory()) return [at(entry.name)];
    if (data.has(entry.name) || [".git", ".dvc", "node_modules", defaultStateDir].includes(entry.name)) return [];
    return walkForDataFiles(root, at(entry.name));
  });
}
