import { copyFile, mkdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { readBytesIfThere, sha256, sha256File, writeFileAtomic } from "../files.ts";
import { readLink } from "../safe-path.ts";
import {
  cardFile,
  encodeManifest,
  formatVersionOf,
  manifestFile,
  modelFile,
  parseManifest,
  provenanceFile,
  unsealedFiles,
  validationFile,
  type BundleManifest,
} from "./manifest.ts";
import { exists, replaceFolder, setAsideFolder } from "./replace-folder.ts";

export { modelFile, weightsFile, type BundleCheck, type BundleManifest } from "./manifest.ts";

/**
 * The contract between training and service: a folder with model.onnx, bundle.json (all that the service needs to know),
 * weights.safetensors, checks/ and, outside the digest, README.md (the model card), provenance.json and validation.jsonl.
 */
export interface Bundle {
  readonly dir: string;
  readonly manifest: BundleManifest;
  /** SHA-256 of the bytes of bundle.json, which holds the SHA-256 of everything else. */
  readonly digest: string;
  /** The bytes of model.onnx. */
  readonly model: Uint8Array;
}

export interface BundleContent {
  readonly manifest: Omit<BundleManifest, "files" | "formatVersion">;
  /** Path inside the bundle -> content: model.onnx, weights.safetensors, checks/… */
  readonly files: Readonly<Record<string, Uint8Array | string>>;
  /** README.md. */
  readonly card: string;
  /** When, where and from which run and commit. */
  readonly provenance: Readonly<Record<string, unknown>>;
  /** validation.jsonl: a line for each validation picture. */
  readonly validation?: string;
}

/** What a bundle is called where no registry gave it a version: the start of its digest. */
export function shortDigest(bundle: Pick<Bundle, "digest">): string {
  return bundle.digest.slice(0, 12);
}

/** Writes a bundle and replaces whatever was at `dir` as a whole. Equal content gives an equal digest. */
export async function writeBundle(dir: string, content: BundleContent): Promise<Bundle> {
  const files = Object.fromEntries(Object.entries(content.files).map(([path, data]) => [path, sha256(data)]));
  const text = encodeManifest({ ...content.manifest, formatVersion: formatVersionOf(content.manifest), files });
  // What could not be loaded again is not written.
  const manifest = parseManifest(text, join(dir, manifestFile));
  await replaceFolder(dir, async (temporary) => {
    for (const [path, data] of Object.entries(content.files)) await writeFileAtomic(join(temporary, path), data);
    await writeFileAtomic(join(temporary, cardFile), content.card);
    await writeFileAtomic(join(temporary, provenanceFile), `${JSON.stringify(content.provenance, null, 2)}\n`);
    if (content.validation !== undefined) await writeFileAtomic(join(temporary, validationFile), content.validation);
    await writeFileAtomic(join(temporary, manifestFile), text);
  });
  const model = content.files[modelFile];
  return { dir, manifest, digest: sha256(text), model: typeof model === "string" ? Buffer.from(model) : (model ?? new Uint8Array()) };
}

/** The paths of everything in a bundle's folder that belongs to it. */
export async function bundlePaths({ dir, manifest }: Pick<Bundle, "dir" | "manifest">): Promise<string[]> {
  const paths = [...Object.keys(manifest.files), manifestFile];
  // An older bundle has its card among the files.
  for (const path of unsealedFiles) if (!paths.includes(path) && (await exists(join(dir, path)))) paths.push(path);
  return paths;
}

/** An object in a DVC cache: with `cache.type = symlink` the files of artifacts/ are links to such. */
const cacheObject = /[\\/]files[\\/]md5[\\/][0-9a-f]{2}[\\/][0-9a-f]{30}$/;

/** A bundle is read, sent and copied file by file: a link in it could put any file of this machine in the place of one. */
async function refuseLink(dir: string, path: string): Promise<void> {
  const names = path.split("/");
  for (let depth = 1; depth <= names.length; depth++) {
    const file = join(dir, ...names.slice(0, depth));
    const link = await readLink(file);
    if (link === undefined || (depth === names.length && link.isFile && cacheObject.test(link.target))) continue;
    throw corrupt(file, `is a link to "${link.target}": expected a ${depth === names.length ? "file" : "folder"} of the bundle itself`);
  }
}

/**
 * Copies a bundle, byte for byte, to `target`, and replaces whatever was there as a whole. `card` takes the place of its card.
 * What it said about single validation pictures is not copied: a copy travels further than they should.
 */
export async function copyBundle(bundle: Bundle, target: string, card?: string): Promise<Bundle> {
  await replaceFolder(target, async (temporary) => {
    for (const path of await bundlePaths(bundle)) {
      if (path === validationFile) continue;
      await mkdir(dirname(join(temporary, path)), { recursive: true });
      await copyFile(join(bundle.dir, path), join(temporary, path));
    }
    if (card !== undefined) await writeFileAtomic(join(temporary, cardFile), card);
    const copy = await readBundle(temporary);
    if (copy.digest !== bundle.digest) {
      throw new ServalError("E_BUNDLE_CORRUPT", `${bundle.dir} changed while it was copied; the copy was thrown away.`);
    }
  });
  return { ...bundle, dir: target };
}

/**
 * Loads a bundle from its folder or the model.onnx inside it, and checks the SHA-256 of every file. Throws
 * E_BUNDLE_MISSING, or E_BUNDLE_CORRUPT with the name of the file that is not what it should be, or is a link.
 */
export async function loadBundle(path: string): Promise<Bundle> {
  const dir = basename(path) === modelFile ? dirname(path) : path;
  for (let attempt = 1; ; attempt++) {
    const before = await manifestDigest(dir);
    try {
      // A crash between the two renames of a replacement leaves the old bundle set aside.
      const aside = setAsideFolder(dir);
      return await readBundle(before === undefined && (await exists(join(aside, manifestFile))) ? aside : dir);
    } catch (error) {
      // Replaced under our hands: some files were the old ones, some the new. The next reading sees the new bundle.
      if (attempt < 5 && before !== (await manifestDigest(dir))) continue;
      throw error;
    }
  }
}

async function manifestDigest(dir: string): Promise<string | undefined> {
  return await sha256File(join(dir, manifestFile)).catch(() => undefined);
}

async function readBundle(dir: string): Promise<Bundle> {
  const path = join(dir, manifestFile);
  for (const name of [manifestFile, ...unsealedFiles]) await refuseLink(dir, name);
  const bytes = await readBytesIfThere(path).catch((error: unknown) => {
    throw corrupt(path, `cannot be read: ${(error as Error).message}`, error);
  });
  if (bytes === undefined) throw new ServalError("E_BUNDLE_MISSING", `${path} is not there: ${dir} is not a model bundle.`);
  const manifest = parseManifest(bytes.toString("utf8"), path);
  let model: Uint8Array = new Uint8Array();
  for (const [name, expected] of Object.entries(manifest.files)) {
    const file = join(dir, name);
    await refuseLink(dir, name);
    try {
      if (name === modelFile) model = await readFile(file);
      const got = name === modelFile ? sha256(model) : await sha256File(file);
      if (got === expected) continue;
    } catch (error) {
      throw corrupt(file, `cannot be read: ${(error as Error).message}`, error);
    }
    throw corrupt(file, `(${(await stat(file)).size} bytes) does not have the SHA-256 that ${manifestFile} gives, ${expected}`);
  }
  return { dir, manifest, digest: sha256(bytes), model };
}

function corrupt(file: string, what: string, cause?: unknown): ServalError {
  return new ServalError("E_BUNDLE_CORRUPT", `${file} ${what}.`, { cause, details: { file } });
}
