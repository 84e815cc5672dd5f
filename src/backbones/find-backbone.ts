import { readFile, realpath } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { isAbsent, listIfThere, sha256File, statIfThere } from "../files.ts";
import { backbonesDir } from "../paths.ts";
import { backboneFile, backboneNamePattern, corruptBackbone, onnxWeightsFile, readRecord } from "./backbone-record.ts";

/** What comes with Serval: in a clone it lies in the same folder as the backbones that were added there. */
const shippedNames: ReadonlySet<string> = new Set(["efficientnet-lite0"]);

export interface FoundBackbone {
  readonly name: string;
  readonly dir: string;
  /** Whether it came with Serval. */
  readonly shipped: boolean;
}

/** The backbones of the working folder `cwd`, then those that came with Serval; a name of the first hides one of the second. */
export async function listBackbones(cwd: string): Promise<FoundBackbone[]> {
  const found: FoundBackbone[] = [];
  for (const folder of await backbonePlaces(cwd)) {
    const names = await listIfThere(folder);
    for (const name of names.filter((one) => new RegExp(backboneNamePattern).test(one)).sort()) {
      if (await hasRecord(join(folder, name))) found.push(await describePlace(folder, name));
    }
  }
  return found;
}

/**
 * The folder of the backbone that a person means: a folder, an ONNX file that was added, or a name that is looked up in the working
 * folder and then beside the program. Throws E_BACKBONE_MISSING.
 */
export async function findBackbone(name: string, cwd: string): Promise<FoundBackbone> {
  if (/\.onnx$/i.test(name)) return await findByFile(name, cwd);
  if (name.startsWith("hf:")) {
    throw missing(
      `${name} is an address: a backbone is downloaded once, and then used by its name.`,
      `Run \`serval backbones add ${name}\` first.`,
    );
  }
  if (!new RegExp(backboneNamePattern).test(name)) {
    const dir = resolve(cwd, name);
    if (await hasRecord(dir)) return { name, dir, shipped: false };
    throw missing(`There is no backbone in ${dir}: it has no ${backboneFile}.`);
  }
  for (const folder of await backbonePlaces(cwd)) {
    if (await hasRecord(join(folder, name))) return await describePlace(folder, name);
  }
  throw missing(
    `There is no backbone "${name}": no ${backboneFile} in ${join(cwd, backbonesDir, name)}, and Serval ships none of that name.`,
  );
}

/** An ONNX file does not say how its pictures are prepared; the record that was made when it was added does. */
async function findByFile(file: string, cwd: string): Promise<FoundBackbone> {
  const path = resolve(cwd, file);
  if (!(await isThere(path))) throw missing(`${path} does not exist.`);
  const digest = await sha256File(path);
  for (const found of await listBackbones(cwd)) {
    const record = await readRecord(found.dir).catch(() => undefined);
    if (record?.files[onnxWeightsFile] === digest) return found;
  }
  throw missing(
    `${path} was not added: nothing says which pictures it takes.`,
    `Run \`serval backbones add ${file} --mean R,G,B --std R,G,B\` once (docs/backbones.md).`,
  );
}

/** The folders in which backbones lie: that of the working folder first. */
async function backbonePlaces(cwd: string): Promise<string[]> {
  const own = join(cwd, backbonesDir);
  const ownPath = await realPath(own);
  const shipped = shippedFolders();
  const paths = await Promise.all(shipped.map(realPath));
  return [own, ...shipped.filter((_, k) => paths[k] !== ownPath)];
}

async function describePlace(folder: string, name: string): Promise<FoundBackbone> {
  const paths = await Promise.all(shippedFolders().map(realPath));
  return { name, dir: join(folder, name), shipped: shippedNames.has(name) && paths.includes(await realPath(folder)) };
}

function shippedFolders(): string[] {
  return foldersAbove(import.meta.dirname).map((folder) => join(folder, backbonesDir));
}

async function realPath(path: string): Promise<string> {
  return await realpath(path).catch(() => resolve(path));
}

/** The program runs from its sources, from a package or from a bundle: `models` lies somewhere above it. */
function foldersAbove(folder: string): string[] {
  const above = dirname(folder);
  return above === folder ? [folder] : [folder, ...foldersAbove(above)];
}

async function hasRecord(dir: string): Promise<boolean> {
  return await readFile(join(dir, backboneFile)).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (isAbsent(error)) return false;
      throw corruptBackbone(join(dir, backboneFile), `cannot be read: ${error.message}`, error);
    },
  );
}

async function isThere(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}

function missing(message: string, hint?: string): ServalError {
  return new ServalError("E_BACKBONE_MISSING", message, hint === undefined ? {} : { hint });
}
