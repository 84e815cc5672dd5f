import { describe, expect, test } from "vitest";
import { confidences, estimateJoint, findWrongLabels, type HeldOutAnswers } from "../../../src/quality/wrong-labels.ts";

/** Pictures of three classes that a good classifier answered, where the labels of `flips` are wrong on purpose. */
function answersWith(flips: ReadonlyMap<number, number>, count = 600): HeldOutAnswers {
  const [sure, classes] = [0.9, 3];
  const truth = Array.from({ length: count }, (_, row) => row % classes);
  const probabilities = new Float32Array(count * classes);
  for (const [row, label] of truth.entries()) {
    for (let k = 0; k < classes; k++) probabilities[row * classes + k] = k === label ? sure : (1 - sure) / 2;
  }
  return { labels: truth.map((label, row) => flips.get(row) ?? label), classes, probabilities };
}

describe("wrong labels", () => {
  test("are found by pictures that a classifier is sure about, and no others", () => {
    const flips = new Map([
      [3, 1],
      [10, 2],
      [30, 1],
      [301, 0],
      [599, 0],
    ]);
    const found = findWrongLabels(answersWith(flips));
    expect(found.map(({ row }) => row).sort((a, b) => a - b)).toEqual([...flips.keys()]);
    for (const { row, label, likelier } of found) expect([label, likelier]).toEqual([flips.get(row), row % 3]);
    const order = found.map(({ confidence }) => confidence);
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  test("are none where the classifier agrees with every label", () => {
    expect(findWrongLabels(answersWith(new Map()))).toEqual([]);
  });

  test("are estimated in number: the joint counts every picture once, by label and class", () => {
    const answers = answersWith(new Map([0, 3, 6, 9].map((row) => [row, 1])));
    const joint = estimateJoint(answers);
    const sums = [0, 1, 2].map((label) => joint.subarray(3 * label, 3 * label + 3).reduce((sum, value) => sum + value, 0));
    expect(sums.map((sum) => Number(sum.toFixed(6)))).toEqual([196, 204, 200]);
    expect(Number(joint[3]?.toFixed(6))).toBe(4);
  });

  test("of a class that has no pictures do not disturb the others", () => {
    const { labels, probabilities } = answersWith(new Map([[3, 1]]));
    const wider = new Float32Array(labels.length * 4);
    for (let row = 0; row < labels.length; row++) wider.set(probabilities.subarray(row * 3, row * 3 + 3), row * 4);
    expect(findWrongLabels({ labels, classes: 4, probabilities: wider }).map(({ row }) => row)).toEqual([3]);
  });

  test("have the confidence of their own label", () => {
    const answers: HeldOutAnswers = { labels: [0, 1], classes: 2, probabilities: Float32Array.of(0.75, 0.25, 0.5, 0.5) };
    expect([...confidences(answers)]).toEqual([0.75, 0.5]);
  });
});
