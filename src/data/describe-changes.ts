import type { DataChanges } from "./manifest-changes.ts";

const mostShown = 5;

/** What an import changes in data/raw, a line for each kind; none where nothing is different. `counts` are the pictures by class afterwards. */
export function describeChanges(changes: DataChanges, counts: Readonly<Record<string, number>>): string[] {
  const moves = Map.groupBy(changes.moved, ({ fromLabel, toLabel }) => JSON.stringify([fromLabel, toLabel]));
  const moved = [...moves.values()].map((group) => {
    const { fromLabel, toLabel } = group[0]!;
    const list = listPaths(group.map(({ from, to }) => (from === to ? to : `${from} -> ${to}`)));
    if (fromLabel === toLabel) return `  renamed ${group.length}: ${list}`;
    if (!Object.hasOwn(counts, fromLabel)) return `  class "${fromLabel}" renamed to "${toLabel}", ${group.length}: ${list}`;
    return `  moved from "${fromLabel}" to "${toLabel}" ${group.length}: ${list}`;
  });
  const line = (what: string, paths: readonly string[]): string[] =>
    paths.length === 0 ? [] : [`  ${what} ${paths.length}: ${listPaths(paths)}`];
  return [...line("added", changes.added), ...line("changed", changes.updated), ...moved, ...line("removed", changes.removed)];
}

/** Whether something that was there before is different: pictures that are only added are told by the counts. */
export function touchesOld({ updated, moved, removed }: DataChanges): boolean {
  return updated.length + moved.length + removed.length > 0;
}

function listPaths(paths: readonly string[]): string {
  const shown = paths.slice(0, mostShown).join(", ");
  return paths.length > mostShown ? `${shown} and ${paths.length - mostShown} more` : shown;
}
