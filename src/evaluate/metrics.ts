import { ServalError } from "../errors/serval-error.ts";
import { calibrationCurve, calibrationErrorInterval, expectedCalibrationError } from "./calibration.ts";
import { wilsonInterval } from "../statistics/wilson-interval.ts";
import { rocAuc } from "./roc.ts";

export interface ClassMetrics {
  readonly label: string;
  /** Rows whose true class this is. */
  readonly support: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** This class against all others; null without positives or without negatives. */
  readonly rocAuc: number | null;
}

export interface Metrics {
  readonly count: number;
  readonly accuracy: number;
  /** 95 % Wilson score interval of the accuracy. */
  readonly accuracyInterval: readonly [low: number, high: number];
  /** Mean negative log-likelihood of the true class, natural logarithm, probabilities clipped at 1e-12. */
  readonly loss: number;
  readonly macroPrecision: number;
  readonly macroRecall: number;
  readonly macroF1: number;
  readonly perClass: readonly ClassMetrics[];
  /**
   * Two classes: of the last class, the positive one. More: the mean of the one-vs-rest areas that are defined, or null
   * where none is.
   */
  readonly rocAuc: number | null;
  /** Expected calibration error: 15 equal-width bins on the confidence of the top label. */
  readonly ece: number;
  /** 95 % bootstrap interval of it. */
  readonly eceInterval: readonly [low: number, high: number];
  /** Counts as [true class][predicted class]. */
  readonly confusion: readonly (readonly number[])[];
}

/** How the model does on the images that it answers when it abstains below its threshold. */
export interface AnsweredPart {
  readonly abstainBelow: number;
  /** Share of the images that are answered. */
  readonly share: number;
  /** Accuracy on those; null where none is. */
  readonly accuracy: number | null;
}

/** Below this a probability counts as this in the loss, so that one sure mistake costs 27.6 and not infinity. */
export const smallestProbability = 1e-12;

/** The most probable class of each row (the first one on a tie), its probability, and whether it is the true class. */
export interface TopLabels {
  readonly predicted: Uint16Array;
  readonly confidence: Float32Array;
  readonly correct: readonly boolean[];
}

/** `probabilities` is [count, K] row-major. */
export function topLabels(truth: ArrayLike<number>, probabilities: Float32Array, classCount: number): TopLabels {
  const predicted = new Uint16Array(truth.length);
  const confidence = new Float32Array(truth.length);
  for (let row = 0; row < truth.length; row++) {
    let best = 0;
    for (let k = 1; k < classCount; k++) {
      if ((probabilities[row * classCount + k] as number) > (probabilities[row * classCount + best] as number)) best = k;
    }
    predicted[row] = best;
    confidence[row] = probabilities[row * classCount + best] as number;
  }
  return { predicted, confidence, correct: Array.from(predicted, (label, row) => label === truth[row]) };
}

/** The probability of one class for every row. */
export function classScores(probabilities: Float32Array, classCount: number, classIndex: number): Float32Array {
  const scores = new Float32Array(probabilities.length / classCount);
  for (let row = 0; row < scores.length; row++) scores[row] = probabilities[row * classCount + classIndex] as number;
  return scores;
}

/**
 * All figures of one evaluation. `truth` holds class indices, `probabilities` is [count, K] row-major with K =
 * labels.length. Where precision, recall or F1 is 0/0 it counts as 0, and the macro averages run over the classes that
 * occur among true or predicted labels: scikit-learn's defaults, so figures can be compared.
 * Throws E_METRICS for no rows, sizes that do not fit, a class index out of range, or a probability outside [0, 1].
 */
