import type { Params } from "../config/params-schema.ts";
import type { FeatureNetwork } from "../nn/architectures/architecture.ts";
import type { EpochResult } from "./results.ts";

/** How to train a network: the `train` section of params.yaml, without what a backbone is. What its values mean is in the schema. */
export type TrainConfig = Omit<Params["train"], "backbone" | "strategy">;

/** Weights of another model that a training begins with. */
export interface InitialWeights {
  readonly name: string;
  /** Digest of the bundle that they come from. */
  readonly digest: string;
  /** Parameters and statistics of the backbone by name, and of the head where it is kept. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  /** True where both models have the same labels. */
  readonly keepsHead: boolean;
}

/** One of `BACKBONES` by its name, with the colours that its weights were trained with. */
export type TunedBackbone = Pick<FeatureNetwork, "name" | "mean" | "std">;

/** An average of the weights that a fine-tuning began with and those that it ended with, on the validation split. */
export interface AverageTried {
  /** Of the fine-tuned weights: 0 is the model that it began with, 1 the fine-tuned one. */
  readonly share: number;
  readonly accuracy: number;
  readonly loss: number;
}

/** One training, as plain data, so that it can be handed to a thread. */
export interface TrainJob {
  readonly config: TrainConfig;
  /** Default: random weights. */
  readonly init?: InitialWeights | undefined;
  /**
   * The pretrained network that is fine-tuned, in place of `config.architecture`. `init` has its weights then, and those of a
   * classifier on its features.
   */
  readonly backbone?: TunedBackbone | undefined;
  /** Folder of the prepared shards. */
  readonly shardsDir: string;
  /** Folder of this run: results.csv and checkpoints/. */
  readonly runDir: string;
  /** Continues from the run's latest checkpoint instead of starting a new run. */
  readonly resume: boolean;
  readonly checkpointEverySeconds: number;
  /** Also after this many steps; 0 leaves it to the clock. */
  readonly checkpointEverySteps: number;
}

export type TrainEvent =
  | {
      readonly type: "start";
      readonly steps: number;
      readonly stepsDone: number;
      readonly epochs: number;
      readonly lowering: string;
      readonly threads: number;
      readonly parameters: number;
    }
  | {
      readonly type: "step";
      /** Steps done of the whole training. */
      readonly stepsDone: number;
      /** From 1. */
      readonly epoch: number;
      /** Means over this epoch so far. */
      readonly loss: number;
      readonly accuracy: number;
      /** Since this session began. */
      readonly imagesPerSecond: number;
      /** Of this step alone. */
      readonly stepLoss: number;
      readonly stepImagesPerSecond: number;
    }
  | { readonly type: "epoch"; readonly result: EpochResult; readonly best: boolean }
  | { readonly type: "average"; readonly tried: AverageTried }
  | { readonly type: "note"; readonly text: string };

/** What a finished training leaves for the export: weights in memory, facts for the provenance. */
export interface TrainOutcome {
  /** Parameters and statistics by name. */
  readonly best: Readonly<Record<string, Float32Array>>;
  readonly final: Readonly<Record<string, Float32Array>>;
  readonly bestEpoch: number;
  /** With a fine-tuned backbone: what share of the best weights is fine-tuned, and what was tried. */
  readonly averages?: { readonly chosen: AverageTried; readonly tried: readonly AverageTried[] } | undefined;
  readonly epochs: number;
  readonly seconds: number;
  readonly imagesPerSecond: number;
  /** Time of the steps of this session, in seconds: without validation, checkpoints and export. */
  readonly stepSeconds: number;
  /** Time spent assembling batches over the time of all steps. */
  readonly waitShare: number;
  readonly lowering: "portable" | "blocked";
  readonly blockSize: number;
  readonly threads: number;
}
