import { join } from "node:path";
import { loadBackbone, type LoadedBackbone } from "../../backbones/load-backbone.ts";
import type { Params } from "../../config/params.ts";
import { recipeOf, type ShardRecipe } from "../../data/shard-index.ts";
import type { Shards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { loadBundle } from "../../model/bundle.ts";
import { finalModelDir, runsFolder, shardsDir, trainedModelDir, trainingDir } from "../../paths.ts";
import { readInitialWeights } from "../../train/initial-weights.ts";
import type { InitialWeights } from "../../train/train-job.ts";
import { shardRecipe } from "../data/prepare-data.ts";
import { findModel, type FindOptions } from "../find-model.ts";
import type { Reporter } from "../reporter.ts";

/** The folders that a training writes. A range test asks for them as well: it tries what a training would do. */
export function trainingFolders(stateDir: string): readonly string[] {
  return [trainedModelDir, finalModelDir, trainingDir, join(stateDir, runsFolder)];
}

const initHint = "Name a bundle folder or a released model (`serval models list`) in train.init, or leave it empty.";

/** The backbone that train.backbone names, where it names one. */
export async function loadNamedBackbone({ train }: Params, cwd: string): Promise<LoadedBackbone | undefined> {
  return train.backbone === undefined || train.backbone === "none" ? undefined : await loadBackbone(train.backbone, cwd);
}

/** The bundle that train.init names, where it names one, checked against the network to train. */
export async function loadInitialWeights(
  { train }: Params,
  labels: readonly string[],
  options: FindOptions,
): Promise<InitialWeights | undefined> {
  if (train.init === "") return undefined;
  const { dir } = await findModel(train.init, options).catch((error: unknown) => {
    if (!(error instanceof ServalError)) throw error;
    throw new ServalError(error.code, `train.init: ${error.message}`, { cause: error, hint: initHint });
  });
  return await readInitialWeights(await loadBundle(dir), train, labels);
}

/** Says what of the parameters is not in the shards, because it was changed after they were made. */
export function warnOfOldShards(params: Params, shards: Shards, reporter: Reporter): void {
  const [wanted, made] = [recipeOf(shardRecipe(params)), recipeOf(shards)];
  const keys = (Object.keys(made) as (keyof ShardRecipe)[]).filter((key) => JSON.stringify(wanted[key]) !== JSON.stringify(made[key]));
  if (keys.length === 0) return;
  const said = keys.map((key) => `${key} ${JSON.stringify(made[key])}, not ${JSON.stringify(wanted[key])}`).join("; ");
  reporter.warn(`${shardsDir} was prepared with other parameters than are given now: ${said}. \`serval prepare\` updates it.`);
}
