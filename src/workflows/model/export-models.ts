import { basename, join, relative } from "node:path";
import type { LoadedBackbone } from "../../backbones/load-backbone.ts";
import { paramsHash, type Params } from "../../config/params.ts";
import { drawCheckImages } from "../../data/check-images.ts";
import type { Shards } from "../../data/shards.ts";
import { findCautions, type Caution } from "../../evaluate/cautions.ts";
import type { Metrics } from "../../evaluate/metrics.ts";
import { exportBundle, type ExportInput } from "../../export/export.ts";
import { copyBundle, loadBundle, shortDigest } from "../../model/bundle.ts";
import { finalModelDir, trainedModelDir } from "../../paths.ts";
import { backboneClassifier } from "../../train/backbone-classifier.ts";
import type { InitialWeights, TrainOutcome } from "../../train/train-job.ts";
import { scratchNetwork } from "../../train/train-plan.ts";
import type { Strategy } from "./choose-strategy.ts";
import type { TrainingTracker } from "./track-training.ts";

/** A bundle that a training wrote, with its figures on the validation split. */
export interface ExportedModel {
  /** Relative to the working folder. */
  readonly dir: string;
  readonly version: string;
  readonly epoch: number;
  readonly accuracy: number;
  readonly loss: number;
}

export interface ExportedModels {
  readonly best: ExportedModel;
  readonly final: ExportedModel;
  /** Reasons not to trust the best one yet. */
  readonly cautions: readonly Caution[];
}

export interface TrainedWork {
  readonly cwd: string;
  readonly params: Params;
  readonly shards: Shards;
  readonly runDir: string;
  readonly strategy: Strategy;
  readonly backbone: LoadedBackbone | undefined;
  readonly init: InitialWeights | undefined;
  readonly outcome: TrainOutcome;
  /** Comes first on the model card. */
  readonly notice: string | undefined;
  readonly tracker: TrainingTracker | undefined;
}

/** Writes artifacts/best and artifacts/final. `confusion` is that of the best one on the validation split, [true][predicted]. */
export async function exportModels(work: TrainedWork): Promise<ExportedModels & Pick<Metrics, "confusion">> {
  const { cwd, strategy, outcome, tracker } = work;
  const shared = await sharedInput(work);
  let [cautions, confusion]: [readonly Caution[], Metrics["confusion"]] = [[], []];
  const write = async (role: "best" | "final", chosen: number): Promise<ExportedModel> => {
    const dir = join(cwd, role === "best" ? trainedModelDir : finalModelDir);
    const epoch = { chosen, trained: outcome.epochs };
    const provenance = { ...shared.provenance, epoch: chosen };
    const fineTunedShare = role === "best" ? outcome.averages?.chosen.share : undefined;
    const { bundle, metrics } = await exportBundle({ ...shared, dir, weights: outcome[role], fineTunedShare, epoch, provenance });
    if (role === "best") {
      cautions = findCautions({ split: "validation", metrics, epoch });
      confusion = metrics.confusion;
    }
    await tracker?.logModel(role, bundle.dir, chosen, metrics);
    return { dir: relative(cwd, dir), version: shortDigest(bundle), epoch: chosen, accuracy: metrics.accuracy, loss: metrics.loss };
  };
  const best = await write("best", outcome.bestEpoch);
  const final = strategy === "head" ? await copyBest(cwd, best) : await write("final", outcome.epochs);
  return { best, final, cautions, confusion };
}

/** What both bundles have in common. */
async function sharedInput(work: TrainedWork): Promise<Omit<ExportInput, "dir" | "weights" | "epoch">> {
  const { params, shards, runDir, strategy, backbone, init, outcome, notice } = work;
  const { train, model } = params;
  const { cropSize, threads, seed } = train;
  return {
    ...model,
    network:
      backbone && strategy !== "scratch" ? backboneClassifier(backbone, shards.labels.length, strategy) : scratchNetwork(train, shards),
    parameters: strategy === "head" ? { backbone: train.backbone, strategy, cropSize, seed } : { ...train, ...(backbone && { strategy }) },
    cropSize,
    threads,
    seed,
    init,
    shards,
    paramsHash: paramsHash(params),
    checkImages: await drawCheckImages(),
    ...(notice !== undefined && { notice }),
    provenance: {
      run: basename(runDir),
      createdAt: new Date().toISOString(),
      seconds: outcome.seconds,
      lowering: outcome.lowering,
      threads: outcome.threads,
      ...(init && { init: { name: init.name, digest: init.digest } }),
    },
  };
}

/** A classifier on a backbone has one optimum: the last model is the best one. */
async function copyBest(cwd: string, best: ExportedModel): Promise<ExportedModel> {
  await copyBundle(await loadBundle(join(cwd, best.dir)), join(cwd, finalModelDir));
  return { ...best, dir: finalModelDir };
}
