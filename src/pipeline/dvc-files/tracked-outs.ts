import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { readStageOuts } from "./dvc-yaml.ts";
import { parseLock } from "./lock-file.ts";
import { toPlain, type ReadText } from "./yaml-values.ts";
import { findFiles, workspaceReader } from "./workspace-files.ts";
import { isLegacyOut, parseDataFile, readOut, type DataFileOut, type ReadOutsOptions } from "./data-file.ts";

/** An out that a .dvc file or a stage's entry in dvc.lock records. */
export interface TrackedOut extends DataFileOut {
  /** `data/raw.dvc`, or the stage: `train`, `sub/dvc.yaml:train`. */
  readonly source: string;
}

/** Everything that the repository versions as data now, in the order of its files' names. Throws E_DVC_FILE. */
export async function findTrackedOuts(root: string): Promise<TrackedOut[]> {
  // A lock without its dvc.yaml says nothing, to DVC either.
  const says = (file: string): boolean => file.endsWith(".dvc") || existsSync(join(root, posix.dirname(file), "dvc.yaml"));
  const read = workspaceReader(root);
  return (await findFiles(root, ["*.dvc", "dvc.lock"])).filter(says).flatMap((file) => readTrackedOuts(file, read));
}

/**
 * The outs of one .dvc file or dvc.lock; `read` gives the text of a file of the same version. Throws E_DVC_FILE, and
 * E_PIPELINE where dvc.yaml does not tell where a stage's outs lie.
 */
export function readTrackedOuts(file: string, read: ReadText, options: ReadOutsOptions = {}): TrackedOut[] {
  if (file.endsWith(".dvc")) return parseDataFile(read(file) ?? "", file, options).map((out) => ({ ...out, source: file }));
  const dir = posix.dirname(file);
  const pipeline = posix.join(dir, "dvc.yaml");
  const lock = parseLock(read(file) ?? "", file, options);
  const stages = readStageOuts(read(pipeline) ?? "", pipeline, read);
  return [...lock].flatMap(([name, { recordedOuts }]) => {
    const place = stages.get(name);
    // A stage that dvc.yaml does not have any more says nothing about the workspace.
    if (place === undefined) return [];
    return recordedOuts.flatMap((recorded, i): TrackedOut[] => {
      const out = toPlain(recorded) as Record<string, unknown>;
      if (options.skipLegacy === true && isLegacyOut(out)) return [];
      const known = readOut(out, `${file}: ${name}.outs[${i}]`, place.wdir);
      const said = place.options.get(String(out["path"]));
      const remote = said?.get("remote");
      return [
        {
          ...known,
          ...(typeof remote === "string" && { remote }),
          cached: said?.get("cache") !== false,
          pushed: said?.get("push") !== false,
          source: dir === "." ? name : `${pipeline}:${name}`,
        },
      ];
    });
  });
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
        : out.path === path || out.source === path || out.source.startsWith(`${path}@`) || out.path.startsWith(`${path}/`),
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

/**
 * As `selectOuts`, and a target may be a file or folder inside an out that is a folder: then each of its files counts as an out.
 * `entries` gives what a folder's hash lists; null where that is not known.
 */
export function selectParts(
  outs: readonly TrackedOut[],
  targets: readonly string[],
  entries: (md5: string) => readonly { readonly relpath: string; readonly md5: string }[] | null,
): TrackedOut[] {
  const parts: TrackedOut[] = [];
  const whole = targets.filter((target) => {
    const path = posix.normalize(target).replace(/\/$/, "");
    const out = outs.find((one) => one.md5.endsWith(".dir") && path.startsWith(`${one.path}/`));
    const files = out === undefined ? [] : (entries(out.md5) ?? []);
    const found = files.filter(({ relpath }) => `${out?.path}/${relpath}` === path || `${out?.path}/${relpath}`.startsWith(`${path}/`));
    for (const { relpath, md5 } of found) if (out !== undefined) parts.push({ ...out, path: `${out.path}/${relpath}`, md5, size: 0 });
    return found.length === 0;
  });
  return [...(whole.length > 0 || targets.length === 0 ? selectOuts(outs, whole) : []), ...parts];
}

function stageFile(source: string): string {
  if (source.endsWith(".dvc")) return source;
  return source.includes(":") ? source.slice(0, source.lastIndexOf(":")) : "dvc.yaml";
}
