import type { OutEntry } from "../../pipeline/dvc-files/out-entry.ts";
import { addData, ensureDvcFolder } from "../../pipeline/run/add-data.ts";
import { withCache } from "../data-cache.ts";
import { allowLinks } from "../guard-folders.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";

export interface VersionDataOptions extends UseCaseOptions {
  /** Files and folders. */
  readonly paths: readonly string[];
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

/** Puts files and folders into the cache and writes a .dvc file beside each, as `dvc add` does. */
export async function versionData(options: VersionDataOptions): Promise<OutEntry[]> {
  const { cwd, paths, followLink = [], reporter = silentReporter } = options;
  if (await ensureDvcFolder(cwd)) reporter.warn("Made .dvc/ with an empty configuration: commit .dvc/config and .dvc/.gitignore.");
  await allowLinks(cwd, followLink);
  return await withCache(options, (cache) => addData(cwd, cache, paths));
}
