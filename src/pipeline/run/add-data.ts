import { existsSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { join, posix, relative, resolve, sep } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere, writeFileAtomic } from "../../files.ts";
import { findPathFault } from "../../safe-path.ts";
import { renderDvcFiles } from "../dvc-files/initial-files.ts";
import { parsePipeline } from "../dvc-files/dvc-yaml.ts";
import { findIgnoreFile, git, ignoreFileOf, ignoreInGit, stageInGit } from "../dvc-files/git.ts";
import { findFiles, workspaceReader } from "../dvc-files/workspace-files.ts";
import { refuseSubfolder } from "../dvc-files/dvc-config.ts";
import { renderDataFile } from "../dvc-files/data-file.ts";
import { loadDvcIgnore } from "../dvc-files/dvc-ignore.ts";
import { refuseForeignState } from "../dvc-files/follow-links.ts";
import type { OutEntry } from "../dvc-files/out-entry.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import { findTrackedOuts } from "../dvc-files/tracked-outs.ts";

/** Writes what `dvc init` writes, where a repository has no .dvc yet; whether it had none. */
export async function ensureDvcFolder(root: string): Promise<boolean> {
  await refuseForeignState(root);
  if (existsSync(join(root, ".dvc/config"))) return false;
  refuseSubfolder(root);
  const files = renderDvcFiles({ command: "npx serval" });
  for (const path of [".dvc/config", ".dvc/.gitignore"]) {
    if (!existsSync(join(root, path))) await writeFileAtomic(join(root, path), files[path] ?? "");
  }
  return true;
}

/**
 * Puts files and folders into the cache, writes the .dvc file beside each and tells Git to ignore the data. All paths are
 * checked before anything is written. Throws E_DATA_PATH, E_PATH_LINK, E_FILE_NOT_FOUND.
 */
export async function addData(root: string, cache: OutputCache, paths: readonly string[]): Promise<OutEntry[]> {
  const tracked = await findTrackedOuts(root);
  const stageOuts = await readStageOuts(root);
  const targets: string[] = [];
  for (const given of paths) {
    const path = await checkPath(root, given, tracked, stageOuts);
    await cache.checkWritable(path);
    targets.push(path);
  }
  const entries: OutEntry[] = [];
  for (const path of targets) {
    const entry = await cache.store(path);
    await writeDataFile(join(root, `${path}.dvc`), entry);
    await ignoreInGit(root, path);
    if (cache.config.autostage) await stageInGit(root, [`${path}.dvc`, ignoreFileOf(path)]);
    entries.push(entry);
  }
  return entries;
}

/** Whether the file changed. */
async function writeDataFile(file: string, entry: OutEntry): Promise<boolean> {
  const previous = await readIfThere(file);
  const text = renderDataFile(entry, previous);
  if (text !== previous) await writeFileAtomic(file, text);
  return text !== previous;
}

/** Makes what lies at `path` now the version that the .dvc file `source` records; false where it is already. */
export async function recordData(root: string, cache: OutputCache, path: string, source: string): Promise<boolean> {
  const changed = await writeDataFile(join(root, source), await cache.store(path));
  if (changed && cache.config.autostage) await stageInGit(root, [source]);
  return changed;
}

/** The path relative to the repository, with forward slashes. */
async function checkPath(
  root: string,
  given: string,
  tracked: readonly { readonly path: string; readonly source: string }[],
  stageOuts: ReadonlyMap<string, string>,
): Promise<string> {
  const path = relative(root, resolve(root, given)).split(sep).join("/");
  if (path === "" || path.startsWith("../") || path === "..") {
    throw new ServalError("E_DATA_PATH", `"${given}" is not below the repository "${root}".`);
  }
  const fault = findPathFault(path);
  if (fault !== undefined) {
    throw new ServalError("E_DATA_PATH", `${JSON.stringify(path)} ${fault}: it cannot be versioned.`, { hint: "Rename it, or move it." });
  }
  const found = await lstat(join(root, path)).catch(() => undefined);
  if (found === undefined) throw new ServalError("E_FILE_NOT_FOUND", `"${path}" does not exist.`);
  await checkParents(root, path);
  const ignored = loadDvcIgnore(root, posix.dirname(path) === "." ? "" : posix.dirname(path));
  if (ignored(path, found.isDirectory())) throw new ServalError("E_DATA_PATH", `"${path}" is ignored by .dvcignore.`);
  for (const [out, stage] of stageOuts) {
    if (overlaps(out, path)) {
      throw new ServalError("E_DATA_PATH", `"${path}" overlaps with "${out}", which the stage "${stage}" of dvc.yaml writes.`, {
        hint: "Stages put their outs into the cache themselves: `serval repro`.",
      });
    }
  }
  const other = tracked.find((out) => out.path !== path && overlaps(out.path, path));
  if (other !== undefined) {
    throw new ServalError("E_DATA_PATH", `"${path}" overlaps with "${other.path}", which ${other.source} versions already.`, {
      hint: other.path.length < path.length ? `Add the whole of it again: \`serval add ${other.path}\`.` : `Remove ${other.source} first.`,
    });
  }
  if ((await git(root, "ls-files", "--error-unmatch", "--", `:(literal)${path}`)) !== undefined) {
    throw new ServalError("E_DATA_PATH", `"${path}" is in Git.`, { hint: `Take it out of Git first: git rm -r --cached -- '${path}'` });
  }
  await checkDataFile(root, path);
  await findIgnoreFile(root, path);
  return path;
}

/** A .dvc file in a folder that is not searched would keep its data from every push, and gc would remove the data. */
async function checkParents(root: string, path: string): Promise<void> {
  const ignored = loadDvcIgnore(root, "");
  for (let parent = posix.dirname(path); parent !== "."; parent = posix.dirname(parent)) {
    if (ignored(parent, true)) throw new ServalError("E_DATA_PATH", `"${path}" lies in "${parent}", which .dvcignore ignores.`);
    if ((await lstat(join(root, parent))).isSymbolicLink()) {
      throw new ServalError("E_DATA_PATH", `"${path}" lies behind the link "${parent}", where neither Git nor DVC looks.`, {
        hint: `Version the link itself: \`serval add ${parent}\`.`,
      });
    }
  }
}

async function checkDataFile(root: string, path: string): Promise<void> {
  const file = `${path}.dvc`;
  const isIgnored = (await git(root, "check-ignore", "--", file)) !== undefined;
  if (isIgnored && (await git(root, "ls-files", "--error-unmatch", "--", `:(literal)${file}`)) === undefined) {
    throw new ServalError("E_DATA_PATH", `Git ignores "${file}", which would say what "${path}" is.`, {
      hint: "Take its folder out of .gitignore: the data itself is ignored by a line that this command adds.",
    });
  }
}

function overlaps(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}

/** Path -> stage. Mistakes in a dvc.yaml are reported by the pipeline, and do not prevent adding data. */
async function readStageOuts(root: string): Promise<Map<string, string>> {
  const read = workspaceReader(root);
  return new Map(
    (await findFiles(root, ["dvc.yaml"])).flatMap((file) => {
      try {
        return parsePipeline(read(file) ?? "", file, read).stages.flatMap(({ address, outs }) =>
          outs.map(({ path }): [string, string] => [path, address]),
        );
      } catch (error) {
        if (error instanceof ServalError) return [];
        throw error;
      }
    }),
  );
}