export function computeMetrics(labels: readonly string[], truth: ArrayLike<number>, probabilities: Float32Array): Metrics {
  const classCount = labels.length;
  const count = truth.length;
  checkInput(labels, truth, probabilities);

  const { predicted, confidence, correct } = topLabels(truth, probabilities, classCount);
  const confusion = labels.map(() => labels.map(() => 0));
  let loss = 0;
  for (let row = 0; row < count; row++) {
    const actual = truth[row] as number;
    const counts = confusion[actual] as number[];
    counts[predicted[row] as number] = (counts[predicted[row] as number] as number) + 1;
    loss -= Math.log(Math.max(smallestProbability, probabilities[row * classCount + actual] as number));
  }

  const perClass = labels.map((label, k): ClassMetrics => {
    const hits = confusion[k]?.[k] as number;
    const support = (confusion[k] as number[]).reduce((sum, n) => sum + n, 0);
    const calls = confusion.reduce((sum, counts) => sum + (counts[k] as number), 0);
    const auc = rocAuc(
      classScores(probabilities, classCount, k),
      Array.from(truth, (actual) => actual === k),
    );
    return {
      label,
      support,
      precision: ratio(hits, calls),
      recall: ratio(hits, support),
      f1: ratio(2 * hits, calls + support),
      rocAuc: auc,
    };
  });
  const occurring = perClass.filter((item, k) => item.support > 0 || confusion.some((counts) => (counts[k] as number) > 0));
  const areas = perClass.flatMap((item) => item.rocAuc ?? []);
  const rightCount = correct.filter(Boolean).length;
  return {
    count,
    accuracy: rightCount / count,
    accuracyInterval: wilsonInterval(rightCount, count),
    loss: loss / count,
    macroPrecision: mean(occurring.map((item) => item.precision)),
    macroRecall: mean(occurring.map((item) => item.recall)),
    macroF1: mean(occurring.map((item) => item.f1)),
    perClass,
    rocAuc: classCount === 2 ? (perClass[1] as ClassMetrics).rocAuc : areas.length > 0 ? mean(areas) : null,
    ece: expectedCalibrationError(calibrationCurve(confidence, correct)),
    eceInterval: calibrationErrorInterval(confidence, correct),
    confusion,
  };
}

/** Undefined where the model never abstains. */
export function answeredPart(
  evaluation: { readonly labels: readonly string[]; readonly truth: ArrayLike<number>; readonly probabilities: Float32Array },
  abstainBelow: number | null,
): AnsweredPart | undefined {
  if (abstainBelow === null) return undefined;
  const { confidence, correct } = topLabels(evaluation.truth, evaluation.probabilities, evaluation.labels.length);
  const answered = correct.filter((_, row) => (confidence[row] as number) >= abstainBelow);
  const share = answered.length / correct.length;
  return { abstainBelow, share, accuracy: answered.length === 0 ? null : answered.filter(Boolean).length / answered.length };
}

/** The figures that have one number each, under the names that runs, bundles and `metrics diff` show. */
export function metricsSummary(metrics: Metrics): Record<string, number> {
  return {
    count: metrics.count,
    accuracy: metrics.accuracy,
    loss: metrics.loss,
    precision: metrics.macroPrecision,
    recall: metrics.macroRecall,
    f1: metrics.macroF1,
    ...(metrics.rocAuc === null ? {} : { roc_auc: metrics.rocAuc }),
    ece: metrics.ece,
  };
}

function checkInput(labels: readonly string[], truth: ArrayLike<number>, probabilities: Float32Array): void {
  if (truth.length === 0) throw new ServalError("E_METRICS", "There are no rows to compute metrics of.");
  if (labels.length === 0 || probabilities.length !== truth.length * labels.length) {
    throw new ServalError(
      "E_METRICS",
      `${truth.length} rows of ${labels.length} classes need ${truth.length * labels.length} probabilities; got ${probabilities.length}.`,
    );
  }
  for (let row = 0; row < truth.length; row++) {
    if (labels[truth[row] as number] === undefined) {
      throw new ServalError("E_METRICS", `Row ${row} has the class index ${truth[row]}; expected 0 to ${labels.length - 1}.`);
    }
  }
  // Softmax in float32 may end a little above 1.
  const bad = probabilities.findIndex((p) => !(p >= 0 && p <= 1 + 1e-5));
  if (bad >= 0) {
    throw new ServalError(
      "E_METRICS",
      `Row ${Math.floor(bad / labels.length)} has the probability ${probabilities[bad]}; expected 0 to 1.`,
      { hint: "Weights that are not finite give such answers: use an earlier checkpoint, or train with a smaller learning rate." },
    );
  }
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
