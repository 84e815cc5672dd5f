import { readStatus, type Status } from "../../pipeline/run/status.ts";
import { loadWorkspace } from "../../pipeline/run/workspace.ts";
import { withCache } from "../data-cache.ts";
import type { UseCaseOptions } from "../reporter.ts";

/** Which stages and data are out of date, and why; `targets` as for `reproducePipeline`, and .dvc files. */
export async function readPipelineStatus(options: UseCaseOptions & { readonly targets?: readonly string[] | undefined }): Promise<Status> {
  const workspace = await loadWorkspace(options.cwd);
  return await withCache(options, (cache) => readStatus(workspace, cache, options.targets ?? []));
}
