import type { ValueChange } from "../../pipeline/dvc-files/params.ts";
import { compareValues, readMetricFiles, readParamFiles, type ValuesByFile } from "../../pipeline/history/compare.ts";
import { commitVersion, workspaceVersion, type Version } from "../../pipeline/history/versions.ts";
import { withCache } from "../data-cache.ts";
import type { UseCaseOptions } from "../reporter.ts";

export interface CompareVersionsOptions extends UseCaseOptions {
  /** Branch, tag or commit. Default: HEAD. */
  readonly old?: string | undefined;
  /** Branch, tag or commit. Default: the workspace. */
  readonly now?: string | undefined;
}

export interface VersionChanges {
  /** What differs, by file. */
  readonly changes: ReadonlyMap<string, readonly ValueChange[]>;
  /** All values of the newer version. */
  readonly after: ValuesByFile;
}

/** Gives the versions that revisions name, the workspace for undefined, to `use`. */
export async function withVersions<T>(
  options: UseCaseOptions,
  revisions: readonly (string | undefined)[],
  use: (versions: readonly Version[]) => T | Promise<T>,
): Promise<T> {
  const { cwd } = options;
  return await withCache(options, async (cache) => {
    const versions: Version[] = [];
    for (const revision of revisions)
      versions.push(revision === undefined ? await workspaceVersion(cwd) : await commitVersion(cwd, revision, cache));
    return await use(versions);
  });
}

/** The metrics that differ between two versions. */
export async function compareMetrics(options: CompareVersionsOptions): Promise<VersionChanges> {
  return await compareFiles(options, readMetricFiles);
}

/** The parameters that differ between two versions. */
export async function compareParams(options: CompareVersionsOptions): Promise<VersionChanges> {
  return await compareFiles(options, readParamFiles);
}

async function compareFiles(options: CompareVersionsOptions, read: (version: Version) => ValuesByFile): Promise<VersionChanges> {
  const { old = "HEAD", now } = options;
  return await withVersions(options, [old, now], (versions) => {
    const [before = new Map(), after = new Map()] = versions.map(read);
    return { changes: compareValues(before, after), after };
  });
}

/** The metrics of the workspace, or of a commit. */
export async function readMetrics(options: UseCaseOptions & { readonly revision?: string | undefined }): Promise<ValuesByFile> {
  return await withVersions(options, [options.revision], ([version]) => readMetricFiles(version as Version));
}
