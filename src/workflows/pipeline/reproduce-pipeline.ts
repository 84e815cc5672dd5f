import { commandEnvironment } from "../../config/env.ts";
import { ServalError } from "../../errors/serval-error.ts";
import type { OutputCache } from "../../pipeline/cache/output-cache.ts";
import { forEachRemote } from "../../pipeline/remote/by-remote.ts";
import { fetchOuts } from "../../pipeline/remote/fetch.ts";
import { ensureDvcFolder } from "../../pipeline/run/add-data.ts";
import type { StageSelection } from "../../pipeline/run/graph.ts";
import { reproduce, type ReproduceOptions, type StageEvent, type StageResult } from "../../pipeline/run/reproduce.ts";
import { loadWorkspace } from "../../pipeline/run/workspace.ts";
import { withCache } from "../data-cache.ts";
import { allowLinks } from "../guard-folders.ts";
import type { UseCaseOptions } from "../reporter.ts";
import { remoteOptions } from "./remote-options.ts";

export interface ReproducePipelineOptions extends UseCaseOptions, StageSelection {
  /** Stages, dvc.yaml files or outs, with all that they read from. Default: all stages. */
  readonly targets?: readonly string[] | undefined;
  /** Stages that may run at once. Default: 1. */
  readonly jobs?: number | undefined;
  /** Says what would run, and changes nothing. */
  readonly dry?: boolean | undefined;
  /** Runs stages that are up to date as well. */
  readonly force?: boolean | undefined;
  /** Runs what does not depend on a stage that failed. */
  readonly keepGoing?: boolean | undefined;
  /** Does not run stages only because data is not there that the lock knows. */
  readonly allowMissing?: boolean | undefined;
  /** Brings recorded data that the cache lacks from the remotes. */
  readonly pull?: boolean | undefined;
  /** Sends what stages print on stdout to stderr. */
  readonly outputToStderr?: boolean | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
  readonly onEvent?: ((event: StageEvent) => void) | undefined;
}

/** Runs the stages of dvc.yaml whose inputs changed. Throws E_PIPELINE where there is no dvc.yaml, and what a stage failed with. */
export async function reproducePipeline(options: ReproducePipelineOptions): Promise<StageResult[]> {
  const { cwd, targets = [], jobs = 1, dry = false, force = false, pull = false, outputToStderr = false, signal } = options;
  const workspace = await loadWorkspace(cwd);
  if (workspace.pipelines.length === 0) {
    throw new ServalError("E_PIPELINE", `There is no dvc.yaml in "${cwd}".`, {
      hint: "`serval init` writes one for labelled images.",
    });
  }
  await ensureDvcFolder(cwd);
  await allowLinks(cwd, options.followLink ?? []);
  const onEvent = options.onEvent ?? (() => undefined);
  const how = { ...options, targets, jobs, dry, force, outputToStderr, onEvent, ...commandEnvironment() };
  return await withCache(options, (cache) => reproduce(workspace, cache, pull ? { ...how, fetch: fetcher(cache, signal) } : how));
}

/** What a remote does not have stays missing: then the stage runs. */
function fetcher(cache: OutputCache, signal: AbortSignal | undefined): NonNullable<ReproduceOptions["fetch"]> {
  return async (outs) =>
    await forEachRemote(cache.config, outs, remoteOptions({}, signal), async (link, group) => void (await fetchOuts(cache, link, group)));
}
