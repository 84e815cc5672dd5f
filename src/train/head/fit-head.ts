import { ServalError } from "../../errors/serval-error.ts";
import type { Engine } from "../../runtime/engine.ts";
import { crossValidate, dealFolds, type PenaltyTried } from "./cross-validation.ts";
import { measureScale, standardize, type Features, type Scale } from "./features.ts";
import { LogisticRegression, type LinearClassifier } from "./logistic-regression.ts";

/** Where no class has two rows, nothing can be held out. */
const penaltyUnseen = 0.03;

export interface FittedHead {
  /** [classes, width], of features as the backbone makes them. */
  readonly weight: Float32Array;
  /** [classes] */
  readonly bias: Float32Array;
  readonly penalty: number;
  /** Empty where nothing could be held out. */
  readonly tried: readonly PenaltyTried[];
  readonly trainLoss: number;
  readonly iterations: number;
}

export interface FitHeadInput {
  readonly engine: Engine;
  readonly features: Features;
  /** The class of each row. */
  readonly truth: ArrayLike<number>;
  readonly classes: number;
  readonly seed: number;
  readonly threads: number;
  /** Called between fits with the share that is done; it throws to stop. */
  readonly onProgress: (share: number, note: string) => void;
}

/**
 * A regularised linear classifier on features. The penalty is the one with the lowest loss in a cross-validation over the rows, stratified
 * by class. Features are scaled to a standard deviation of 1 for the search, and the scale is folded into the weights afterwards.
 */
export async function fitHead(input: FitHeadInput): Promise<FittedHead> {
  const { engine, features, truth, classes, seed, threads, onProgress } = input;
  if (features.rows === 0) throw new ServalError("E_TOO_FEW_IMAGES", "There are no training pictures to fit a classifier on.");
  const scale = measureScale(features);
  const scaled = standardize(features, scale);
  const folds = dealFolds({ truth, classes, seed });
  const search = { ...input, features: scaled, onProgress: (share: number, note: string) => onProgress(0.9 * share, note) };
  const found = folds.length < 2 ? undefined : await crossValidate(search, folds);
  const penalty = found?.best.penalty ?? penaltyUnseen;
  onProgress(0.95, `penalty ${penalty}`);
  const regression = await LogisticRegression.open(engine, scaled, truth, classes, threads);
  try {
    const fitted = await regression.fit(penalty);
    return { ...unscale(fitted, scale), penalty, tried: found?.tried ?? [], trainLoss: fitted.loss, iterations: fitted.iterations };
  } finally {
    await regression.close();
  }
}

/** The same classifier for features that are not scaled. */
function unscale({ weight, bias }: LinearClassifier, { mean, deviation }: Scale): { weight: Float32Array; bias: Float32Array } {
  const width = mean.length;
  const plain = Float32Array.from(weight, (value, k) => value / (deviation[k % width] as number));
  const shifted = Float32Array.from(bias, (value, c) => {
    let sum = value;
    for (let k = 0; k < width; k++) sum -= (plain[c * width + k] as number) * (mean[k] as number);
    return sum;
  });
  return { weight: plain, bias: shifted };
}
