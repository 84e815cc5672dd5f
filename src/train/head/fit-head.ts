import { ServalError } from "../../errors/serval-error.ts";
import type { Engine } from "../../runtime/engine.ts";
import { smallestProbability } from "../../evaluate/metrics.ts";
import { Random } from "../../random.ts";
import { softenedProbabilities } from "../../evaluate/temperature.ts";
import { measureScale, selectRows, standardize, type Features, type Scale } from "./features.ts";
import { classify, LogisticRegression, type LinearClassifier } from "./logistic-regression.ts";

/** Stream of the seed that deals the rows to the folds. */
const foldStream = 2;
/** Strong to weak, a factor of about three apart: each fit begins where the one before it ended. */
const penalties: readonly number[] = [3, 1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003];
/** Where no class has two rows, nothing can be held out. */
const penaltyUnseen = 0.03;
const mostFolds = 5;
/** With more rows than this three folds say as much, in half the time. */
const manyRows = 4000;
/** Weaker penalties are left out once the loss has risen so often in a row. */
const risesToStop = 2;

export interface PenaltyTried {
  readonly penalty: number;
  /** Mean negative log-likelihood of the rows that were held out. */
  readonly loss: number;
  readonly accuracy: number;
}

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
  const folds = dealFolds(truth, classes, seed);
  const tried = folds.length < 2 ? [] : await tryPenalties({ ...input, features: scaled }, folds);
  const best = tried.reduce<PenaltyTried | undefined>((low, one) => (low && low.loss <= one.loss ? low : one), undefined);
  const penalty = best?.penalty ?? penaltyUnseen;
  onProgress(0.95, `penalty ${penalty}`);
  const regression = await LogisticRegression.open(engine, scaled, truth, classes, threads);
  try {
    const fitted = await regression.fit(penalty);
    return { ...unscale(fitted, scale), penalty, tried, trainLoss: fitted.loss, iterations: fitted.iterations };
  } finally {
    await regression.close();
  }
}

/** Rows of each fold: every class is spread over all of them. Fewer than two folds where a class has a single row. */
function dealFolds(truth: ArrayLike<number>, classes: number, seed: number): number[][] {
  const rows = Array.from(new Random(seed, foldStream).permutation(truth.length));
  const byClass = Array.from({ length: classes }, (_, label) => rows.filter((row) => truth[row] === label));
  const smallest = Math.min(...byClass.filter((list) => list.length > 0).map((list) => list.length));
  const count = Math.min(truth.length > manyRows ? 3 : mostFolds, smallest);
  if (count < 2) return [];
  const folds: number[][] = Array.from({ length: count }, () => []);
  // Each class begins at the fold where the last one ended, so that the folds are equally large.
  byClass.flat().forEach((row, k) => folds[k % count]?.push(row));
  return folds.map((fold) => fold.sort((a, b) => a - b));
}

async function tryPenalties(input: FitHeadInput, folds: readonly (readonly number[])[]): Promise<PenaltyTried[]> {
  const { engine, features, truth, classes, threads, onProgress } = input;
  const searches = await Promise.all(
    folds.map(async (held, index) => {
      const kept = folds.flatMap((fold, k) => (k === index ? [] : fold)).sort((a, b) => a - b);
      const labels = kept.map((row) => truth[row] as number);
      const regression = await LogisticRegression.open(engine, selectRows(features, kept), labels, classes, threads);
      return {
        regression,
        held: selectRows(features, held),
        truth: held.map((row) => truth[row] as number),
        last: undefined as LinearClassifier | undefined,
      };
    }),
  );
  const tried: PenaltyTried[] = [];
  let rises = 0;
  try {
    for (const [p, penalty] of penalties.entries()) {
      let [loss, correct] = [0, 0];
      for (const [f, search] of searches.entries()) {
        onProgress((0.9 * (p + f / searches.length)) / penalties.length, `penalty ${penalty}`);
        search.last = await search.regression.fit(penalty, search.last);
        const part = measure(classify(search.held, search.last), search.truth, classes);
        loss += part.loss / features.rows;
        correct += part.correct;
      }
      rises = loss > (tried.at(-1)?.loss ?? Infinity) ? rises + 1 : 0;
      tried.push({ penalty, loss, accuracy: correct / features.rows });
      if (rises === risesToStop) break;
    }
    return tried;
  } finally {
    for (const { regression } of searches) await regression.close();
  }
}

/** Sum of the negative log-likelihoods, and how many rows are correct. */
function measure(logits: Float32Array, truth: readonly number[], classes: number): { loss: number; correct: number } {
  const probabilities = softenedProbabilities(logits, classes, 1);
  let [loss, correct] = [0, 0];
  for (const [row, label] of truth.entries()) {
    const own = probabilities[row * classes + label] as number;
    loss -= Math.log(Math.max(smallestProbability, own));
    const others = probabilities.subarray(row * classes, (row + 1) * classes);
    if (others.every((value, k) => k === label || value < own)) correct++;
  }
  return { loss, correct };
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
