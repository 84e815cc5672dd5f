import { describe, expect, test } from "vitest";
import { describeBestEpoch, findBestEpoch, type EpochFigures } from "../../../src/evaluate/best-epoch.ts";

const epochs = (...rows: readonly (readonly [accuracy: number, f1: number, loss: number])[]): EpochFigures[] =>
  rows.map(([valAccuracy, valF1, valLoss], k) => ({ epoch: k + 1, valAccuracy, valF1, valLoss }));

/** Nine of ten pictures are of one class: who always says so is right in nine of ten. */
const imbalanced = epochs([0.9, 0.47, 0.4], [0.88, 0.8, 0.36], [0.87, 0.7, 0.3]);

describe("the best epoch", () => {
  test.each([
    ["accuracy", 1, "best validation accuracy 90.00 % in epoch 1 of 3 (dashed line)"],
    ["macroF1", 2, "best validation F1 0.8000 in epoch 2 of 3 (dashed line)"],
    ["loss", 3, "lowest validation loss 0.3000 in epoch 3 of 3 (dashed line)"],
  ] as const)("by %s is %i", (select, epoch, text) => {
    expect(findBestEpoch(imbalanced, select)?.epoch).toBe(epoch);
    expect(describeBestEpoch(imbalanced, select)).toEqual({ epoch, text });
  });

  test("is that of the best accuracy where nothing is said", () => {
    expect(findBestEpoch(imbalanced)?.epoch).toBe(1);
  });

  test("of equal ones is the one with the lower loss, by loss the one with the higher accuracy, and else the first", () => {
    expect(findBestEpoch(epochs([0.9, 0.5, 0.4], [0.9, 0.5, 0.3], [0.9, 0.5, 0.3], [0.9, 0.5, 0.5]), "accuracy")?.epoch).toBe(2);
    expect(findBestEpoch(epochs([0.9, 0.5, 0.4], [0.8, 0.5, 0.3]), "macroF1")?.epoch).toBe(2);
    expect(findBestEpoch(epochs([0.8, 0.5, 0.3], [0.9, 0.5, 0.3]), "loss")?.epoch).toBe(2);
  });

  test("of none is none", () => {
    expect(findBestEpoch([])).toBeUndefined();
    expect(describeBestEpoch([])).toBeUndefined();
  });
});
