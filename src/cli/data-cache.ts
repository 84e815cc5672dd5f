import { resolve } from "node:path";
import type { OutputCache } from "../pipeline/cache/output-cache.ts";
import { refuseSubfolder } from "../pipeline/dvc-files/dvc-config.ts";
import { openOutputCache } from "../pipeline/cache/outputs.ts";
import type { CommandContext } from "./command.ts";
import type { Output, Progress } from "./output.ts";

const labels = { hash: "Hashing", store: "Into the cache", restore: "From the cache" } as const;

/** Opens the cache of the working repository for one command, with a progress bar for each step that takes long. */
export async function withCache<T>(
  context: CommandContext,
  stateDir: string,
  output: Output,
  use: (cache: OutputCache) => Promise<T>,
): Promise<T> {
  refuseSubfolder(context.cwd);
  let bar: { step: string; total: number; progress: Progress } | undefined;
  const cache = await openOutputCache(context.cwd, {
    signal: context.signal,
    stateDir: resolve(context.cwd, stateDir),
    onProgress: (step, done, total) => {
      // Each stage and each out has a bar of its own.
      if (bar?.step !== step || bar.total !== total) {
        bar?.progress.end();
        bar = { step, total, progress: output.progress(labels[step], total, "files") };
      }
      bar.progress.update(done);
      if (done < total) return;
      bar.progress.end();
      bar = undefined;
    },
  });
  try {
    return await use(cache);
  } finally {
    bar?.progress.end();
    cache.close();
  }
}
