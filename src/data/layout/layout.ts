import { splitNames, type Split } from "../split-names.ts";
import { findClassLevel, type ClassLevel, type ClassParent } from "./class-level.ts";
import { isArchiveName, isPictureName, labelOf, safePath } from "./entry-names.ts";
import { splitOf } from "./folder-names.ts";
import { folderTree, type Folder } from "./folder-tree.ts";
import { findRemarks, type SeenNames } from "./layout-remarks.ts";
import { countNameLabels, labelFromName } from "./name-labels.ts";

/** Where a file of a source belongs: its class, its name inside the class folder, and the split that the source put it into. */
export interface Placement {
  readonly label: string;
  readonly rest: string;
  readonly split?: Split;
}

/** Where labels come from: the folders, or the files' names (`rose.0.jpg`). */
export type LabelsFrom = "folder" | "name";

export interface LayoutInput extends SeenNames {
  readonly labelsFrom?: LabelsFrom | undefined;
  /** Whether this is a folder that an import wrote: its first folders are the classes, whatever they are called. */
  readonly imported?: boolean;
}

/** What a source was understood as. */
export interface Layout {
  /** Undefined for a file that lies in no class folder. */
  place(name: string): Placement | undefined;
  /** Why a file has no place, as the end of a sentence that begins with its name. */
  reasonFor(name: string): string;
  /** The tree, for people: a line for each folder that holds classes or pictures without one. */
  readonly tree: readonly string[];
  /** What somebody should know who expects all folders to be classes. */
  readonly remarks: readonly string[];
  /** Why the source cannot be imported as it is. */
  readonly refusal?: { readonly message: string; readonly hint: string };
  /** What to do where no picture has a class. */
  readonly hint?: string;
}

/**
 * Finds the classes of a source: from the folders (the ImageFolder layout, wherever in the tree it begins, see class-level.ts), or from
 * the files' names. What is called like a picture decides, so that a readme at the top does not.
 */
export function readLayout(input: LayoutInput): Layout {
  const pictures = input.names.filter(isPictureName);
  const seen = pictures.length > 0 ? pictures : input.names;
  const root = folderTree(seen);
  if (input.labelsFrom === "name") return layoutByName(seen);
  const archives = input.names.filter(isArchiveName);
  if (pictures.length === 0 && archives.length * 2 > input.names.length)
    return { ...layoutByFolder(input, [], noLevel), refusal: holdsArchives(archives) };
  if (input.imported === true) return layoutByFolder(input, seen, { parents: firstFolders(root), unlabelled: [], splitsInside: false });
  return layoutByFolder(input, seen, findClassLevel(root));
}

const noLevel: ClassLevel = { parents: [], unlabelled: [], splitsInside: false };

function holdsArchives(archives: readonly string[]): NonNullable<Layout["refusal"]> {
  const count = archives.length === 1 ? "an archive" : `${archives.length} archives`;
  return {
    message: `it has no pictures, but ${count}: ${listShort(archives)}`,
    hint: "An archive in an archive or folder is not unpacked: unpack it, and import the folder that it gives.",
  };
}

function firstFolders(root: Folder): ClassParent[] {
  return root.children.size === 0 ? [] : [{ folder: root, classes: [...root.children.values()], split: undefined }];
}

function layoutByFolder(input: LayoutInput, pictures: readonly string[], level: ClassLevel): Layout {
  const find = folderFinder(level);
  const splits = new Set(pictures.map((name) => find(name)?.split));
  splits.delete(undefined);
  // One split alone says nothing: all of it has to be split.
  const keepsSplits = splits.size > 1;
  const unlabelled = new Set(level.unlabelled.map(({ path }) => path.join("/")));
  const inUnlabelled = (name: string): string | undefined => [...unlabelled].find((path) => name.startsWith(`${path}/`));
  const place = (name: string): Placement | undefined => {
    const found = find(name);
    return found && { label: found.label, rest: found.rest, ...(keepsSplits && found.split !== undefined && { split: found.split }) };
  };
  const strays = pictures.filter((name) => find(name) === undefined && inUnlabelled(name) === undefined);
  const offer = nameOffer(level, pictures, strays);
  return {
    place,
    reasonFor(name) {
      if (isArchiveName(name)) return "is an archive in the source: unpack it first; it was left where it is";
      const folder = inUnlabelled(name);
      if (folder === undefined) return "lies in no class folder; it was left where it is";
      return `lies in "${folder}/", which has no class folders: it has no label, and was left where it is`;
    },
    tree: describeTree(level, strays, keepsSplits),
    remarks: [...findRemarks(input, level), ...(offer.remark === undefined ? [] : [offer.remark])],
    ...offer.rest,
  };
}

/** The folder part of a placement: parents by path, then the class. */
function folderFinder(level: ClassLevel): (name: string) => Placement | undefined {
  const parents = new Map(
    level.parents.map((parent) => [parent.folder.path.join("/"), { parent, classes: new Set(parent.classes.map(({ name }) => name)) }]),
  );
  const depths = [...new Set(level.parents.map(({ folder }) => folder.path.length))];
  return (name) => {
    const parts = name.split("/");
    for (const depth of depths) {
      const found = parents.get(parts.slice(0, depth).join("/"));
      if (found === undefined || parts.length < depth + 2) continue;
      const folder = parts[depth]!;
      const label = labelOf(folder);
      const { classes, parent } = found;
      // A class folder without a picture is not in the tree; where others are classes, it is one too, for files that are called otherwise.
      if (label === "" || (!classes.has(folder) && parent.folder.children.has(folder))) continue;
      const split = level.splitsInside ? splitOf(parts[depth + 1]!) : parent.split;
      return { label, rest: safePath(parts.slice(depth + 1).join("/")), ...(split !== undefined && { split }) };
    }
    return undefined;
  };
}

