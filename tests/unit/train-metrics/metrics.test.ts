import { describe, expect, it } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { computeMetrics, metricsSummary, topLabels } from "../../../src/evaluate/metrics.ts";
import { wilsonInterval } from "../../../src/statistics/wilson-interval.ts";

/** The generator of the golden data below, the same in the Python that made the expected numbers. */
function goldenData(count: number, classCount: number, seed: number): { truth: number[]; probabilities: Float32Array } {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state >>> 16;
  };
  const truth: number[] = [];
  const probabilities = new Float32Array(count * classCount);
  for (let row = 0; row < count; row++) {
    let label = next() % classCount;
    if (classCount === 5 && label === 4 && next() % 4 > 0) label = 0;
    const weights = Array.from({ length: classCount }, () => 1 + (next() % 16));
    weights[label] = (weights[label] as number) + (next() % 12);
    const sum = weights.reduce((a, b) => a + b, 0);
    truth.push(label);
    weights.forEach((weight, k) => (probabilities[row * classCount + k] = weight / sum));
  }
  return { truth, probabilities };
}

function close(actual: readonly (number | null)[], expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, k) => expect(actual[k]).toBeCloseTo(value, 12));
}

describe("computeMetrics by hand", () => {
  //   truth     cat cat cat dog dog dog
  //   p(dog)    .1  .4  .7  .2  .8  .6
  //   predicted cat cat dog cat dog dog  -> 4 of 6 right
  const truth = [0, 0, 0, 1, 1, 1];
  const dog = [0.1, 0.4, 0.7, 0.2, 0.8, 0.6];
  const metrics = computeMetrics(["cat", "dog"], truth, Float32Array.from(dog.flatMap((p) => [1 - p, p])));

  it("counts the confusion matrix as [true][predicted]", () => {
    expect(metrics.confusion).toEqual([
      [2, 1],
      [1, 2],
    ]);
    expect(metrics.count).toBe(6);
    expect(metrics.accuracy).toBeCloseTo(4 / 6, 12);
  });

  it("takes the loss as the mean negative natural logarithm of the true class", () => {
    const expected = -(Math.log(0.9) + Math.log(0.6) + Math.log(0.3) + Math.log(0.2) + Math.log(0.8) + Math.log(0.6)) / 6;
    expect(metrics.loss).toBeCloseTo(expected, 6);
  });

  it("gives the last of two classes' area: 6 of 9 pairs of dog and cat are in order", () => {
    // dog .2 beats .1 only; dog .8 beats .1 .4 .7; dog .6 beats .1 .4 -> 1 + 3 + 2 = 6.
    expect(metrics.rocAuc).toBe(6 / 9);
    expect(metrics.perClass.map((item) => item.rocAuc)).toEqual([6 / 9, 6 / 9]);
  });

  it("weights the gap between confidence and accuracy by the rows of each bin", () => {
    // Bins of width 1/15 on the top label: .9 right, .6 right and .6 right share (.533, .6] or (.6, .667] after float32
    // rounding (.6 is .6000000238 in float32, so the upper one), .7 wrong (.667, .733], .8 wrong and .8 right (.733, .8]
    // or the one above (.800000012 is above .8). Gaps: .9: .1 (1 row); .6: .4 (2 rows); .7: .7 (1); .8: |.5 - .8| = .3 (2).
    expect(metrics.ece).toBeCloseTo((0.1 + 2 * 0.4 + 0.7 + 2 * 0.3) / 6, 6);
  });

  it("has one flat summary for runs and bundles", () => {
    expect(Object.keys(metricsSummary(metrics))).toEqual(["count", "accuracy", "loss", "precision", "recall", "f1", "roc_auc", "ece"]);
    expect(metricsSummary(metrics)).toMatchObject({ count: 6, accuracy: 4 / 6, f1: metrics.macroF1, roc_auc: 6 / 9 });
  });
});

