import { commandEnvironment } from "../../config/env.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { ensureDvcFolder } from "../../pipeline/run/add-data.ts";
import { reproduce, type StageEvent, type StageResult } from "../../pipeline/run/reproduce.ts";
import { loadWorkspace } from "../../pipeline/run/workspace.ts";
import { withCache } from "../data-cache.ts";
import { allowLinks } from "../guard-folders.ts";
import type { UseCaseOptions } from "../reporter.ts";

export interface ReproducePipelineOptions extends UseCaseOptions {
  /** Stages, dvc.yaml files or outs, with all that they read from. Default: all stages. */
  readonly targets?: readonly string[] | undefined;
  /** Stages that may run at once. Default: 1. */
  readonly jobs?: number | undefined;
  /** Says what would run, and changes nothing. */
  readonly dry?: boolean | undefined;
  /** Runs stages that are up to date as well. */
  readonly force?: boolean | undefined;
  /** Only the targets themselves, not what they read from. */
  readonly singleItem?: boolean | undefined;
  /** Sends what stages print on stdout to stderr. */
  readonly outputToStderr?: boolean | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
  readonly onEvent?: ((event: StageEvent) => void) | undefined;
}

/** Runs the stages of dvc.yaml whose inputs changed. Throws E_PIPELINE where there is none, and what a stage failed with. */
export async function reproducePipeline(options: ReproducePipelineOptions): Promise<StageResult[]> {
  const { cwd, targets = [], jobs = 1, dry = false, force = false, singleItem = false, outputToStderr = false, signal } = options;
  const workspace = await loadWorkspace(cwd);
  if (workspace.graph.stages.length === 0) {
    throw new ServalError("E_PIPELINE", `There is no dvc.yaml with stages in "${cwd}".`, {
      hint: "`serval init` writes one for labelled images.",
    });
  }
  await ensureDvcFolder(cwd);
  await allowLinks(cwd, options.followLink ?? []);
  const onEvent = options.onEvent ?? (() => undefined);
  const how = { targets, jobs, dry, force, singleItem, outputToStderr, signal, onEvent, ...commandEnvironment() };
  return await withCache(options, (cache) => reproduce(workspace, cache, how));
}
