import { posix } from "node:path";
import type { ManifestRow } from "./manifest.ts";

/** What an import changes in data/raw; paths are those of the manifest. */
export interface DataChanges {
  readonly added: readonly string[];
  /** Other bytes under the same path. */
  readonly updated: readonly string[];
  /** The same bytes under another path, or in another class. */
  readonly moved: readonly { readonly from: string; readonly to: string; readonly fromLabel: string; readonly toLabel: string }[];
  readonly removed: readonly string[];
}

/** Compares two versions of the data. What left one path and came to another with the same bytes was moved. */
export function findChanges(before: readonly ManifestRow[], after: readonly ManifestRow[]): DataChanges {
  const old = new Map(before.map((row) => [row.path, row]));
  const now = new Map(after.map((row) => [row.path, row]));
  const left = Map.groupBy(
    before.filter((row) => !now.has(row.path)),
    (row) => row.sha256,
  );
  const changes = { added: [] as string[], updated: [] as string[], moved: [] as DataChanges["moved"][number][], removed: [] as string[] };
  for (const row of after) {
    const same = old.get(row.path);
    const from = same ?? takeNearest(left.get(row.sha256) ?? [], row);
    if (from === undefined) changes.added.push(row.path);
    else if (from.path !== row.path || from.label !== row.label) {
      changes.moved.push({ from: from.path, to: row.path, fromLabel: from.label, toLabel: row.label });
    } else if (from.sha256 !== row.sha256) changes.updated.push(row.path);
  }
  for (const rows of left.values()) changes.removed.push(...rows.map((row) => row.path));
  changes.removed.sort();
  return changes;
}

/** Of several copies the one with the same file name. */
function takeNearest(copies: ManifestRow[], { path }: ManifestRow): ManifestRow | undefined {
  const named = copies.findIndex((copy) => posix.basename(copy.path) === posix.basename(path));
  return copies.splice(Math.max(0, named), 1)[0];
}
