import { parseDataFile } from "../dvc-files/data-file.ts";
import { parsePipeline } from "../dvc-files/dvc-yaml.ts";
import { buildGraph, type StageGraph } from "./graph.ts";
import type { Pipeline } from "../dvc-files/stage.ts";
import { findFiles, workspaceReader } from "../dvc-files/workspace-files.ts";

export interface Workspace {
  readonly root: string;
  readonly pipelines: readonly Pipeline[];
  readonly graph: StageGraph;
}

/** Reads every dvc.yaml and .dvc file of the repository. Throws E_PIPELINE, E_DVC_FILE. */
export async function loadWorkspace(root: string): Promise<Workspace> {
  const read = workspaceReader(root);
  const files = await findFiles(root, ["*.dvc", "dvc.yaml"]);
  const pipelines = files.filter((file) => file.endsWith(".yaml")).map((file) => parsePipeline(read(file) ?? "", file, read));
  const data = files
    .filter((file) => file.endsWith(".dvc"))
    .flatMap((file) => parseDataFile(read(file) ?? "", file).map(({ path }) => ({ path, source: file })));
  const graph = buildGraph(
    pipelines.flatMap(({ stages }) => stages),
    data,
  );
  return { root, pipelines, graph };
}
