import { posix } from "node:path";
import { labelOf } from "./entry-names.ts";

/** The class in a file's name: `rose` in `rose.0.jpg`, `rose_0001.jpg`, `rose (3).jpg` and `17_rose.jpg`; "" where the name is a number. */
export function labelFromName(name: string): string {
  const stem = posix.basename(name, posix.extname(name)).replace(/^\d+[\s._-]+(?=\D)/, "");
  return labelOf(withoutNumbers(stem));
}

/** Numbers at the end, also in brackets, go with what separates them; from the end, so that a long name needs no more time. */
function withoutNumbers(text: string): string {
  const skip = (from: number, kind: RegExp): number => {
    let at = from;
    while (at > 0 && kind.test(text[at - 1]!)) at--;
    return at;
  };
  for (let end = skip(text.length, separator); ;) {
    const inBrackets = text[end - 1] === ")";
    const numberEnd = inBrackets ? end - 1 : end;
    const start = skip(numberEnd, digit);
    if (start === numberEnd || (inBrackets && text[start - 1] !== "(")) return text.slice(0, end);
    end = skip(inBrackets ? start - 1 : start, separator);
  }
}

const separator = /[\s._-]/;
const digit = /\d/;

/** At most this many classes are suggested, with this many pictures each on average: names that all differ are not classes. */
const mostClasses = 1000;
const fewestEach = 1.5;

/** Pictures by the class in their names, where most names hold one and there are at least two; else undefined. */
export function countNameLabels(names: readonly string[]): ReadonlyMap<string, number> | undefined {
  const counts = new Map<string, number>();
  for (const name of names) {
    const label = labelFromName(name);
    if (label !== "") counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const labelled = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const fits = counts.size >= 2 && counts.size <= mostClasses && labelled >= fewestEach * counts.size && labelled * 2 > names.length;
  return fits ? counts : undefined;
}
