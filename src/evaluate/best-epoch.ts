import { percent } from "../text.ts";

/** What may make an epoch the best one; see train.select. */
export const epochSelections = ["accuracy", "macroF1", "loss"] as const;
export type EpochSelection = (typeof epochSelections)[number];

/** Figures of an epoch on the validation split. */
export interface EpochFigures {
  /** From 1. */
  readonly epoch: number;
  readonly valAccuracy: number;
  readonly valLoss: number;
  /** Macro average. */
  readonly valF1: number;
}

/** By what epochs are ordered: first what was asked for, then what decides between equals. The higher one is better. */
const order: Readonly<Record<EpochSelection, (figures: EpochFigures) => readonly [number, number]>> = {
  accuracy: ({ valAccuracy, valLoss }) => [valAccuracy, -valLoss],
  macroF1: ({ valF1, valLoss }) => [valF1, -valLoss],
  loss: ({ valAccuracy, valLoss }) => [-valLoss, valAccuracy],
};

/** Whether an epoch is better than another; of equal ones neither is. */
export function isBetterEpoch(one: EpochFigures, other: EpochFigures, select: EpochSelection = "accuracy"): boolean {
  const [first, second] = order[select](one);
  const [otherFirst, otherSecond] = order[select](other);
  return first > otherFirst || (first === otherFirst && second > otherSecond);
}

/** The best epoch, the first one of equals; undefined where there is none. */
export function findBestEpoch<Epoch extends EpochFigures>(epochs: readonly Epoch[], select?: EpochSelection): Epoch | undefined {
  let best: Epoch | undefined;
  for (const epoch of epochs) if (best === undefined || isBetterEpoch(epoch, best, select)) best = epoch;
  return best;
}

/** The best epoch with the text that a chart shows about it. */
export function describeBestEpoch(
  epochs: readonly EpochFigures[],
  select: EpochSelection = "accuracy",
): { readonly epoch: number; readonly text: string } | undefined {
  const best = findBestEpoch(epochs, select);
  if (best === undefined) return undefined;
  const { epoch, valAccuracy, valF1, valLoss } = best;
  const figures = {
    accuracy: `best validation accuracy ${percent(valAccuracy, 2)}`,
    macroF1: `best validation F1 ${valF1.toFixed(4)}`,
    loss: `lowest validation loss ${valLoss.toFixed(4)}`,
  };
  return { epoch, text: `${figures[select]} in epoch ${epoch} of ${epochs.length} (dashed line)` };
}
