import { posix } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import type { Stage } from "../dvc-files/stage.ts";

/** Data that a .dvc file versions: nothing runs for it, but stages read it. */
export interface DataNode {
  /** The .dvc file. */
  readonly source: string;
  readonly path: string;
}

export interface StageGraph {
  /** In an order in which every stage follows those that it reads from; by name where that leaves a choice. */
  readonly stages: readonly Stage[];
  /** The stages that write what `stage` reads. */
  upstream(stage: Stage): readonly Stage[];
  /** The .dvc files of the data that `stage` reads. */
  data(stage: Stage): readonly DataNode[];
}

/**
 * Joins stages by what they read and write. Throws E_PIPELINE for a cycle, for two that write one path and for a path inside
 * another's.
 */
export function buildGraph(stages: readonly Stage[], data: readonly DataNode[]): StageGraph {
  const writers = [
    ...stages.flatMap((stage) => stage.outs.map(({ path }) => ({ path, stage, source: `stage "${stage.address}"` }))),
    ...data.map((node) => ({ path: node.path, stage: undefined, source: node.source })),
  ];
  checkOuts(writers);
  const byPath = new Map(writers.map((writer) => [writer.path, writer]));
  const sorted = writers.map(({ path }) => path).sort();
  const writersOf = (path: string): typeof writers => {
    const found: typeof writers = [];
    // The stages that write the path, a folder around it, or anything inside it.
    for (let at = path; at !== "." && at !== "/"; at = posix.dirname(at)) {
      const writer = byPath.get(at);
      if (writer !== undefined) found.push(writer);
    }
    for (const out of sorted) if (isInside(out, path)) found.push(byPath.get(out) as (typeof writers)[number]);
    return found;
  };
  const upstream = new Map<Stage, Stage[]>();
  const dataOf = new Map<Stage, DataNode[]>();
  for (const stage of stages) {
    const found = [...stage.deps, ...stage.params].flatMap(({ path }) => writersOf(path));
    upstream.set(stage, [...new Set(found.flatMap((writer) => writer.stage ?? []))]);
    dataOf.set(stage, [...new Set(found.flatMap(({ stage: by, path, source }) => (by === undefined ? [{ path, source }] : [])))]);
  }
  return {
    stages: sortStages(stages, upstream),
    upstream: (stage) => upstream.get(stage) ?? [],
    data: (stage) => dataOf.get(stage) ?? [],
  };
}

/** Whether `path` lies below the folder `folder`. */
export function isInside(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}

function checkOuts(writers: readonly { readonly path: string; readonly source: string }[]): void {
  const byPath = new Map<string, string>();
  for (const { path, source } of writers) {
    const other = byPath.get(path);
    if (other !== undefined) {
      throw new ServalError("E_PIPELINE", `"${path}" is written by ${other} and by ${source}: one of them has to go.`);
    }
    byPath.set(path, source);
  }
  for (const { path, source } of writers) {
    for (let at = posix.dirname(path); at !== "." && at !== "/"; at = posix.dirname(at)) {
      const other = byPath.get(at);
      if (other !== undefined) {
        throw new ServalError("E_PIPELINE", `"${path}" of ${source} lies inside "${at}", which ${other} writes: outs must not overlap.`);
      }
    }
  }
}

function sortStages(stages: readonly Stage[], upstream: ReadonlyMap<Stage, readonly Stage[]>): Stage[] {
  const done = new Set<Stage>();
  const path: Stage[] = [];
  const visit = (stage: Stage): void => {
    if (done.has(stage)) return;
    const at = path.indexOf(stage);
    if (at >= 0) {
      const cycle = [...path.slice(at), stage].map(({ address }) => `"${address}"`).join(" reads from ");
      throw new ServalError("E_PIPELINE", `The stages form a cycle: ${cycle}.`);
    }
    path.push(stage);
    for (const before of upstream.get(stage) ?? []) visit(before);
    path.pop();
    done.add(stage);
  };
  for (const stage of stages) visit(stage);
  return [...done];
}

/** Which stages belong to the targets. By default the targets and all that they read from. */
export interface StageSelection {
  /** Only the targets themselves. */
  readonly singleItem?: boolean | undefined;
  /** The targets and all that reads from them. */
  readonly downstream?: boolean | undefined;
  /** All that the targets are connected with. */
  readonly pipeline?: boolean | undefined;
  /** Targets are patterns of names of stages, with `*`, `?` and `[…]`. */
  readonly glob?: boolean | undefined;
}

/** The stages that `targets` name (a stage, all of a `foreach` or `matrix`, a dvc.yaml, an out), and those that belong to them. Throws E_PIPELINE. */
export function selectStages(graph: StageGraph, targets: readonly string[], selection: StageSelection = {}): Stage[] {
  const { singleItem = false, downstream = false, pipeline = false, glob = false } = selection;
  const chosen = new Set<Stage>();
  const readers = (stage: Stage): Stage[] => graph.stages.filter((other) => graph.upstream(other).includes(stage));
  const choose = (stage: Stage): void => {
    if (chosen.has(stage)) return;
    chosen.add(stage);
    if (downstream || pipeline) for (const after of readers(stage)) choose(after);
    // A frozen stage stands for what it wrote last, whatever becomes of its inputs.
    if (pipeline || (!singleItem && !downstream && !stage.frozen)) for (const before of graph.upstream(stage)) choose(before);
  };
  for (const target of targets) {
    const name = posix.normalize(target.replace(/^(\.\/)?dvc\.yaml:/, "")).replace(/(?<=.)\/$/, "");
    const pattern = glob ? globPattern(name) : undefined;
    const found = graph.stages.filter((stage) => {
      if (pattern !== undefined) return pattern.test(stage.address);
      const file = stage.dir === "" ? "dvc.yaml" : `${stage.dir}/dvc.yaml`;
      return stage.address === name || stage.group === name || file === name || stage.outs.some(({ path }) => path === name);
    });
    if (found.length === 0) {
      const known = graph.stages.map(({ address }) => address).join(", ");
      throw new ServalError(
        "E_PIPELINE",
        `Unknown target "${target}": expected a stage, a dvc.yaml or an out. The stages are: ${known || "none"}.`,
      );
    }
    for (const stage of found) choose(stage);
  }
  return targets.length === 0 ? [...graph.stages] : graph.stages.filter((stage) => chosen.has(stage));
}

/** As Python's fnmatch: `*` is any text, also with slashes. */
function globPattern(glob: string): RegExp {
  const parts = glob.split(/(\*|\?|\[!?[^[\]]+\])/).map((part, i) => {
    if (i % 2 === 0) return RegExp.escape(part);
    return part === "*" ? ".*" : part === "?" ? "." : `[${part.slice(1, -1).replace(/^!/, "^").replaceAll("\\", "\\\\")}]`;
  });
  return new RegExp(`^${parts.join("")}$`, "su");
}