/** What to say where folders give no classes or only one: that the names may hold them. */
function nameOffer(
  level: ClassLevel,
  pictures: readonly string[],
  strays: readonly string[],
): { remark?: string; rest: Pick<Layout, "refusal" | "hint"> } {
  const classes = level.parents.flatMap((parent) => parent.classes);
  const named = countNameLabels(pictures);
  const offer = named && `To take the class from the file names (${describeCounts(named)}): --labels-from name.`;
  if (classes.length > 0 && classes.every(({ name }) => splitOf(name) !== undefined)) {
    const found = classes.map(({ path, total }) => `${path.join("/")}/ ${total}`).join(", ");
    return {
      rest: {
        refusal: {
          message: `its only class folders are called like splits, and hold no class folders: pictures in ${found}${strays.length > 0 ? `, ${strays.length} elsewhere` : ""}`,
          hint: offer ?? "Put the pictures of each class into their own folder: train/rose/1.jpg, train/tulip/1.jpg.",
        },
      },
    };
  }
  if (classes.length === 0) return { rest: offer === undefined ? {} : { hint: offer } };
  const labels = new Set(classes.map(({ name }) => labelOf(name)));
  if (labels.size > 1 || offer === undefined) return { rest: {} };
  return { remark: `There is one class only, "${[...labels][0]}". ${offer}`, rest: {} };
}

function layoutByName(pictures: readonly string[]): Layout {
  const splitIn = (parts: readonly string[]): Split | undefined => parts.map(splitOf).find((split) => split !== undefined);
  const labelled = pictures.filter((name) => labelFromName(name) !== "");
  const depth = sharedDepth(labelled.map((name) => name.split("/").slice(0, -1)));
  const kinds = new Set(labelled.map((name) => splitIn(name.split("/").slice(0, -1))));
  kinds.delete(undefined);
  const place = (name: string): Placement | undefined => {
    const label = labelFromName(name);
    if (label === "" || !isPictureName(name)) return undefined;
    const parts = name.split("/");
    const split = splitIn(parts.slice(0, -1));
    return { label, rest: safePath(parts.slice(depth).join("/")), ...(kinds.size > 1 && split !== undefined && { split }) };
  };
  const counts = new Map<string, number>();
  for (const name of labelled) counts.set(labelFromName(name), (counts.get(labelFromName(name)) ?? 0) + 1);
  const rest = pictures.length - labelled.length;
  return {
    place,
    reasonFor: () => "has no class in its name; it was left where it is",
    tree: [
      `  classes from the file names: ${describeCounts(counts)}`,
      ...(rest > 0 ? [`  ${pluralPictures(rest)} without a class in the name, left out`] : []),
    ],
    remarks: [],
  };
}

/** How many leading folders all paths share. */
function sharedDepth(folders: readonly string[][]): number {
  const [first = [], ...others] = folders;
  let depth = first.length;
  for (const parts of others) {
    depth = Math.min(depth, parts.length);
    for (let i = 0; i < depth; i++) if (parts[i] !== first[i]) depth = i;
  }
  return depth;
}

const mostShown = 12;

function describeCounts(counts: ReadonlyMap<string, number>): string {
  const shown = [...counts].slice(0, mostShown).map(([label, count]) => `${label} ${count}`);
  return [...shown, ...(counts.size > mostShown ? [`and ${counts.size - mostShown} more`] : [])].join(", ");
}

function pluralPictures(count: number): string {
  return count === 1 ? "1 picture" : `${count} pictures`;
}

function describeTree(level: ClassLevel, strays: readonly string[], keepsSplits: boolean): string[] {
  const order = (split: Split | undefined): number => (split === undefined ? -1 : splitNames.indexOf(split));
  const lines = level.parents
    .toSorted((a, b) => order(a.split) - order(b.split))
    .map(({ folder, classes, split }) => {
      const counts = new Map<string, number>();
      for (const { name, total } of classes) counts.set(labelOf(name), (counts.get(labelOf(name)) ?? 0) + total);
      const role = split === undefined ? "" : keepsSplits ? `, kept as the ${split} split` : ", to be split";
      const inside = level.splitsInside && keepsSplits ? ", with the splits inside each class" : "";
      return `  ${[...folder.path, ""].join("/") || "./"} ${classes.length === 1 ? "one class" : `${classes.length} classes`}${role}${inside}: ${describeCounts(counts)}`;
    });
  for (const folder of level.unlabelled)
    lines.push(`  ${folder.path.join("/")}/ no class folders: ${pluralPictures(folder.total)} without a label, left out`);
  if (strays.length > 0) lines.push(`  ${pluralPictures(strays.length)} in no class folder, left out: ${listShort(strays)}`);
  return lines;
}

function listShort(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
