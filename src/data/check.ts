import { ServalError } from "../errors/serval-error.ts";
import { groupNearDuplicates } from "./duplicates.ts";
import { countLabels } from "./ingest.ts";
import { readManifest, type ManifestRow } from "./manifest.ts";
import { readShardIndex, type ShardIndex } from "./shard-index.ts";
import { equalBytes } from "./shard-plan.ts";
import { splitNames, type Split } from "./split.ts";

/** Pictures that are the same or nearly so. */
export interface DuplicateGroup {
  readonly paths: readonly string[];
  readonly labels: readonly string[];
}

export interface DataCheck {
  readonly images: number;
  readonly dataVersion: string;
  /** Classes sorted, with their share of all pictures (0 to 1). */
  readonly classes: readonly { readonly label: string; readonly count: number; readonly share: number }[];
  /** Groups with the same bytes. */
  readonly exactDuplicates: readonly DuplicateGroup[];
  /** Groups that look the same (64-bit dHash, distance <= 2) without all being the same bytes. */
  readonly nearDuplicates: readonly DuplicateGroup[];
  /** Those of both kinds whose members have different labels. */
  readonly conflicts: readonly (DuplicateGroup & { readonly sameBytes: boolean })[];
  readonly oddSizes: readonly { readonly path: string; readonly width: number; readonly height: number; readonly reason: string }[];
  /** Classes with fewer pictures than there are splits. */
  readonly tooSmall: readonly { readonly label: string; readonly count: number; readonly needed: number }[];
  /** Null where nothing is prepared. */
  readonly splits: {
    /** Whether data/processed was made from this version of the data. */
    readonly upToDate: boolean;
    /** Groups of duplicates whose members lie in more than one split. */
    readonly leaks: readonly { readonly paths: readonly string[]; readonly splits: readonly Split[] }[];
  } | null;
}

const minSidePx = 32;
const maxAspect = 3;
/** One for each of train, val and test. */
const minPerClass = splitNames.length;

/** Looks for what makes a set of pictures hard to learn from or a measurement on it untrue. Throws E_MANIFEST_*. */
export async function checkData(rawDir: string, processedDir: string): Promise<DataCheck> {
  const { rows, dataVersion } = await readManifest(rawDir);
  const index = await readShardIndex(processedDir).catch((error: unknown) => {
    if (error instanceof ServalError) return undefined;
    throw error;
  });
  const exact = equalBytes(rows);
  const roots = groupNearDuplicates(rows.map((row) => row.dhash));
  const alike = [...Map.groupBy(rows, (_, i) => roots[i]!).values()].filter((group) => group.length > 1);
  const near = alike.filter((group) => new Set(group.map((row) => row.sha256)).size > 1);
  const classes = Object.entries(countLabels(rows)).map(([label, count]) => ({ label, count, share: count / rows.length }));
  return {
    images: rows.length,
    dataVersion,
    classes,
    exactDuplicates: exact.map(toGroup),
    nearDuplicates: near.map(toGroup),
    conflicts: [
      ...exact.map((group) => ({ ...toGroup(group), sameBytes: true })),
      ...near.map((group) => ({ ...toGroup(group), sameBytes: false })),
    ].filter((group) => group.labels.length > 1),
    oddSizes: rows.flatMap((row) => {
      const reason = oddReason(row);
      return reason === undefined ? [] : [{ path: row.path, width: row.width, height: row.height, reason }];
    }),
    tooSmall: classes.filter(({ count }) => count < minPerClass).map(({ label, count }) => ({ label, count, needed: minPerClass })),
    splits: index === undefined ? null : { upToDate: index.dataVersion === dataVersion, leaks: findLeaks(index, alike) },
  };
}

function toGroup(rows: readonly ManifestRow[]): DuplicateGroup {
  return { paths: rows.map((row) => row.path), labels: [...new Set(rows.map((row) => row.label))].sort() };
}

function oddReason({ width, height }: ManifestRow): string | undefined {
  if (Math.min(width, height) < minSidePx) return `a side is shorter than ${minSidePx} px`;
  const aspect = Math.max(width / height, height / width);
  return aspect > maxAspect ? `one side is ${aspect.toFixed(1)} times the other` : undefined;
}

function findLeaks(index: ShardIndex, alike: readonly (readonly ManifestRow[])[]): { paths: string[]; splits: Split[] }[] {
  const splitsOf = new Map<string, Set<Split>>();
  for (const split of splitNames) {
    for (const [sha256] of index.splits[split].rows) {
      const found = splitsOf.get(sha256);
      if (found === undefined) splitsOf.set(sha256, new Set([split]));
      else found.add(split);
    }
  }
  return alike.flatMap((group) => {
    const splits = new Set(group.flatMap((row) => [...(splitsOf.get(row.sha256) ?? [])]));
    return splits.size > 1 ? [{ paths: group.map((row) => row.path), splits: splitNames.filter((split) => splits.has(split)) }] : [];
  });
}
