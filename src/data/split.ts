import { ServalError } from "../errors/serval-error.ts";
import { sha256 } from "../files.ts";
import { groupNearDuplicates } from "./duplicates.ts";
import type { ManifestRow } from "./manifest.ts";
import { splitNames, type Split } from "./split-names.ts";

export { splitNames, type Split } from "./split-names.ts";

/** Shares of the pictures; they add up to 1, and a share may be 0. */
export type SplitShares = Readonly<Record<Split, number>>;

/** What decides which picture is in which split. */
export interface SplitRecipe {
  readonly seed: number;
  readonly shares: SplitShares;
  /** Whether of equal pictures only one is in a split at all. */
  readonly dedupe: boolean;
}

type Item = Pick<ManifestRow, "sha256" | "dhash" | "label" | "split">;

/** A class has at least this many groups in each split, if its share of them is that large: one picture says nothing about a class. */
const fewestGroups = 5;

interface Group {
  /** In [0, 1): where the group lies on the line that the shares cut. */
  readonly position: number;
  readonly labels: ReadonlySet<string>;
  readonly members: number[];
  /** The split that the source has it in; undefined where it has none. */
  readonly given: Split | undefined;
  /** Where the group may go. */
  readonly allowed: readonly Split[];
  split: Split;
}

/** Where the members of a group have different splits, the first of these is that of the group. */
const strongest: readonly Split[] = ["test", "val", "train"];

/**
 * Assigns each picture to a split. Near duplicates form a group, and the group goes where the hash of the seed and its
 * smallest sha256 says, so no picture leaks between splits and added pictures never move those that are there: only a
 * new near duplicate, which changes the group itself, can move the group it joins.
 *
 * The price: shares are kept in expectation, not exactly. A class of n pictures has its share with a standard deviation
 * of sqrt(share (1 - share) / n): 10 % of 240 is 24 +- 5, 10 % of 11,000 is 1,100 +- 31. Where the hash leaves a small class with
 * fewer groups in a split than `fewestGroups` and than its share, the nearest groups move there; those may move when the class grows.
 *
 * A picture that its source has in a split stays there. What sources have for training is divided by the hash among training and the splits
 * that no source has; one group of a class moves where a given split lacks the class. Throws E_CLASS_TOO_SMALL where a class has fewer groups than there are splits.
 */
export function assignSplits(items: readonly Item[], shares: SplitShares, seed: number): Split[] {
  const given = new Set(items.flatMap(({ split }) => (split === undefined ? [] : [split])));
  const wanted = splitNames.filter((split) => shares[split] > 0 || given.has(split));
  const groups = buildGroups(items, shares, seed, wanted, given);
  const labels = [...new Set(items.map((item) => item.label))].sort();
  for (const label of labels) checkSize(label, items, groups, wanted);
  // Every class gets one group in each split before any gets its share.
  for (const most of [1, fewestGroups]) {
    for (const label of labels) for (const split of wanted) fillSplit(groups, label, split, shares, most);
  }
  for (const label of labels) {
    for (const split of wanted)
      if (!groups.some((group) => group.split === split && group.labels.has(label))) throw emptySplit(label, split);
  }
  const result: Split[] = Array.from({ length: items.length }, () => "train" as const);
  for (const group of groups) for (const i of group.members) result[i] = group.split;
  return result;
}

function buildGroups(
  items: readonly Item[],
  shares: SplitShares,
  seed: number,
  wanted: readonly Split[],
  given: ReadonlySet<Split>,
): Group[] {
  const members = new Map<number, number[]>();
  for (const [i, root] of groupNearDuplicates(items.map((item) => item.dhash)).entries()) {
    const group = members.get(root);
    if (group === undefined) members.set(root, [i]);
    else group.push(i);
  }
  return Array.from(members.values(), (indices) => {
    const smallest = indices.map((i) => items[i]!.sha256).reduce((a, b) => (a < b ? a : b));
    const position = Number.parseInt(sha256(`${seed}:${smallest}`).slice(0, 12), 16) / 2 ** 48;
    const own = strongest.find((split) => indices.some((i) => items[i]!.split === split));
    const allowed = own === undefined ? wanted : own === "train" ? wanted.filter((split) => split === own || !given.has(split)) : [own];
    const split = splitAt(position, own === undefined ? shares : sharesOf(allowed, shares));
    return { position, labels: new Set(indices.map((i) => items[i]!.label)), members: indices, given: own, allowed, split };
  });
}