describe("computeMetrics against scikit-learn 1.9.1", () => {
  // Expected numbers: the same generator in Python, then precision_recall_fscore_support, roc_auc_score, confusion_matrix
  // (zero_division=0, macro averages), -log of the true class's probability with numpy, ECE with numpy masks (lo, hi].
  it("agrees on two classes with 77 tied scores", () => {
    const { truth, probabilities } = goldenData(200, 2, 7);
    const metrics = computeMetrics(["a", "b"], truth, probabilities);
    expect(metrics.confusion).toEqual([
      [85, 25],
      [26, 64],
    ]);
    expect(metrics.accuracy).toBeCloseTo(0.745, 12);
    expect(metrics.loss).toBeCloseTo(0.5300236409481365, 12);
    expect(metrics.macroPrecision).toBeCloseTo(0.7424334446806357, 12);
    expect(metrics.macroRecall).toBeCloseTo(0.7419191919191919, 12);
    expect(metrics.macroF1).toBeCloseTo(0.7421572840567254, 12);
    expect(metrics.rocAuc).toBeCloseTo(0.8219191919191918, 12);
    expect(metrics.ece).toBeCloseTo(0.07994089990854265, 12);
  });

  it("agrees on five classes of unequal size", () => {
    const { truth, probabilities } = goldenData(400, 5, 11);
    const metrics = computeMetrics(["a", "b", "c", "d", "e"], truth, probabilities);
    expect(metrics.confusion).toEqual([
      [68, 24, 10, 12, 12],
      [13, 49, 10, 5, 7],
      [15, 7, 46, 7, 13],
      [18, 14, 7, 37, 11],
      [2, 3, 1, 4, 5],
    ]);
    expect(metrics.perClass.map((item) => item.support)).toEqual([126, 84, 88, 87, 15]);
    close(
      metrics.perClass.map((item) => item.precision),
      [0.5862068965517241, 0.5051546391752577, 0.6216216216216216, 0.5692307692307692, 0.10416666666666667],
    );
    close(
      metrics.perClass.map((item) => item.recall),
      [0.5396825396825397, 0.5833333333333334, 0.5227272727272727, 0.42528735632183906, 0.3333333333333333],
    );
    close(
      metrics.perClass.map((item) => item.f1),
      [0.5619834710743802, 0.5414364640883977, 0.5679012345679012, 0.4868421052631579, 0.15873015873015872],
    );
    const areas = [0.7587185725871857, 0.8188291139240507, 0.8057073135198135, 0.7182806360398075, 0.7073593073593074];
    close(
      metrics.perClass.map((item) => item.rocAuc),
      areas,
    );
    expect(metrics.rocAuc).toBeCloseTo(areas.reduce((a, b) => a + b, 0) / 5, 12);
    expect(metrics.accuracy).toBeCloseTo(0.5125, 12);
    expect(metrics.loss).toBeCloseTo(1.3391702402681034, 12);
    close([metrics.macroPrecision, metrics.macroRecall, metrics.macroF1], [0.4772761186492079, 0.48087276707966364, 0.46337868674479915]);
    expect(metrics.ece).toBeCloseTo(0.16492869008332495, 12);
  });
});

describe("computeMetrics at the edges", () => {
  it("clips a probability of zero at 1e-12, so that the loss stays finite", () => {
    const metrics = computeMetrics(["cat", "dog"], [0, 1], Float32Array.of(0, 1, 0, 1));
    expect(metrics.loss).toBeCloseTo(-Math.log(1e-12) / 2, 9);
  });

  it("has no area for a class without positives and leaves it out of the mean", () => {
    // Class c never occurs; a and b are told apart perfectly.
    const metrics = computeMetrics(["a", "b", "c"], [0, 1], Float32Array.of(0.8, 0.1, 0.1, 0.2, 0.6, 0.2));
    expect(metrics.perClass.map((item) => item.rocAuc)).toEqual([1, 1, null]);
    expect(metrics.rocAuc).toBe(1);
  });

  it("has no area at all where only one class occurs", () => {
    const metrics = computeMetrics(["cat", "dog"], [1, 1], Float32Array.of(0.1, 0.9, 0.6, 0.4));
    expect(metrics.rocAuc).toBeNull();
    expect(metricsSummary(metrics)).not.toHaveProperty("roc_auc");
  });

  it("counts 0/0 as 0 and averages over the classes that occur among true or predicted labels", () => {
    // a: precision 1, recall 1/2. b never true but predicted once: 0, 0. c occurs nowhere and is left out.
    const metrics = computeMetrics(["a", "b", "c"], [0, 0], Float32Array.of(0.8, 0.1, 0.1, 0.2, 0.6, 0.2));
    expect(metrics.perClass.map(({ precision, recall, f1 }) => [precision, recall, f1])).toEqual([
      [1, 0.5, 2 / 3],
      [0, 0, 0],
      [0, 0, 0],
    ]);
    expect(metrics.macroPrecision).toBe(0.5);
    expect(metrics.macroRecall).toBe(0.25);
    expect(metrics.macroF1).toBeCloseTo(1 / 3, 12);
  });

  it("calls the first class on a tie", () => {
    expect(topLabels([1], Float32Array.of(0.5, 0.5), 2)).toMatchObject({ predicted: Uint16Array.of(0), correct: [false] });
  });

  it.each([
    ["no rows", [], [], "no rows"],
    ["too few probabilities", [0, 1], [0.5, 0.5], "2 rows of 2 classes need 4 probabilities; got 2"],
    ["a class that does not exist", [2], [0.5, 0.5], "Row 0 has the class index 2; expected 0 to 1"],
    ["not a number", [0, 1], [0.5, 0.5, Number.NaN, 0.5], "Row 1 has the probability NaN"],
    ["more than one", [0], [1.5, 0], "Row 0 has the probability 1.5"],
  ])("refuses %s", (_, truth, probabilities, message) => {
    expect(() => computeMetrics(["cat", "dog"], truth, Float32Array.from(probabilities))).toThrow(
      expect.objectContaining({ name: ServalError.name, code: "E_METRICS", message: expect.stringContaining(message) as string }),
    );
  });
});

describe("wilsonInterval", () => {
  // scipy.stats.binomtest(k, n).proportion_ci(0.95, "wilson").
  it.each([
    [93, 100, 0.8625048526092649, 0.9656807389327273],
    [2318, 2502, 0.9155642120290078, 0.9360459297412177],
    [0, 10, 0, 0.27753279986288926],
    [10, 10, 1 - 0.27753279986288926, 1],
  ])("of %i out of %i is scipy's", (successes, count, low, high) => {
    const interval = wilsonInterval(successes, count);
    expect(interval[0]).toBeCloseTo(low, 12);
    expect(interval[1]).toBeCloseTo(high, 12);
  });

  it("knows nothing without rows", () => {
    expect(wilsonInterval(0, 0)).toEqual([0, 1]);
  });
});
