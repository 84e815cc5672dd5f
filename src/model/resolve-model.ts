import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { paramsFile, releasedModelsDir, trainedModelDir } from "../paths.ts";
import { manifestFile, modelFile, modelNamePattern } from "./manifest.ts";
import { exists, setAsideFolder } from "./replace-folder.ts";

export interface ResolvedModel {
  /** Absolute path of the bundle folder, for `loadBundle`. */
  readonly dir: string;
  /** Folder name under models/, where it is a released model. */
  readonly released: string | null;
}

/**
 * Finds the bundle that a person means by `name`: a bundle folder, the model.onnx inside one, or a released model's name.
 * Throws E_BUNDLE_MISSING, or E_MODEL_REGISTRY for a `models:/` address.
 */
export async function resolveModel(name: string, cwd: string): Promise<ResolvedModel> {
  if (name.startsWith("models:")) {
    throw new ServalError("E_MODEL_REGISTRY", `"${name}" is an address in a model registry, and none is set up.`);
  }
  const path = resolve(cwd, name);
  if (name.endsWith(".onnx") && (await isFile(path))) return found(await bundleAround(path), cwd);
  if (await isBundle(path)) return found(path, cwd);
  const releasedPath = join(cwd, releasedModelsDir, name);
  if (new RegExp(modelNamePattern).test(name) && (await isBundle(releasedPath))) return found(releasedPath, cwd);
  const released = await releasedModels(cwd);
  throw new ServalError(
    "E_BUNDLE_MISSING",
    `"${name}" is neither a model bundle (a folder with ${manifestFile}) nor a released model; released here: ${released.join(", ") || "none"}.`,
  );
}

/** Names of the bundles under models/, sorted. */
export async function releasedModels(cwd: string): Promise<string[]> {
  const dir = join(cwd, releasedModelsDir);
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  const names: string[] = [];
  for (const entry of entries) {
    if (!entry.name.startsWith(".") && (await isBundle(join(dir, entry.name)))) names.push(entry.name);
  }
  return names.sort();
}

/**
 * Finds the bundle that is meant where none is named: the released model; of several the one that is called `preferredName()`,
 * which is asked only then; else what was trained last. Throws E_BUNDLE_MISSING.
 */
export async function resolveDefaultModel(cwd: string, preferredName: () => Promise<string>): Promise<ResolvedModel> {
  const names = await releasedModels(cwd);
  const [only] = names;
  const preferred = names.length > 1 ? await preferredName() : only;
  if (preferred !== undefined && names.includes(preferred)) return found(join(cwd, releasedModelsDir, preferred), cwd);
  const trained = join(cwd, trainedModelDir);
  if (await isBundle(trained)) return found(trained, cwd);
  if (names.length > 1) {
    throw new ServalError(
      "E_BUNDLE_MISSING",
      `${names.length} models are released (${names.join(", ")}), model.name of ${paramsFile} is "${preferred}", and none was trained here.`,
      { hint: `Choose one: --model ${only}, or model.name in ${paramsFile}.` },
    );
  }
  throw new ServalError("E_BUNDLE_MISSING", `There is no model: neither a released one in ${releasedModelsDir}/ nor ${trainedModelDir}.`);
}

async function bundleAround(onnx: string): Promise<string> {
  const dir = dirname(onnx);
  if (basename(onnx) === modelFile && (await isBundle(dir))) return dir;
  throw new ServalError("E_BUNDLE_MISSING", `${onnx} has no ${manifestFile} beside it that describes it.`, {
    hint: `Name the ${modelFile} of a bundle folder; its ${manifestFile} has the labels and the preprocessing.`,
  });
}

function found(dir: string, cwd: string): ResolvedModel {
  const inside = relative(join(cwd, releasedModelsDir), dir);
  const isReleased = inside !== "" && inside === basename(dir) && inside !== "..";
  return { dir, released: isReleased ? inside : null };
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

/** Also true for a bundle whose replacement was cut short by a crash; `loadBundle` reads the old one then. */
async function isBundle(dir: string): Promise<boolean> {
  return (await exists(join(dir, manifestFile))) || (await exists(join(setAsideFolder(dir), manifestFile)));
}
