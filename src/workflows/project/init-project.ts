import { mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { parseParams } from "../../config/params.ts";
import { renderParams } from "../../config/params-template.ts";
import { paramsFile, quarantineDir, rawDir, shardsDir } from "../../paths.ts";
import { renderDvcFiles } from "../../pipeline/dvc-files/initial-files.ts";

/** Where images are put where there are none yet. */
export const defaultImages = "images";
const imageName = /\.(jpe?g|png|webp|gif)$/i;

/** A pretrained backbone, and pictures of the size that it was trained with. */
const smallSetParams: Readonly<Record<string, unknown>> = {
  "prepare.width": 224,
  "prepare.height": 224,
  "train.backbone": "efficientnet-lite0",
  "train.strategy": "head",
  "train.cropSize": 224,
  "model.precision": "float16",
};

/** What only networks from scratch and the details of fine-tuning need is left out: thirty settings that mostly change nothing would only confuse. */
const trainParams = ["backbone", "strategy", "cropSize", "seed", "threads"];

function isForSmallSets(path: string): boolean {
  return !path.startsWith("train.") || trainParams.includes(path.slice("train.".length));
}

const paramsIntroduction = `# The settings of this project. docs/configuration.md of Serval lists all of them, also those that are not here because
# they only matter for fine-tuning or without a backbone.
`;

export interface InitOptions {
  /** The working folder that is set up; made when missing. */
  readonly dir: string;
  /** Where the labelled images lie: a path (relative to `dir`), a URL, `preset:NAME` or `sample`. */
  readonly images?: string | undefined;
  readonly name?: string | undefined;
}

export interface InitResult {
  readonly created: readonly string[];
  /** Files that were there before and are as they were. */
  readonly kept: readonly string[];
  /** The value of data.source. */
  readonly source: string;
  /** Whether `dir` holds labelled images already, at that place. */
  readonly found: boolean;
}

/**
 * Sets up a working folder for one's own images: a commented params.yaml, a .gitignore, and what DVC needs. A file that
 * exists is left alone. Throws E_PARAMS for a name that no model may have.
 */
export async function initProject(options: InitOptions): Promise<InitResult> {
  const { source, found } = await chooseSource(options);
  const name = options.name ?? modelName(options.dir);
  const params = `${paramsIntroduction}\n${renderParams({ ...smallSetParams, "data.source": source, "model.name": name }, isForSmallSets)}`;
  parseParams(params);
  await mkdir(options.dir, { recursive: true });
  const files = {
    [paramsFile]: params,
    ".gitignore": ignored,
    ...renderDvcFiles({ command: "npx serval", sourcePath: localSource(source) }),
  };
  const created: string[] = [];
  const kept: string[] = [];
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(options.dir, file)), { recursive: true });
    try {
      // "wx" fails where the file exists, so nothing can be lost between a look and a write.
      await writeFile(join(options.dir, file), text, { flag: "wx" });
      created.push(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      kept.push(file);
    }
  }
  return { created, kept, source, found };
}

/** The path in a data.source, relative to the working folder; undefined where it names nothing on this disk. */
export function localSource(source: string): string | undefined {
  return isRemote(source) ? undefined : source;
}

/** Whether a source is not a path on this disk. */
export function isRemote(source: string): boolean {
  return source === "sample" || /^(preset:|https?:\/\/)/.test(source);
}

async function chooseSource({ dir, images }: InitOptions): Promise<Pick<InitResult, "source" | "found">> {
  if (images !== undefined) {
    const source = isRemote(images) ? images : relative(dir, resolve(dir, images)).replaceAll("\\", "/") || ".";
    return { source, found: false };
  }
  const [one, ...others] = await findImageFolders(dir);
  return one !== undefined && others.length === 0 ? { source: one, found: true } : { source: defaultImages, found: false };
}

/** The folders directly in `dir` that hold at least two folders with an image in each. */
async function findImageFolders(dir: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await foldersIn(dir)) {
    let classes = 0;
    for (const label of await foldersIn(join(dir, name))) {
      if ((await readdir(join(dir, name, label))).some((file) => imageName.test(file))) classes++;
    }
    if (classes >= 2) found.push(name);
  }
  return found;
}

async function foldersIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && entry.name !== "node_modules")
    .map(({ name }) => name);
}

function modelName(dir: string): string {
  const name = basename(resolve(dir))
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/^[^a-z0-9]+|-$/g, "")
    .slice(0, 63);
  return name === "" ? "classifier" : name;
}

const ignored = `node_modules/

# State of Serval: runs, checkpoints, caches, logs.
.serval/

# Images and what is made of them; under version control as hashes in dvc.lock.
/${rawDir}
/${shardsDir}
/${quarantineDir}
/artifacts
`;
