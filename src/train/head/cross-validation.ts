import { smallestProbability } from "../../evaluate/metrics.ts";
import { softenedProbabilities } from "../../evaluate/temperature.ts";
import { Random } from "../../random.ts";
import type { Engine } from "../../runtime/engine.ts";
import { selectRows, type Features } from "./features.ts";
import { classify, LogisticRegression, type LinearClassifier } from "./logistic-regression.ts";

/** Stream of the seed that deals the rows to the folds. */
const foldStream = 2;
/** Strong to weak, a factor of about three apart: each fit begins where the one before it ended. */
const penalties: readonly number[] = [3, 1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003];
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

export interface CrossValidationInput {
  readonly engine: Engine;
  /** Scaled to a standard deviation of 1. */
  readonly features: Features;
  /** The class of each row. */
  readonly truth: ArrayLike<number>;
  readonly classes: number;
  readonly threads: number;
  /** Called before each fit with the share of the fits that are done, 0 to 1; it throws to stop. */
  readonly onProgress: (share: number, note: string) => void;
}

export interface CrossValidation {
  readonly best: PenaltyTried;
  readonly tried: readonly PenaltyTried[];
  /** With the best penalty, [rows, classes]: of each row by the classifier that did not see its fold. */
  readonly heldOut: Float32Array;
}

export interface FoldInput {
  readonly truth: ArrayLike<number>;
  readonly classes: number;
  readonly seed: number;
  /** For each row the number of the first row of its group; a group is never in two folds. Default: each row is a group. */
  readonly groups?: ArrayLike<number>;
}

/** Rows of each fold: the groups of every class are spread over all of them. Fewer than two folds where a class has a single group. */
export function dealFolds({ truth, classes, seed, groups }: FoldInput): number[][] {
  const firstOf = (row: number): number => groups?.[row] ?? row;
  const order = Array.from(new Random(seed, foldStream).permutation(truth.length));
  const firsts = order.filter((row) => firstOf(row) === row);
  const byClass = Array.from({ length: classes }, (_, label) => firsts.filter((row) => truth[row] === label));
  const smallest = Math.min(...byClass.filter((list) => list.length > 0).map((list) => list.length));
  const count = Math.min(truth.length > manyRows ? 3 : mostFolds, smallest);
  if (count < 2) return [];
  // Each class begins at the fold where the last one ended, so that the folds are equally large.
  const foldOf = new Map(byClass.flat().map((row, k) => [row, k % count]));
  const folds: number[][] = Array.from({ length: count }, () => []);
  for (let row = 0; row < truth.length; row++) folds[foldOf.get(firstOf(row)) ?? 0]?.push(row);
  return folds;
}

/** Fits with one penalty after the other to all folds but one, and measures each on the fold that is left. */
export async function crossValidate(input: CrossValidationInput, folds: readonly (readonly number[])[]): Promise<CrossValidation> {
  const { engine, features, truth, classes, threads, onProgress } = input;
  const searches = await Promise.all(
    folds.map(async (held, index) => {
      const kept = folds.flatMap((fold, k) => (k === index ? [] : fold)).sort((a, b) => a - b);
      const labels = kept.map((row) => truth[row] as number);
      const regression = await LogisticRegression.open(engine, selectRows(features, kept), labels, classes, threads);
      return { regression, rows: held, held: selectRows(features, held), last: undefined as LinearClassifier | undefined };
    }),
  );
  const tried: PenaltyTried[] = [];
  let found: Omit<CrossValidation, "tried"> | undefined;
  let rises = 0;
  try {
    for (const [p, penalty] of penalties.entries()) {
      const probabilities = new Float32Array(features.rows * classes);
      for (const [f, search] of searches.entries()) {
        onProgress((p + f / searches.length) / penalties.length, `penalty ${penalty}`);
        search.last = await search.regression.fit(penalty, search.last);
        const own = softenedProbabilities(classify(search.held, search.last), classes, 1);
        for (const [k, row] of search.rows.entries()) probabilities.set(own.subarray(k * classes, (k + 1) * classes), row * classes);
      }
      const one = { penalty, ...measure(probabilities, truth, classes) };
      rises = one.loss > (tried.at(-1)?.loss ?? Infinity) ? rises + 1 : 0;
      tried.push(one);
      if (found === undefined || one.loss < found.best.loss) found = { best: one, heldOut: probabilities };
      if (rises === risesToStop) break;
    }
    return { ...(found as Omit<CrossValidation, "tried">), tried };
  } finally {
    for (const { regression } of searches) await regression.close();
  }
}

/** Mean negative log-likelihood, and the share of rows that are correct. */
function measure(probabilities: Float32Array, truth: ArrayLike<number>, classes: number): { loss: number; accuracy: number } {
  let [loss, correct] = [0, 0];
  for (let row = 0; row < truth.length; row++) {
    const label = truth[row] as number;
    const own = probabilities[row * classes + label] as number;
    loss -= Math.log(Math.max(smallestProbability, own));
    const others = probabilities.subarray(row * classes, (row + 1) * classes);
    if (others.every((value, k) => k === label || value < own)) correct++;
  }
  return { loss: loss / truth.length, accuracy: correct / truth.length };
}
