import { join, resolve } from "node:path";
import { stateDirectory } from "../../../config/env.ts";
import { loadParams, type Params } from "../../../config/params.ts";
import { prepareShards, type PrepareReport } from "../../../data/prepare.ts";
import { describeRemedy } from "../../../data/shard-plan.ts";
import type { ShardRecipe } from "../../../data/shard-index.ts";
import { splitNames } from "../../../data/split.ts";
import { takeLocks } from "../../../pipeline/run/path-locks.ts";
import type { Configure } from "../../command.ts";
import { addFollowLinkFlag, guardFolders, type FollowLinkFlag } from "../../follow-link.ts";
import { formatDuration, type Output } from "../../output.ts";

export interface PrepareCommandOptions {
  /** The working repository. */
  readonly cwd: string;
  readonly params: Pick<Params, "data" | "prepare">;
  /** Relative to `cwd`. */
  readonly rawDir?: string;
  readonly outDir?: string;
  readonly force?: boolean | undefined;
}

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command)
    .option("--force", "write the shards even where they are up to date")
    .option("--set <KEY=VALUE...>", "override a parameter, such as prepare.width=96")
    .option("--json", "print the result as JSON")
    .action(async (options: FollowLinkFlag & { force?: boolean; set?: string[]; json?: boolean }) => {
      const params = await loadParams(context.cwd, options.set ?? []);
      const output = context.output(options);
      await guardFolders(context.cwd, options, ["data/processed/.partial", stateDirectory()]);
      const report = await prepareData({ cwd: context.cwd, params, force: options.force }, output, context.signal);
      output.result(report, describePrepare(report));
    });
};

/** What the parameters say that the shards should be. */
export function shardRecipe({ prepare, data }: PrepareCommandOptions["params"]): ShardRecipe {
  const { width, height, fit, kernel, split, seed } = prepare;
  return { width, height, fit, kernel, orient: true, shares: split, seed, dedupe: data.dedupe };
}

/** Makes data/processed from data/raw as params.yaml says, with a progress bar; after another command that does so at the moment. */
export async function prepareData(options: PrepareCommandOptions, output: Output, signal?: AbortSignal): Promise<PrepareReport> {
  const outDir = join(options.cwd, options.outDir ?? "data/processed");
  const release = await takeLocks(resolve(options.cwd, stateDirectory(), "locks"), [{ name: `prepare ${outDir}`, mode: "write" }], {
    signal,
    onWait: () => output.warn("Another command prepares this data: waiting for it."),
  });
  let progress: ReturnType<Output["progress"]> | undefined;
  try {
    const report = await prepareShards({
      rawDir: join(options.cwd, options.rawDir ?? "data/raw"),
      outDir,
      ...shardRecipe(options.params),
      force: options.force ?? false,
      ...(signal && { signal }),
      onProgress: (done, total) => {
        progress ??= output.progress("Preparing", total, "images");
        progress.update(done);
      },
    });
    for (const item of report.changed ? report.leftOut : []) output.warn(`Left out "${item.path}": ${item.message}`);
    const remedy = report.changed ? describeRemedy(report.leftOut) : undefined;
    if (remedy !== undefined) output.warn(remedy);
    return report;
  } finally {
    progress?.end();
    release();
  }
}

/** The summary that the command prints. */
export function describePrepare(report: PrepareReport): string {
  if (!report.changed) return `Nothing to do: data/processed is up to date (${report.images} images).`;
  const lines = splitNames.map((split) => {
    const counts = Object.entries(report.counts[split]);
    const total = counts.reduce((sum, [, count]) => sum + count, 0);
    return `  ${split.padEnd(6)}${String(total).padStart(8)}  ${counts.map(([label, count]) => `${label} ${count}`).join(", ")}`;
  });
  const speed = `${formatDuration(report.seconds)}, ${Math.round(report.imagesPerSecond)} images/s`;
  return [`Prepared ${report.images} images in ${speed}; ${Math.round(report.bytes / 1e6)} MB in data/processed.`, ...lines].join("\n");
}
