import { isBetterEpoch, type EpochFigures, type EpochSelection } from "../evaluate/best-epoch.ts";
import type { Metrics } from "../evaluate/metrics.ts";
import type { AverageTried, TrainOutcome } from "./train-job.ts";

type Weights = Readonly<Record<string, Float32Array>>;

/** From the model that the fine-tuning began with to the fine-tuned one. */
const shares: readonly number[] = [0, 0.25, 0.5, 0.75, 1];

export interface WeightAverageOptions {
  /** The model that the fine-tuning began with. Its tensors are those of `tuned`. */
  readonly start: Weights;
  readonly tuned: Weights;
  readonly select: EpochSelection | undefined;
  /** Measures weights on the validation split. */
  readonly validate: (weights: Weights) => Promise<Metrics>;
  /** Called after each average; it throws to stop. */
  readonly onTried: (tried: AverageTried) => void;
}

export interface WeightAverage {
  readonly weights: Weights;
  readonly averages: NonNullable<TrainOutcome["averages"]>;
}

/**
 * The average of two models that is best on the validation split; of equal ones that with less of the fine-tuned one. It keeps more of
 * what the pretrained network knew about pictures that are not like those of the training (WiSE-FT, Wortsman et al. 2022,
 * arXiv:2109.01903).
 */
export async function averageWeights({ start, tuned, select, validate, onTried }: WeightAverageOptions): Promise<WeightAverage> {
  const tried: AverageTried[] = [];
  let best: { readonly weights: Weights; readonly figures: EpochFigures; readonly chosen: AverageTried } | undefined;
  for (const share of shares) {
    const weights = mix(start, tuned, share);
    const { accuracy, loss, macroF1 } = await validate(weights);
    const chosen = { share, accuracy, loss };
    const figures = { epoch: 1, valAccuracy: accuracy, valLoss: loss, valF1: macroF1 };
    if (!best || isBetterEpoch(figures, best.figures, select)) best = { weights, figures, chosen };
    tried.push(chosen);
    onTried(chosen);
  }
  const { weights, chosen } = best as NonNullable<typeof best>;
  return { weights, averages: { chosen, tried } };
}

function mix(start: Weights, tuned: Weights, share: number): Weights {
  return Object.fromEntries(
    Object.entries(tuned).map(([name, data]) => {
      const from = start[name] as Float32Array;
      return [name, data.map((value, k) => (1 - share) * (from[k] as number) + share * value)];
    }),
  );
}
