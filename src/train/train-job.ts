import type { EpochSelection } from "../evaluate/best-epoch.ts";
import type { EpochResult } from "./results.ts";

/** How to train: the `train` section of params.yaml. */
export interface TrainConfig {
  readonly architecture: string;
  readonly channels: readonly number[];
  /** Residual blocks a stage, for networks that have stages. */
  readonly blocks: number;
  /** The model that the weights begin with, as the user names it; "" begins with random ones. What counts is `TrainJob.init`. */
  readonly init: string;
  /** First epochs in which only the head learns; without an initial model there are none. */
  readonly freezeEpochs: number;
  /** Side in pixels of the square cut from the centre of a prepared picture: what validation and the service see. */
  readonly cropSize: number;
  /** Sides in pixels of training pictures, each for an equal share of the epochs; one above cropSize counts as cropSize. */
  readonly sizes: readonly number[];
  readonly epochs: number;
  readonly batchSize: number;
  readonly optimizer: "sgd" | "adamw";
  readonly learningRate: number;
  readonly momentum: number;
  readonly weightDecay: number;
  readonly labelSmoothing: number;
  readonly warmupEpochs: number;
  readonly dropout: number;
  readonly flip: boolean;
  /** Smallest share of a picture's area that a random crop keeps; at 1 only its shape is random. */
  readonly cropScale: number;
  /** Largest change of brightness, contrast and saturation, as a share. */
  readonly colorJitter: number;
  /** Probability that a picture is out of focus. */
  readonly blur: number;
  /** Probability that a picture is noisy. */
  readonly noise: number;
  /** Probability that a rectangle is blotted out. */
  readonly erasing: number;
  /** Alpha of mixup and of cutmix; 0 is off. */
  readonly mixup: number;
  readonly cutmix: number;
  /** Share of the batches that mixup or cutmix, whichever is drawn, works on. */
  readonly mixProbability: number;
  /** Decay a step of the moving average of the weights that is validated and exported; 0 takes the weights themselves. */
  readonly emaDecay: number;
  /** What makes an epoch the best one. Default: accuracy. */
  readonly select?: EpochSelection;
  /** Epochs without a better validation result before training stops; 0 never stops. */
  readonly patience: number;
  readonly seed: number;
  /** 0 uses all cores. */
  readonly threads: number;
  readonly lowering: "auto" | "blocked" | "portable";
}

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

/** One training, as plain data, so that it can be handed to a thread. */
export interface TrainJob {
  readonly config: TrainConfig;
  /** Default: random weights. */
  readonly init?: InitialWeights | undefined;
  /** Folder of the prepared shards. */
  readonly shardsDir: string;
  /** Folder of this run: results.csv and checkpoints/. */
  readonly runDir: string;
  /** Goes on from the run's latest checkpoint instead of beginning. */
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
  | { readonly type: "note"; readonly text: string };

/** What a finished training leaves for the export: weights in memory, facts for the provenance. */
export interface TrainOutcome {
  /** Parameters and statistics by name. */
  readonly best: Readonly<Record<string, Float32Array>>;
  readonly final: Readonly<Record<string, Float32Array>>;
  readonly bestEpoch: number;
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
