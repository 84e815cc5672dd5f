import { stat } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { paramsHash, parseParams } from "../../config/params.ts";
import { readIfThere, sha256File } from "../../files.ts";
import { paramsFile, releasedModelsDir } from "../../paths.ts";
import { isSafePath } from "../../safe-path.ts";
import { loadBundle, type Bundle } from "../../model/bundle.ts";
import { provenanceFile } from "../../model/manifest.ts";
import { releasedModels } from "../../model/resolve-model.ts";
import type { OutputCache } from "../../pipeline/cache/output-cache.ts";
import { git, readAtCommit } from "../../pipeline/dvc-files/git.ts";
import { findRecorded, followUpstream, hashInside, type Recorded } from "../../pipeline/history/lineage.ts";
import { withCache } from "../data-cache.ts";
import { findModel } from "../find-model.ts";
import type { UseCaseOptions } from "../reporter.ts";

/** One step on the way back from a model. */
export interface Link {
  readonly link: string;
  /** `proved`: checked by hash. `contradicted`: checked, and it is not so. `unproved`: nothing here can tell. */
  readonly state: "proved" | "contradicted" | "unproved";
  readonly text: string;
}

export interface TraceModelOptions extends UseCaseOptions {
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: the released or the trained one. */
  readonly model?: string | undefined;
}

export interface Lineage {
  /** Folder of the bundle, relative to the working folder. */
  readonly model: string;
  readonly digest: string;
  readonly links: readonly Link[];
}

/** Follows a model back to its commit, data, parameters and run, and says which of it hashes prove. */
export async function traceModel(options: TraceModelOptions): Promise<Lineage> {
  const { cwd } = options;
  const bundle = await loadBundle((await findModel(options.model, options)).dir);
  const links = await withCache(options, (cache) => follow(cwd, resolve(cwd, stateDirectory()), bundle, cache));
  return { model: relative(cwd, bundle.dir), digest: bundle.digest, links };
}

async function follow(root: string, stateDir: string, bundle: Bundle, cache: OutputCache): Promise<Link[]> {
  const { manifest, digest } = bundle;
  const path = relative(root, bundle.dir).split(sep).join("/");
  const links: Link[] = [
    { link: "model", state: "proved", text: `${path}: digest ${digest}; every file has the SHA-256 that bundle.json gives` },
  ];
  const entry = path.startsWith("..") ? null : await cache.hash(path);
  const recorded = entry === null ? undefined : await findRecorded(root, entry.md5);
  if (entry === null || recorded === undefined) {
    const why =
      entry === null ? "it lies outside this repository" : `no dvc.lock of the workspace or of Git's history has an out ${entry.md5}`;
    links.push({ link: "stage", state: "unproved", text: `${why}: the stage that wrote it is unknown` });
  } else {
    links.push({ link: "stage", state: "proved", text: `"${recorded.stage}" wrote it as ${recorded.out} (dvc.lock: ${entry.md5})` });
    links.push(await commitLink(root, recorded));
    links.push(...dataLinks(recorded));
  }
  links.push(await versionLink(recorded, manifest.dataVersion, cache));
  links.push(await paramsLink(root, recorded, manifest.paramsHash));
  if (manifest.init !== undefined) links.push(await initLink(root, manifest.init));
  links.push(await runLink(stateDir, bundle));
  return links;
}

async function commitLink(root: string, { commit }: Recorded): Promise<Link> {
  if (commit === null) return { link: "commit", state: "unproved", text: "this dvc.lock is not committed yet" };
  const about = (await git(root, "log", "-1", "--format=%h %cs %s", commit))?.trim() ?? commit;
  return { link: "commit", state: "proved", text: `recorded first by ${about}` };
}

function dataLinks(recorded: Recorded): Link[] {
  return followUpstream(recorded).map(({ stage, dep, md5, writer, written }): Link => {
    const what = `"${stage}" read ${dep} (${md5})`;
    if (writer === undefined) return { link: "input", state: "unproved", text: `${what}, which no stage wrote` };
    if (written === md5) return { link: "input", state: "proved", text: `${what}, as "${writer}" wrote it` };
    return { link: "input", state: "contradicted", text: `${what}, but "${writer}" wrote ${written}` };
  });
}

/** The data version is the SHA-256 of the manifest of the images, which lies in one of the folders that were read. */
async function versionLink(recorded: Recorded | undefined, dataVersion: string, cache: OutputCache): Promise<Link> {
  const text = `data version ${dataVersion}`;
  for (const { dep, md5 } of recorded ? followUpstream(recorded) : []) {
    const inside = md5.endsWith(".dir") ? hashInside(cache, md5, "manifest.jsonl") : undefined;
    const object = inside === undefined ? null : cache.object(inside);
    if (object === null) continue;
    const same = (await sha256File(object)) === dataVersion;
    const where = `manifest.jsonl of ${dep}`;
    return same
      ? { link: "data", state: "proved", text: `${text}: the SHA-256 of ${where}` }
      : { link: "data", state: "contradicted", text: `${text}, but ${where} has another SHA-256` };
  }
  return { link: "data", state: "unproved", text: `${text}: the cache does not have the images' manifest` };
}

async function paramsLink(root: string, recorded: Recorded | undefined, expected: string): Promise<Link> {
  const commit = recorded?.commit ?? null;
  const text = commit === null ? await readIfThere(join(root, paramsFile)) : await readAtCommit(root, commit, paramsFile);
  const where = commit === null ? "params.yaml of the workspace" : `params.yaml of ${commit.slice(0, 12)}`;
  const hash = `parameters ${expected}`;
  if (text === undefined) return { link: "parameters", state: "unproved", text: `${hash}: there is no ${where}` };
  let got: string;
  try {
    got = paramsHash(parseParams(text));
  } catch {
    return { link: "parameters", state: "unproved", text: `${hash}: ${where} is not valid for this version of Serval` };
  }
  if (got === expected) return { link: "parameters", state: "proved", text: `${hash}: the hash of ${where}` };
  return {
    link: "parameters",
    state: "unproved",
    text: `${hash}; ${where} has ${got}: --set or another version of Serval makes such a difference`,
  };
}

/** The model whose weights the training began with, if it is released here. */
async function initLink(root: string, digest: string): Promise<Link> {
  const text = `began with the weights of the bundle ${digest}`;
  for (const name of await releasedModels(root)) {
    const other = await loadBundle(join(root, releasedModelsDir, name)).catch(() => undefined);
    if (other?.digest === digest) return { link: "init", state: "proved", text: `${text}: ${releasedModelsDir}/${name}` };
  }
  return { link: "init", state: "unproved", text: `${text}, which is not one of the models in ${releasedModelsDir}/` };
}

async function runLink(stateDir: string, bundle: Bundle): Promise<Link> {
  const text = (await readIfThere(join(bundle.dir, provenanceFile))) ?? "{}";
  const { run, createdAt } = JSON.parse(text) as { run?: string; createdAt?: string };
  if (run === undefined || !isSafePath(run))
    return { link: "run", state: "unproved", text: `there is no ${provenanceFile} beside the model` };
  const about = `${run}${createdAt === undefined ? "" : `, ${createdAt}`}, by ${provenanceFile}, which no hash covers`;
  const folder = join(stateDir, "runs", run);
  const here = (await stat(folder).catch(() => undefined))?.isDirectory() === true;
  return {
    link: "run",
    state: "unproved",
    text: here ? `${about}; its folder is ${folder}` : `${about}; its folder is not on this machine`,
  };
}
