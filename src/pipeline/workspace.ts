import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseDataFile } from "./cache/data-file.ts";
import { findFiles } from "./cache/tracked-outs.ts";
import { parsePipeline } from "./dvc-yaml.ts";
import { buildGraph, type StageGraph } from "./graph.ts";
import type { Pipeline } from "./stage.ts";

export interface Workspace {
  readonly root: string;
  readonly pipelines: readonly Pipeline[];
  readonly graph: StageGraph;
}

/** The text of a file of the workspace; undefined where there is none. */
export function workspaceReader(root: string): (path: string) => string | undefined {
  return (path) => {
    try {
      return readFileSync(join(root, path), "utf8");
    } catch (error) {
      if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
      throw error;
    }
  };
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
