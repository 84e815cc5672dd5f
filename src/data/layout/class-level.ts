import { splitNames, type Split } from "../split-names.ts";
import { labelOf } from "./entry-names.ts";
import { isBesideName, isPartName, isPlainName, splitOf } from "./folder-names.ts";
import type { Folder } from "./folder-tree.ts";

/** Subfolders by time are not classes: `rose/2023`, `rose/2024-05`. */
const yearPattern = /^(?:19|20)\d\d(?:[\s._-]?\d\d){0,2}$/;

/** A folder whose subfolders are classes. */
export interface ClassParent {
  readonly folder: Folder;
  /** Those of its subfolders that are classes. */
  readonly classes: readonly Folder[];
  /** The split that the folder is named for. */
  readonly split: Split | undefined;
}

export interface ClassLevel {
  readonly parents: readonly ClassParent[];
  /** Folders named for a split, without class folders: what lies in them has no label. */
  readonly unlabelled: readonly Folder[];
  /** Whether each class has the splits as subfolders: `rose/train`, `rose/test`. */
  readonly splitsInside: boolean;
}

/** A class needs a picture for each split: a folder with fewer does not look like one beside folders that have more. */
const fewestPictures = splitNames.length;

/**
 * Finds the folders whose subfolders are the classes. Folders that wrap everything are looked through, whatever strays lie beside
 * their subfolders; so is a level of split folders. What most pictures agree on counts.
 */
export function findClassLevel(root: Folder): ClassLevel {
  const level = descend(root, undefined);
  const [parent] = level.parents;
  const splitsInside = level.parents.length === 1 && parent !== undefined && parent.classes.every(holdsSplits);
  return { ...level, splitsInside };
}

type Found = Pick<ClassLevel, "parents" | "unlabelled">;

function descend(folder: Folder, above: Folder | undefined): Found {
  const children = [...folder.children.values()];
  const below = folder.total - folder.pictures;
  // A folder with subfolders is itself the class where most of its pictures lie in it.
  const isClass = above !== undefined && (children.length === 1 ? folder.pictures >= below : folder.pictures > below);
  if (children.length === 0 || isClass) return above === undefined ? { parents: [], unlabelled: [] } : oneClass(above, folder);
  if (children.length === 1) return descend(children[0]!, folder);
  return (
    findSplits(folder, children) ??
    findParts(children, folder) ??
    findWrapper(folder, children) ?? { parents: [{ folder, classes: children, split: undefined }], unlabelled: [] }
  );
}

function oneClass(parent: Folder, only: Folder): Found {
  return { parents: [{ folder: parent, classes: [only], split: undefined }], unlabelled: [] };
}

/** Folders named for splits, where they hold class folders. Others beside them are strays when splits hold most pictures. */
function findSplits(folder: Folder, children: readonly Folder[]): Found | undefined {
  const named = children.flatMap((child) => {
    const split = splitOf(child.name);
    return split === undefined ? [] : [{ child, split, found: insideSplit(child) }];
  });
  const labelled = named.filter(({ found }) => found !== undefined);
  if (labelled.length === 0) return undefined;
  const kinds = new Set(named.map(({ split }) => split)).size;
  const others = children.filter(({ name }) => splitOf(name) === undefined && !isPlainName(name) && !isBesideName(name));
  // A class may be called `train`: beside others that look like classes, one such folder has to stand out.
  const areFew = totalOf(others) <= totalOf(children) / 2;
  const isOneOther = others.length === 1 && others[0]!.children.size === 0 && areFew;
  if (others.length > 0 && labelled.length < 2 && !(kinds >= 2 && areFew) && !isOneOther) return undefined;
  // The classes are those of the training split, or else of the largest: a test folder may hold `unknown/` or `images/` alone.
  const [first] = labelled.toSorted((a, b) => Number(b.split === "train") - Number(a.split === "train") || b.child.total - a.child.total);
  const known = new Set(labelsOf(first!.found!));
  const same = labelled.filter(({ found }) => labelsOf(found!).some((label) => known.has(label)));
  return {
    parents: same.flatMap(({ split, found }) => found!.parents.map((parent) => ({ ...parent, split }))),
    unlabelled: [
      ...named.filter((item) => !same.includes(item)).map(({ child }) => child),
      ...same.flatMap(({ found }) => found!.unlabelled),
    ],
  };
}

