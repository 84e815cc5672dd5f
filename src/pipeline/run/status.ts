import type { OutputCache } from "../cache/output-cache.ts";
import { selectOuts, findTrackedOuts } from "../dvc-files/tracked-outs.ts";
import { describeChanges, findChanges, isUpToDate, statusOf, WorkspaceHashes, type PathState } from "./changes.ts";
import { LockFiles } from "../dvc-files/lock-file.ts";
import { selectStages } from "./graph.ts";
import { workspaceReader } from "../dvc-files/workspace-files.ts";
import type { Workspace } from "./workspace.ts";

export interface Status {
  /** What is out of date, by stage or .dvc file, as `dvc status --json` gives it. */
  readonly changed: Readonly<Record<string, readonly unknown[]>>;
  /** The same for people: one line for each reason. */
  readonly reasons: ReadonlyMap<string, readonly string[]>;
  readonly checked: number;
}

/** Compares the workspace with dvc.lock and the .dvc files; targets as for `serval repro`, and .dvc files. */
export async function readStatus({ root, graph }: Workspace, cache: OutputCache, targets: readonly string[]): Promise<Status> {
  const hashes = new WorkspaceHashes(cache);
  const read = workspaceReader(root);
  const changed: Record<string, readonly unknown[]> = {};
  const reasons = new Map<string, readonly string[]>();
  const data = (await findTrackedOuts(root)).filter(({ source }) => source.endsWith(".dvc"));
  const dataTargets = targets.filter((target) => target.endsWith(".dvc"));
  const stageTargets = targets.filter((target) => !target.endsWith(".dvc"));
  const stages = targets.length > 0 && stageTargets.length === 0 ? [] : selectStages(graph, stageTargets, { singleItem: true });
  const locks = new LockFiles(root);
  for (const stage of stages) {
    const changes = await findChanges(stage, locks.read(stage), cache, hashes, read);
    if (isUpToDate(changes)) continue;
    changed[stage.address] = statusOf(stage, changes);
    reasons.set(stage.address, describeChanges(changes));
  }
  const chosen = targets.length > 0 && dataTargets.length === 0 ? [] : selectOuts(data, dataTargets);
  for (const [source, tracked] of Map.groupBy(chosen, (out) => out.source)) {
    const outs: Record<string, PathState> = {};
    for (const { path, md5, cached } of tracked) {
      const now = await hashes.of(path);
      if (cached && !(await cache.has(md5))) outs[path] = "not in cache";
      else if (now === null) outs[path] = "deleted";
      else if (now.md5 !== md5) outs[path] = "modified";
    }
    if (Object.keys(outs).length === 0) continue;
    changed[source] = [{ "changed outs": outs }];
    reasons.set(
      source,
      Object.entries(outs).map(([path, state]) => `${path} is ${state === "deleted" ? "not there" : state}`),
    );
  }
  return { changed, reasons, checked: stages.length + data.length };
}
