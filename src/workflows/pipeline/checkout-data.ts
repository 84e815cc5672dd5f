import { findTrackedOuts, selectParts } from "../../pipeline/dvc-files/tracked-outs.ts";
import { withCache } from "../data-cache.ts";
import { allowLinks } from "../guard-folders.ts";
import type { UseCaseOptions } from "../reporter.ts";

export interface CheckoutDataOptions extends UseCaseOptions {
  /** Outs, files inside them, .dvc files or stages. Default: all. */
  readonly targets?: readonly string[] | undefined;
  /** Gives up data in the workspace that the cache does not have. */
  readonly force?: boolean | undefined;
  /** Makes links or copies again where cache.type has changed. */
  readonly relink?: boolean | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

export interface CheckoutReport {
  readonly restored: readonly string[];
  /** The cache does not have the recorded version of these outs. */
  readonly missing: readonly string[];
}

/** Brings the recorded version of the data from the cache into the workspace. */
export async function checkoutData(options: CheckoutDataOptions): Promise<CheckoutReport> {
  const { cwd, targets = [], force, relink, followLink = [] } = options;
  await allowLinks(cwd, followLink);
  const tracked = await findTrackedOuts(cwd);
  const [restored, missing]: [string[], string[]] = [[], []];
  await withCache(options, async (cache) => {
    const outs = selectParts(tracked, targets, (md5) => cache.entries(md5)).filter(({ cached }) => cached);
    for (const out of outs) {
      if (await cache.restore(out, { force, relink })) restored.push(out.path);
      else missing.push(out.path);
    }
  });
  return { restored, missing };
}
