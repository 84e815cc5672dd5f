import { join, resolve } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { loadParams, type Params } from "../../config/params.ts";
import { prepareShards, type PrepareReport } from "../../data/prepare.ts";
import type { ShardRecipe } from "../../data/shard-index.ts";
import { describeRemedy } from "../../data/shard-plan.ts";
import { rawDir, shardsDir } from "../../paths.ts";
import { takeLocks } from "../../pipeline/run/path-locks.ts";
import { guardFolders } from "../guard-folders.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "../reporter.ts";

export interface PrepareDataOptions extends UseCaseOptions {
  /** Default: params.yaml. */
  readonly params?: Pick<Params, "data" | "prepare"> | undefined;
  /** Relative to `cwd`. */
  readonly rawDir?: string;
  readonly outDir?: string;
  /** Writes the shards even where they are up to date. */
  readonly force?: boolean | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

/** What the parameters say that the shards should be. */
export function shardRecipe({ prepare, data }: Pick<Params, "data" | "prepare">): ShardRecipe {
  const { width, height, fit, kernel, split, seed } = prepare;
  return { width, height, fit, kernel, orient: true, shares: split, seed, dedupe: data.dedupe };
}

/** Makes data/processed from data/raw as the parameters say; waits for another process that does so at the moment. */
export async function prepareData(options: PrepareDataOptions): Promise<PrepareReport> {
  const { cwd, force = false, reporter = silentReporter, signal } = options;
  await guardFolders(cwd, options.followLink ?? [], [join(shardsDir, ".partial"), stateDirectory()]);
  const params = options.params ?? (await loadParams(cwd));
  const outDir = join(cwd, options.outDir ?? shardsDir);
  const release = await takeLocks(resolve(cwd, stateDirectory(), "locks"), [{ name: `prepare ${outDir}`, mode: "write" }], {
    signal,
    onWait: () => reporter.warn("Another command prepares this data: waiting for it."),
  });
  let progress: Progress | undefined;
  try {
    const report = await prepareShards({
      rawDir: join(cwd, options.rawDir ?? rawDir),
      outDir,
      ...shardRecipe(params),
      force,
      ...(signal && { signal }),
      onProgress: (done, total) => {
        progress ??= reporter.progress("Preparing", total, "images");
        progress.update(done);
      },
    });
    for (const item of report.changed ? report.leftOut : []) reporter.warn(`Left out "${item.path}": ${item.message}`);
    const remedy = report.changed ? describeRemedy(report.leftOut) : undefined;
    if (remedy !== undefined) reporter.warn(remedy);
    return report;
  } finally {
    progress?.end();
    release();
  }
}
