import { ServalError } from "../errors/serval-error.ts";
import { groupNearDuplicates } from "./duplicates.ts";
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

/** What to do about pictures that were left out; undefined where there is nothing to decide. */
export function describeRemedy(leftOut: readonly LeftOut[]): string | undefined {
  const conflicts = leftOut.filter(({ code }) => code === "E_LABEL_CONFLICT").length;
  if (conflicts === 0) return undefined;
  return `${conflicts} left out for two labels: delete or move the wrong one of each in the folder or zip that it came from, and run \`serval data import\` of that again. What was put into data/raw by hand is deleted there, before \`serval data import data/raw\`.`;
}

/**
 * Plans the shards. Pictures with equal bytes in two classes are E_LABEL_CONFLICT, or all left out with `dedupe`, since
 * it cannot be known which label is right; of equal bytes within one class, `dedupe` keeps the first path. Where a source has splits, near
 * duplicates of a picture of its test split are left out of the others, and those of validation out of training. Throws
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
        hint: "Give each class its own folder: rose/1.jpg, tulip/1.jpg.",
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
  const leftOut: LeftOut[] = findConflicts(rows, dedupe);
  const remaining = (): ManifestRow[] => {
    const gone = new Set(leftOut.map((item) => item.path));
    return rows.filter((row) => !gone.has(row.path));
  };
  leftOut.push(...findSplitCopies(remaining()));
  if (dedupe) {
    for (const same of equalBytes(remaining())) {
      // What has a split is worth more than a copy that has none.
      const kept = same.find((row) => row.split !== undefined) ?? same[0]!;
      for (const row of same) {
        if (row !== kept) leftOut.push({ path: row.path, code: "DUPLICATE", message: `The same picture as "${kept.path}".` });
      }
    }
  }
  return { kept: remaining(), leftOut: leftOut.sort((a, b) => compareBytes(a.path, b.path)) };
}

function findConflicts(rows: readonly ManifestRow[], dedupe: boolean): LeftOut[] {
  return equalBytes(rows).flatMap((same) => {
    if (new Set(same.map((row) => row.label)).size === 1) return [];
    const paths = same.map((row) => `"${row.path}"`).join(" and ");
    const message = `${paths} are the same picture under different labels.`;
    if (!dedupe) throw new ServalError("E_LABEL_CONFLICT", message, { details: { paths: same.map((row) => row.path) } });
    return same.map(({ path }) => ({ path, code: "E_LABEL_CONFLICT", message }));
  });
}

/** Near duplicates whose sources have them in different splits: the one that a model is measured on stays. */
function findSplitCopies(rows: readonly ManifestRow[]): LeftOut[] {
  if (!rows.some((row) => row.split !== undefined)) return [];
  const roots = groupNearDuplicates(rows.map((row) => row.dhash));
  return [...Map.groupBy(rows, (_, i) => roots[i]!).values()].flatMap((group) => {
    const kept = group.find((row) => row.split === "test") ?? group.find((row) => row.split === "val");
    if (kept === undefined) return [];
    return group
      .filter((row) => row.split !== undefined && row.split !== kept.split)
      .map(({ path, split }) => ({
        path,
        code: "DUPLICATE",
        message: `The source has it for ${split}, and nearly the same picture, "${kept.path}", for ${kept.split}: only that one is used.`,
      }));
  });
}
