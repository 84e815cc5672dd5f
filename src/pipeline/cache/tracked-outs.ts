import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { parse } from "yaml";
import { ServalError } from "../../errors.ts";
import { git } from "../git.ts";
import { isLegacyOut, parseDataFile, readOut, type DataFileOut, type ReadOutsOptions } from "./data-file.ts";
import { loadDvcIgnore } from "./dvc-ignore.ts";

/** An out that a .dvc file or a stage's entry in dvc.lock records. */
export interface TrackedOut extends DataFileOut {
  /** `data/raw.dvc`, or the stage: `train`, `sub/dvc.yaml:train`. */
  readonly source: string;
}

/** The outs of a stage that dvc.yaml names with `cache: false` or `push: false`, or a remote: dvc.lock does not repeat it. */
interface StageFacts {
  readonly wdir: string;
  readonly outs: ReadonlyMap<string, { readonly cache?: unknown; readonly push?: unknown; readonly remote?: unknown }>;
}

/** Everything that the repository versions as data now, in the order of its files' names. Throws E_DVC_FILE. */
export async function findTrackedOuts(root: string): Promise<TrackedOut[]> {
  // A lock without its dvc.yaml says nothing, to DVC either.
  const says = (file: string): boolean => file.endsWith(".dvc") || existsSync(join(root, posix.dirname(file), "dvc.yaml"));
  return (await findFiles(root, ["*.dvc", "dvc.lock"]))
    .filter(says)
    .flatMap((file) => readTrackedOuts(file, (path) => readFileSync(join(root, path), "utf8")));
}

/** The outs of one .dvc file or dvc.lock; `read` gives the text of a file of the same version, and fails where there is none. */
export function readTrackedOuts(file: string, read: (path: string) => string, options: ReadOutsOptions = {}): TrackedOut[] {
  if (file.endsWith(".dvc")) return parseDataFile(read(file), file, options).map((out) => ({ ...out, source: file }));
  const dir = posix.dirname(file);
  const pipeline = posix.join(dir, "dvc.yaml");
  const lock = readYaml(read(file), file) as { stages?: Record<string, { outs?: Record<string, unknown>[] }> };
  const stages = readStages(readYaml(read(pipeline), pipeline), dir);
  return Object.entries(lock.stages ?? {}).flatMap(([name, stage]) => {
    // A stage that dvc.yaml does not have any more says nothing about the workspace. Generated stages are `name@key`.
    const facts = stages.get(name) ?? stages.get(name.replace(/@.*$/s, ""));
    if (facts === undefined) return [];
    return (stage.outs ?? []).flatMap((out, i): TrackedOut[] => {
      if (options.skipLegacy === true && isLegacyOut(out)) return [];
      const read = readOut(out, `${file}: ${name}.outs[${i}]`, facts.wdir);
      const said = facts.outs.get(String(out["path"]));
      const source = dir === "." ? name : `${pipeline}:${name}`;
      const remote = typeof said?.remote === "string" ? { remote: said.remote } : {};
      return [{ ...read, ...remote, cached: said?.cache !== false, pushed: said?.push !== false, source }];
    });
  });
}

function readStages(value: unknown, dir: string): Map<string, StageFacts> {
  const { stages } = (value ?? {}) as { stages?: Record<string, Record<string, unknown>> };
  return new Map(
    Object.entries(stages ?? {}).map(([name, stage]) => {
      const outs = ["outs", "metrics", "plots"].flatMap((key) => (Array.isArray(stage[key]) ? (stage[key] as unknown[]) : []));
      const facts = outs.flatMap((out) => (typeof out === "object" && out !== null ? (Object.entries(out) as [string, object][]) : []));
      return [name, { wdir: posix.join(dir, typeof stage["wdir"] === "string" ? stage["wdir"] : "."), outs: new Map(facts) }];
    }),
  );
}

function readYaml(text: string, file: string): unknown {
  try {
    return parse(text) ?? {};
  } catch (error) {
    throw new ServalError("E_DVC_FILE", `${file}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * The outs that the targets name: an out's path, a .dvc file, a stage, or a dvc.yaml; all without targets. Throws
 * E_FILE_NOT_FOUND, which names the target that is none of these.
 */
export function selectOuts(outs: readonly TrackedOut[], targets: readonly string[]): TrackedOut[] {
  if (targets.length === 0) return [...outs];
  const chosen = new Set<TrackedOut>();
  for (const target of targets) {
    const path = posix
      .normalize(target)
      .replace(/\/$/, "")
      .replace(/^dvc\.yaml:/, "");
    const found = outs.filter((out) =>
      path.endsWith("dvc.yaml")
        ? stageFile(out.source) === path
        : out.path === path || out.source === path || out.path.startsWith(`${path}/`),
    );
    if (found.length === 0) {
      throw new ServalError("E_FILE_NOT_FOUND", `"${target}": expected an out that is recorded, a .dvc file or a stage.`, {
        hint:
          outs.length === 0
            ? "Nothing is versioned yet: `serval add PATH`."
            : `Recorded are: ${outs.map(({ path: known }) => known).join(", ")}.`,
      });
    }
    for (const out of found) chosen.add(out);
  }
  return outs.filter((out) => chosen.has(out));
}

function stageFile(source: string): string {
  if (source.endsWith(".dvc")) return source;
  return source.includes(":") ? source.slice(0, source.lastIndexOf(":")) : "dvc.yaml";
}

/** The files with these names (`*.dvc`, `dvc.lock`) in the workspace that neither Git nor DVC ignores, sorted. */
export async function findFiles(root: string, names: readonly string[]): Promise<string[]> {
  const named = (path: string): boolean =>
    names.some((name) => (name.startsWith("*") ? path.endsWith(name.slice(1)) : posix.basename(path) === name));
  // Git knows what is ignored, and does not look into data that is.
  const wanted = names.flatMap((name) => (name.startsWith("*") ? [name] : [name, `*/${name}`]));
  const listed = await git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ...wanted);
  const paths = listed?.split("\0").filter(Boolean) ?? walkForDataFiles(root, "");
  const ignored = loadDvcIgnore(root, "");
  const visible = (path: string): boolean =>
    path.split("/").every((_, i, parts) => !ignored(parts.slice(0, i + 1).join("/"), i + 1 < parts.length));
  return [...new Set(paths)].filter((path) => named(path) && visible(path) && existsSync(join(root, path))).sort();
}

/** Where there is no Git: every folder but those that are data themselves. */
function walkForDataFiles(root: string, dir: string): string[] {
  const entries = readdirSync(join(root, dir), { withFileTypes: true });
  const at = (name: string): string => (dir === "" ? name : `${dir}/${name}`);
  const data = new Set(entries.flatMap(({ name }) => (name.endsWith(".dvc") ? [name.slice(0, -".dvc".length)] : [])));
  return entries.flatMap((entry) => {
    if (!entry.isDirectory()) return [at(entry.name)];
    if (data.has(entry.name) || [".git", ".dvc", "node_modules", ".serval"].includes(entry.name)) return [];
    return walkForDataFiles(root, at(entry.name));
  });
}
