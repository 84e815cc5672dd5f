import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readTrackedOuts, type TrackedOut } from "../dvc-files/tracked-outs.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import { parsePipeline } from "../dvc-files/dvc-yaml.ts";
import { isInside } from "../run/graph.ts";
import { git, readObject, resolveRevision } from "../dvc-files/git.ts";
import type { Pipeline } from "../dvc-files/stage.ts";
import { workspaceReader } from "../dvc-files/workspace-files.ts";
import { loadWorkspace } from "../run/workspace.ts";

/** A state of the repository that others are compared with: the workspace, or a commit with the data that the cache has of it. */
export interface Version {
  /** `workspace`, or what the user called the commit. */
  readonly name: string;
  readonly pipelines: readonly Pipeline[];
  /** Bytes of a file; undefined where this version has none, or the cache does not have it. */
  read(path: string): Buffer | undefined;
}

export async function workspaceVersion(root: string): Promise<Version> {
  const read = workspaceReader(root);
  return {
    name: "workspace",
    pipelines: (await loadWorkspace(root)).pipelines,
    read: (path) => (read(path) === undefined ? undefined : readFileSync(join(root, path))),
  };
}

/** Throws E_GIT_REVISION, and E_PIPELINE where the commit's dvc.yaml cannot be read. */
export async function commitVersion(root: string, revision: string, cache: OutputCache): Promise<Version> {
  const commit = await resolveRevision(root, revision);
  const listed = await git(root, "ls-tree", "-r", "-z", "--name-only", commit);
  const paths = new Set(listed?.split("\0").filter(Boolean));
  const fromGit = (path: string): Buffer | undefined => (paths.has(path) ? readObject(root, `${commit}:./${path}`) : undefined);
  const text = (path: string): string | undefined => fromGit(path)?.toString("utf8");
  const pipelines = [...paths]
    .filter((path) => path === "dvc.yaml" || path.endsWith("/dvc.yaml"))
    .map((path) => parsePipeline(text(path) ?? "", path, text));
  const outs: TrackedOut[] = [...paths]
    .filter((path) => path.endsWith(".dvc") || path === "dvc.lock" || path.endsWith("/dvc.lock"))
    .flatMap((path) => readTrackedOuts(path, (file) => text(file) ?? ""));
  return { name: revision, pipelines, read: (path) => fromGit(path) ?? fromCache(path, outs, cache) };
}

function fromCache(path: string, outs: readonly TrackedOut[], cache: OutputCache): Buffer | undefined {
  const out = outs.find((one) => one.path === path || isInside(path, one.path));
  if (out === undefined) return undefined;
  const md5 = out.path === path ? out.md5 : cache.entries(out.md5)?.find(({ relpath }) => relpath === path.slice(out.path.length + 1))?.md5;
  const object = md5 === undefined ? null : cache.object(md5);
  return object === null ? undefined : readFileSync(object);
}
