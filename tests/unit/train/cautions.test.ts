import { expect, test } from "vitest";
import { describeCautions, findCautions } from "../../../src/evaluate/cautions.ts";
import { computeMetrics, type Metrics } from "../../../src/evaluate/metrics.ts";

/** Metrics of a model that answers `answers[i]` with 90 % where `truth[i]` is right. */
function metricsOf(truth: readonly number[], answers: readonly number[], labels: readonly string[] = ["rose", "tulip"]): Metrics {
  const rest = 0.1 / (labels.length - 1);
  return computeMetrics(labels, truth, Float32Array.from(answers.flatMap((answer) => labels.map((_, k) => (k === answer ? 0.9 : rest)))));
}

const repeat = (count: number, value: number): number[] => Array.from({ length: count }, () => value);

test("a good result on enough pictures has no caution", () => {
  const truth = [...repeat(40, 0), ...repeat(40, 1)];
  const answers = truth.map((label, i) => (i % 20 === 0 ? 1 - label : label));
  expect(findCautions({ split: "validation", metrics: metricsOf(truth, answers), epoch: { chosen: 7, trained: 13 } })).toEqual([]);
});

test("few pictures: the interval that the true accuracy may lie in is named", () => {
  const truth = [...repeat(6, 0), ...repeat(6, 1)];
  const [caution] = findCautions({ split: "validation", metrics: metricsOf(truth, truth) });
  expect(caution?.text).toBe("Only 12 validation pictures: with so few, the true accuracy may be anywhere from 75.8 % to 100.0 %.");
});

test("a one-sided split, a class that is never recognised, and a model no better than the largest class are told apart", () => {
  const truth = [...repeat(50, 0), ...repeat(2, 1)];
  const texts = findCautions({ split: "test", metrics: metricsOf(truth, repeat(52, 0)) }).map(({ text }) => text);
  expect(texts).toEqual([
    "The test pictures are one-sided: 2 of tulip, of 52 in all.",
    "No test picture of tulip was recognised (recall 0).",
    "The accuracy of 96.2 % is no better than always answering the largest class, which would give 96.2 %.",
  ]);
});

test("a best epoch of 1 is a caution, but not where there was only one", () => {
  const truth = [...repeat(40, 0), ...repeat(40, 1)];
  const metrics = metricsOf(truth, truth);
  expect(findCautions({ split: "validation", metrics, epoch: { chosen: 1, trained: 13 } })).toHaveLength(1);
  expect(findCautions({ split: "validation", metrics, epoch: { chosen: 1, trained: 1 } })).toEqual([]);
});

test("of many classes five are named", () => {
  const labels = Array.from({ length: 9 }, (_, k) => `class ${k}`);
  const truth = labels.flatMap((_, k) => repeat(10, k));
  const answers = truth.map((label) => (label < 7 ? 8 : label));
  const [caution] = findCautions({ split: "validation", metrics: metricsOf(truth, answers, labels) });
  expect(caution?.text).toBe("No validation picture of class 0, class 1, class 2, class 3, class 4 and 2 more was recognised (recall 0).");
});

test("on a terminal each caution is followed by the next step", () => {
  const lines = describeCautions([{ text: "Only 3 pictures.", next: "Add pictures." }]);
  expect(lines).toEqual(["WARNING  Only 3 pictures.", "         Add pictures."]);
});
