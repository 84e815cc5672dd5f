import { posix } from "node:path";
import { findDoubtful, type ClassLevel } from "./class-level.ts";
import { isPictureName, labelOf } from "./entry-names.ts";
import { isToolFolder } from "./folder-names.ts";

export interface SeenNames {
  /** All files with forward slashes, NFC, without hidden ones. */
  readonly names: readonly string[];
  /** All folders, hidden ones too, where the source knows them: a folder may be empty. */
  readonly folders?: readonly string[];
  /** Hidden files. */
  readonly hidden?: readonly string[];
}

/** What an import passes over or joins and somebody might miss: names that become one class, hidden folders, empty class folders. */
export function findRemarks(input: SeenNames, level: ClassLevel): string[] {
  return [...joinedClasses(level), ...hiddenFolders(input.hidden ?? []), ...emptyClasses(input, level), ...doubtfulClasses(level)];
}

function doubtfulClasses(level: ClassLevel): string[] {
  return findDoubtful(level).map(({ folder, beside }) => {
    const inner = [...folder.children.keys()].slice(0, 3).join(", ");
    const path = folder.path.join("/");
    return `The folder "${path}/" was taken as one class, because "${beside[0]!.path.join("/")}/" beside it holds pictures and no folders. If its folders (${inner}) are the classes, import "${path}" itself.`;
  });
}

function joinedClasses(level: ClassLevel): string[] {
  const spellings = new Map<string, { names: Set<string>; count: number }>();
  for (const { name, total } of level.parents.flatMap((parent) => parent.classes)) {
    const entry = spellings.get(labelOf(name)) ?? { names: new Set(), count: 0 };
    entry.names.add(name);
    entry.count += total;
    spellings.set(labelOf(name), entry);
  }
  return [...spellings]
    .filter(([, { names }]) => names.size > 1)
    .map(([label, { names, count }]) => {
      const folders = [...names].sort().map((name) => `"${name}"`);
      return `The folders ${folders.slice(0, -1).join(", ")} and ${folders.at(-1)} were joined into one class, "${label}" (${count} files), because names of classes are lower case. If they are different classes, rename one.`;
    });
}

function hiddenFolders(hidden: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const name of hidden.filter(isPictureName)) {
    const parts = name.split("/");
    const at = parts.findIndex((part) => part.startsWith(".") || part === "__MACOSX");
    if (at < 0 || at === parts.length - 1 || isToolFolder(parts[at]!)) continue;
    const folder = parts.slice(0, at + 1).join("/");
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].map(
    ([folder, count]) =>
      `The folder "${folder}/" was passed over (${count === 1 ? "1 picture" : `${count} pictures`}), because its name begins with a dot. If it is a class, rename it.`,
  );
}

/** Folders beside the classes without a file. */
function emptyClasses(input: SeenNames, level: ClassLevel): string[] {
  const full = new Set<string>();
  for (const name of input.names)
    for (let dir = posix.dirname(name); dir !== "." && !full.has(dir); dir = posix.dirname(dir)) full.add(dir);
  const parents = new Set(level.parents.map(({ folder }) => folder.path.join("/")));
  return [...new Set(input.folders)]
    .filter((folder) => !full.has(folder) && parents.has(folder.includes("/") ? posix.dirname(folder) : ""))
    .filter((folder) => !posix.basename(folder).startsWith(".") && folder !== "__MACOSX")
    .sort()
    .map((folder) => `The folder "${folder}/" is empty: no class was made of it.`);
}