/** The shares of some of the splits, so that they add up to 1. */
function sharesOf(splits: readonly Split[], shares: SplitShares): SplitShares {
  const [only] = splits;
  if (splits.length === 1) return { train: 0, val: 0, test: 0, [only!]: 1 };
  const sum = splits.reduce((total, split) => total + shares[split], 0);
  const part = (split: Split): number => (splits.includes(split) && sum > 0 ? shares[split] / sum : 0);
  return { train: sum > 0 ? part("train") : 1, val: part("val"), test: part("test") };
}

function splitAt(position: number, shares: SplitShares): Split {
  const [, trainEnd] = span("train", shares);
  const [, valEnd] = span("val", shares);
  if (position < trainEnd) return "train";
  return position < valEnd ? "val" : "test";
}

/** The part of [0, 1) that belongs to a split; the last share above 0 reaches to 1 whatever the rounding. */
function span(split: Split, shares: SplitShares): [start: number, end: number] {
  const train = shares.val + shares.test > 0 ? shares.train : 1;
  const val = shares.test > 0 ? train + shares.val : 1;
  if (split === "train") return [0, train];
  return split === "val" ? [train, val] : [val, 1];
}

function checkSize(label: string, items: readonly Item[], groups: readonly Group[], wanted: readonly Split[]): void {
  const own = groups.filter((group) => group.labels.has(label)).length;
  if (own >= wanted.length) return;
  const count = items.filter((item) => item.label === label).length;
  const alike = count > own ? `, ${own} of them different` : "";
  throw new ServalError(
    "E_CLASS_TOO_SMALL",
    `The class "${label}" has ${count} ${count === 1 ? "picture" : "pictures"}${alike}; at least ${wanted.length} different ones are needed, one for each of ${wanted.join(", ")}.`,
    { details: { label, count, needed: wanted.length } },
  );
}

/** Gives a class the groups that it lacks in a split, of `most` or its share: the nearest ones of splits where it has more than it needs. */
function fillSplit(groups: readonly Group[], label: string, split: Split, shares: SplitShares, most: number): void {
  const own = groups.filter((group) => group.labels.has(label));
  const has = (wanted: Split): number => own.filter((group) => group.split === wanted).length;
  // Rounded first: 0.1 * 30 is 3.0000000000000004, and 0.7 * 10 less than 7.
  const needs = (wanted: Split): number => Math.max(1, Math.min(most, Math.floor(Number((shares[wanted] * own.length).toFixed(9)))));
  const [start, end] = span(split, shares);
  const distance = (group: Group): number => Math.max(start - group.position, group.position - end, 0);
  while (has(split) < needs(split)) {
    const [nearest] = own
      .filter((group) => group.split !== split && has(group.split) > needs(group.split) && mayMove(group, split, has(split)))
      // A group that holds several classes is moved last: another class may need it where it is.
      .sort((a, b) => a.labels.size - b.labels.size || distance(a) - distance(b) || a.position - b.position);
    if (nearest === undefined) return;
    nearest.split = split;
  }
}

/** What a source has for training may fill a split that another source, or another class, was given for, where the class has nothing there. */
function mayMove(group: Group, split: Split, there: number): boolean {
  return group.allowed.includes(split) || (there === 0 && group.given === "train");
}

function emptySplit(label: string, split: Split): ServalError {
  return new ServalError("E_CLASS_TOO_SMALL", `The class "${label}" has too few different pictures: none is left for ${split}.`, {
    details: { label, split },
  });
}
