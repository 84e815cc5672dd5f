import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { loadBackbone, type LoadedBackbone } from "../../backbones/load-backbone.ts";
import { stateDirectory } from "../../config/env.ts";
import type { Params } from "../../config/params.ts";
import { groupNearDuplicates } from "../../data/duplicates.ts";
import { readManifest, type ManifestRow } from "../../data/manifest.ts";
import { openShards, type Shards } from "../../data/shards.ts";
import { splitNames, type Split } from "../../data/split.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { rawDir, shardsDir } from "../../paths.ts";
import type { HeldOutAnswers } from "../../quality/wrong-labels.ts";
import { onnxruntime } from "../../runtime/onnxruntime.ts";
import { loadHeadFeatures } from "../../train/head/cached-features.ts";
import { crossValidate, dealFolds } from "../../train/head/cross-validation.ts";
import { measureScale, selectRows, standardize, type Features } from "../../train/head/features.ts";
import { checkHeadJob } from "../../train/head/train-head.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "../reporter.ts";

export interface CheckedSetOptions extends UseCaseOptions {
  readonly params: Params;
  /** Keeps features between runs. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
}

/** A picture of the shards, with what the manifest says about it. */
export interface CheckedPicture {
  readonly split: Split;
  /** In its split. */
  readonly index: number;
  readonly row: ManifestRow;
}

/** Pictures of all splits whose labels can be checked. */
export interface CheckedSet {
  /** To be closed after use. */
  readonly shards: Shards;
  readonly pictures: readonly CheckedPicture[];
  /** Of the backbone, scaled; a row a picture. */
  readonly features: Features;
  /** Index into the labels of the shards, by picture. */
  readonly labels: readonly number[];
  /** For each picture the number of the first one of its near duplicates. */
  readonly groups: Uint32Array;
  /** Classes that were left out, because they have too few different pictures. */
  readonly unchecked: readonly string[];
  readonly threads: number;
}

/** Without a backbone in the parameters. */
const usualBackbone = "efficientnet-lite0";
/** A class with fewer groups of different pictures cannot be held out five times. */
const fewestGroups = 5;
const foldSeed = 0;

/** Reads the prepared pictures, and computes their features where they are not cached. Throws E_SHARDS_MISSING, E_PARAMS, E_TOO_FEW_IMAGES. */
export async function loadCheckedSet(options: CheckedSetOptions): Promise<CheckedSet> {
  const { cwd, params, stateDir = stateDirectory() } = options;
  const shards = await openShards(join(cwd, shardsDir));
  try {
    const pictures = await readPictures(cwd, shards);
    const { backbone, side } = await findBackbone(params, cwd, shards);
    const threads = params.train.threads > 0 ? params.train.threads : availableParallelism();
    const cacheDir = resolve(cwd, stateDir, "features");
    const features = await loadAllFeatures({ backbone, shards, side, threads, cacheDir }, options);
    return { shards, ...selectCheckable(shards, pictures, features), threads };
  } catch (error) {
    shards.close();
    throw error;
  }
}

/** What classifiers that did not see a picture answer, and the share of labels that they agree with. Near duplicates are held out together. */
export async function answerHeldOut(
  { shards, features, labels, groups, threads }: CheckedSet,
  { reporter = silentReporter, signal }: Omit<UseCaseOptions, "cwd"> = {},
): Promise<{ answers: HeldOutAnswers; agreement: number }> {
  const classes = shards.labels.length;
  const folds = dealFolds({ truth: labels, classes, seed: foldSeed, groups });
  const progress = reporter.progress("Checking labels", 100);
  const onProgress = (share: number, note: string): void => {
    stopIfAborted(signal);
    progress.update(Math.round(100 * share), note);
  };
  try {
    const { best, heldOut } = await crossValidate({ engine: onnxruntime, features, truth: labels, classes, threads, onProgress }, folds);
    return { answers: { labels, classes, probabilities: heldOut }, agreement: best.accuracy };
  } finally {
    progress.end();
  }
}

/** The pictures of the shards; E_SHARDS_MISSING where they are of another version of the data. */
export async function readPictures(cwd: string, shards: Shards): Promise<CheckedPicture[]> {
  const { rows, dataVersion } = await readManifest(join(cwd, rawDir));
  if (dataVersion !== shards.dataVersion) {
    throw new ServalError("E_SHARDS_MISSING", `${shardsDir} was made from another version of the data than ${rawDir} has now.`, {
      hint: "Run `serval prepare`, then this command again.",
    });
  }
  const bySha = new Map(rows.map((row) => [row.sha256, row]));
  return splitNames.flatMap((split) =>
    shards.splits[split].sha256.map((sha256, index) => ({ split, index, row: bySha.get(sha256) as ManifestRow })),
  );
}

async function findBackbone(params: Params, cwd: string, shards: Shards): Promise<{ backbone: LoadedBackbone; side: number }> {
  const named = params.train.backbone === "none" ? undefined : params.train.backbone;
  const backbone = await loadBackbone(named ?? usualBackbone, cwd);
  const { sizeMultiple } = backbone.network;
  const largest = Math.floor(Math.min(shards.width, shards.height) / sizeMultiple) * sizeMultiple;
  const side = named === undefined ? Math.max(sizeMultiple, largest) : params.train.cropSize;
  checkHeadJob({ config: { cropSize: side, seed: foldSeed, threads: 0 }, backbone, shards });
  return { backbone, side };
}

interface FeatureSource {
  readonly backbone: LoadedBackbone;
  readonly shards: Shards;
  readonly side: number;
  readonly threads: number;
  readonly cacheDir: string;
}

/** Of all splits, one after the other, scaled. */
async function loadAllFeatures(
  source: FeatureSource,
  { reporter = silentReporter, signal }: Omit<UseCaseOptions, "cwd">,
): Promise<Features> {
  const parts: Features[] = [];
  for (const split of splitNames.filter((one) => source.shards.splits[one].count > 0)) {
    let progress: Progress | undefined;
    const onProgress = (rows: number, count: number): void => {
      stopIfAborted(signal);
      progress ??= reporter.progress(`Features (${split})`, count, "images");
      progress.update(rows);
    };
    try {
      parts.push(await loadHeadFeatures({ engine: onnxruntime, ...source, split, onProgress }));
    } finally {
      progress?.end();
    }
  }
  const width = source.backbone.network.channels;
  const values = new Float32Array(parts.reduce((sum, part) => sum + part.values.length, 0));
  let at = 0;
  for (const part of parts) {
    values.set(part.values, at);
    at += part.values.length;
  }
  const features = { rows: values.length / width, width, values };
  return standardize(features, measureScale(features));
}

/** Leaves out classes of which there are too few different pictures. */
function selectCheckable(
  { labels }: Shards,
  pictures: readonly CheckedPicture[],
  features: Features,
): Omit<CheckedSet, "shards" | "threads"> {
  const roots = groupNearDuplicates(pictures.map(({ row }) => row.dhash));
  const firsts = pictures.filter((_, k) => roots[k] === k);
  const unchecked = labels.filter((label) => firsts.filter(({ row }) => row.label === label).length < fewestGroups);
  if (labels.length - unchecked.length < 2) {
    throw new ServalError(
      "E_TOO_FEW_IMAGES",
      `To check labels, at least 2 classes need ${fewestGroups} different pictures each; these have fewer: ${unchecked.join(", ")}.`,
    );
  }
  const order = pictures.flatMap(({ row }, k) => (unchecked.includes(row.label) ? [] : [k]));
  const checked = order.map((k) => pictures[k]!);
  const numbers = new Map(labels.map((label, k) => [label, k]));
  return {
    pictures: checked,
    features: unchecked.length === 0 ? features : selectRows(features, order),
    labels: checked.map(({ row }) => numbers.get(row.label) as number),
    groups: groupNearDuplicates(checked.map(({ row }) => row.dhash)),
    unchecked,
  };
}

function stopIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new ServalError("E_INTERRUPTED", "Stopped. The features computed so far are kept: the same command continues from there.");
}
