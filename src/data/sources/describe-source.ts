import type { Source } from "./source.ts";

/** How a source was understood, and what to know about it, for people: said before anything is read. */
export function describeSource({ title, tree, remarks }: Pick<Source, "title" | "tree" | "remarks">): string[] {
  return [...(tree.length === 0 ? [] : [`"${title}" is read as`, ...tree]), ...remarks];
}