function totalOf(folders: readonly Folder[]): number {
  return folders.reduce((sum, { total }) => sum + total, 0);
}

/** Numbered folders that each hold the same classes, as a set that came in pieces: `batch1/rose`, `batch2/rose`. */
function findParts(children: readonly Folder[], folder: Folder): Found | undefined {
  if (!children.every(({ name }) => isPartName(name))) return undefined;
  const found = children.map((child) => descend(child, folder));
  const labels = found.map((part) => new Set(labelsOf(part)));
  const shared = [...labels[0]!].filter((label) => labels.every((own) => own.has(label)));
  const areFlat = found.some(({ parents }) => parents.some(({ classes }) => children.some((child) => classes.includes(child))));
  if (areFlat || shared.length < 2) return undefined;
  return { parents: found.flatMap((part) => part.parents), unlabelled: found.flatMap((part) => part.unlabelled) };
}

function labelsOf({ parents }: Found): string[] {
  return parents.flatMap(({ classes }) => classes.map(({ name }) => labelOf(name)));
}

/** The classes in a split folder; undefined where it has none, as in `test/1.jpg`, `test/test/1.jpg` or `test/images/1.jpg`. */
function insideSplit(split: Folder): Found | undefined {
  // As a root: pictures beside its class folders are strays, however many.
  const found = descend(split, undefined);
  const classes = found.parents.flatMap((parent) => parent.classes);
  if (classes.length === 0) return undefined;
  return classes.every(({ name }) => splitOf(name) !== undefined || isPlainName(name)) ? undefined : found;
}

/** What is beside the one folder that holds all classes may have this share of its pictures, and fewer than its smallest class. */
const strayShare = 0.1;

/** The one folder that holds all classes, where what lies beside it is not called like a class or has too few pictures for one. */
function findWrapper(folder: Folder, children: readonly Folder[]): Found | undefined {
  const wrappers = children.filter(({ name, children: inner }) => inner.size >= 2 && !isBesideName(name));
  const [wrapper] = wrappers;
  if (wrapper === undefined || wrappers.length > 1) return undefined;
  const others = children.filter((child) => child !== wrapper);
  const found = descend(wrapper, folder);
  const classes = found.parents.flatMap((parent) => parent.classes);
  if (classes.includes(wrapper) || new Set(classes.map(({ name }) => labelOf(name))).size < 2) return undefined;
  if (classes.every(({ name }) => yearPattern.test(name))) return undefined;
  const grown = classes.filter(({ total }) => total >= fewestPictures).length;
  const areFew = totalOf(others) < strayShare * wrapper.total && classes.every(({ total }) => total > totalOf(others));
  const areStrays = others.every(({ name, total }) => isBesideName(name) || (total < fewestPictures && grown >= 2));
  return areFew || areStrays ? found : undefined;
}

/** Folders that were taken for one class although their subfolders may be classes: others beside them have none. */
export function findDoubtful({ parents }: ClassLevel): { readonly folder: Folder; readonly beside: readonly Folder[] }[] {
  return parents.flatMap(({ classes }) => {
    const flat = classes.filter(({ children }) => children.size === 0);
    const deep = classes.filter(({ children, pictures }) => children.size >= 2 && pictures === 0);
    const named = deep.filter(({ children }) => ![...children.keys()].every((name) => yearPattern.test(name)));
    return flat.length > 0 && named.length === 1 ? [{ folder: named[0]!, beside: flat }] : [];
  });
}

function holdsSplits(folder: Folder): boolean {
  const children = [...folder.children.values()];
  return folder.pictures === 0 && children.length > 0 && children.every(({ name }) => splitOf(name) !== undefined);
}
