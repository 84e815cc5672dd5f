import { ServalError } from "../errors/serval-error.ts";
import { compareBytes, type ManifestRow } from "./manifest.ts";
import type { LeftOut, ShardRecipe } from "./shard-index.ts";
import { assignSplits, type Split } from "./split.ts";

export interface PlannedRow {
  readonly split: Split;
  readonly row: ManifestRow;
}

/** Which picture goes into which split, in the order of the shards' rows. */
export interface ShardPlan {
  readonly labels: readonly string[];
  readonly splits: Readonly<Record<Split, readonly PlannedRow[]>>;
  readonly leftOut: readonly LeftOut[];
}

const minClasses = 2;

/**
 * Plans the shards. Pictures with equal bytes in two classes are E_LABEL_CONFLICT, or all left out with `dedupe`, since
 * nobody here knows which label is right; of equal bytes within one class, `dedupe` keeps the first path. Throws
 * E_CLASS_TOO_SMALL.
 */
export function planRows(rows: readonly ManifestRow[], recipe: Pick<ShardRecipe, "shares" | "seed" | "dedupe">): ShardPlan {
  const { kept, leftOut } = resolveDuplicates(rows, recipe.dedupe);
  const labels = [...new Set(kept.map((row) => row.label))].sort(compareBytes);
  if (labels.length < minClasses) {
    throw new ServalError(
      "E_CLASS_TOO_SMALL",
      `A classifier needs at least ${minClasses} classes; the data has ${labels.length}: ${labels.join(", ")}.`,
      {
        hint: "Give each class a folder of its own: rose/1.jpg, tulip/1.jpg.",
      },
    );
  }
  const assigned = assignSplits(kept, recipe.shares, recipe.seed);
  const splits: Record<Split, PlannedRow[]> = { train: [], val: [], test: [] };
  for (const [i, row] of kept.entries()) splits[assigned[i]!].push({ split: assigned[i]!, row });
  for (const part of Object.values(splits))
    part.sort((a, b) => compareBytes(a.row.sha256, b.row.sha256) || compareBytes(a.row.path, b.row.path));
  return { labels, splits, leftOut };
}

/** Rows with equal bytes, by sha256; only those with more than one row. */
export function equalBytes<T extends Pick<ManifestRow, "sha256">>(rows: readonly T[]): T[][] {
  return [...Map.groupBy(rows, (row) => row.sha256).values()].filter((same) => same.length > 1);
}

function resolveDuplicates(rows: readonly ManifestRow[], dedupe: boolean): { kept: ManifestRow[]; leftOut: LeftOut[] } {
  const leftOut: LeftOut[] = [];
  for (const same of equalBytes(rows)) {
    const paths = same.map((row) => `"${row.path}"`).join(" and ");
    if (new Set(same.map((row) => row.label)).size > 1) {
      const message = `${paths} are the same picture under different labels.`;
      if (!dedupe) throw new ServalError("E_LABEL_CONFLICT", message, { details: { paths: same.map((row) => row.path) } });
      for (const { path } of same) leftOut.push({ path, code: "E_LABEL_CONFLICT", message });
    } else if (dedupe) {
      for (const { path } of same.slice(1)) leftOut.push({ path, code: "DUPLICATE", message: `The same picture as "${same[0]!.path}".` });
    }
  }
  const gone = new Set(leftOut.map((item) => item.path));
  return { kept: rows.filter((row) => !gone.has(row.path)), leftOut: leftOut.sort((a, b) => compareBytes(a.path, b.path)) };
}
