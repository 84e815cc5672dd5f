import { resolve } from "node:path";
import { stateDirectory } from "../config/env.ts";
import type { OutputCache } from "../pipeline/cache/output-cache.ts";
import { openOutputCache } from "../pipeline/cache/outputs.ts";
import { refuseSubfolder } from "../pipeline/dvc-files/dvc-config.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "./reporter.ts";

const labels = { hash: "Hashing", store: "Into the cache", restore: "From the cache" } as const;

/** Opens the cache of the working repository for one use case, and tells how far each step is that takes long. */
export async function withCache<T>(
  { cwd, signal, reporter = silentReporter }: UseCaseOptions,
  use: (cache: OutputCache) => Promise<T>,
): Promise<T> {
  refuseSubfolder(cwd);
  let bar: { step: string; total: number; progress: Progress } | undefined;
  const cache = await openOutputCache(cwd, {
    ...(signal && { signal }),
    stateDir: resolve(cwd, stateDirectory()),
    onProgress: (step, done, total) => {
      // Each stage and each out has its own bar.
      if (bar?.step !== step || bar.total !== total) {
        bar?.progress.end();
        bar = { step, total, progress: reporter.progress(labels[step], total, "files") };
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
