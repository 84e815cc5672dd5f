import { posix } from "node:path";
import { labelOf } from "./entry-names.ts";

/** The class in a file's name: `rose` in `rose.0.jpg`, `rose_0001.jpg`, `rose (3).jpg` and `17_rose.jpg`; "" where the name is a number. */
export function labelFromName(name: string): string {
  let stem = posix.basename(name, posix.extname(name)).replace(/^\d+[\s._-]+(?=\D)/, "");
  for (let before = ""; before !== stem;) {
    before = stem;
    stem = stem.replace(/[\s._-]*(?:\(\d+\)|\d+)$/, "");
  }
  return labelOf(stem.replace(/[\s._-]+$/, ""));
}

/** What the classes would be if they came from the names: at most this many, and each with a few pictures. */
const mostClasses = 1000;
const fewestEach = 2;

/** Pictures by the class in their names, where nearly all names hold one and there are at least two; else undefined. */
export function countNameLabels(names: readonly string[]): ReadonlyMap<string, number> | undefined {
  const counts = new Map<string, number>();
  for (const name of names) {
    const label = labelFromName(name);
    if (label !== "") counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const labelled = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const repeated = [...counts.values()].filter((count) => count >= fewestEach).length;
  const fits = counts.size >= 2 && counts.size <= mostClasses && repeated === counts.size && labelled * 2 > names.length;
  return fits ? counts : undefined;
}
