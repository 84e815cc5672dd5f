import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { calibrationCurve, calibrationErrorInterval, expectedCalibrationError } from "../../../src/evaluate/calibration.ts";

describe("calibrationCurve", () => {
  it("puts a confidence on a border into the lower bin and 0 and 1 into the outer ones", () => {
    const bins = calibrationCurve([0, 0.25, 0.26, 0.5, 1], [false, true, false, true, true], 4);
    expect(bins.map((bin) => bin.count)).toEqual([2, 2, 0, 1]);
    expect(bins[0]).toEqual({ lower: 0, upper: 0.25, count: 2, confidence: 0.125, accuracy: 0.5 });
    expect(bins[1]).toEqual({ lower: 0.25, upper: 0.5, count: 2, confidence: 0.38, accuracy: 0.5 });
    expect(bins[2]).toMatchObject({ confidence: null, accuracy: null });
  });

  it("loses no row, whatever the confidences", () => {
    fc.assert(
      fc.property(fc.array(fc.float({ min: 0, max: 1, noNaN: true })), (confidence) => {
        const bins = calibrationCurve(
          confidence,
          confidence.map(() => true),
        );
        expect(bins.length).toBe(15);
        expect(bins.reduce((sum, bin) => sum + bin.count, 0)).toBe(confidence.length);
      }),
    );
  });
});

describe("expectedCalibrationError", () => {
  it("is 0 where each bin is as right as it is sure, and the gap where it is not", () => {
    const half = calibrationCurve([0.5, 0.5], [true, false]);
    expect(expectedCalibrationError(half)).toBe(0);
    const sureAndWrong = calibrationCurve([1, 1, 1, 1], [true, false, false, false]);
    expect(expectedCalibrationError(sureAndWrong)).toBe(0.75);
    expect(expectedCalibrationError([])).toBe(0);
  });
});

describe("calibrationErrorInterval", () => {
  it("holds the error of one bin with the width that its binomial has", () => {
    const confidence = Array.from({ length: 400 }, () => 0.8);
    const correct = confidence.map((_, i) => i % 2 === 0);
    const [low, high] = calibrationErrorInterval(confidence, correct);
    // The gap is 0.3; half of 400 coins lie within 1.96 * sqrt(0.25 / 400) = 0.049 in 95 % of the samples.
    expect(low).toBeCloseTo(0.3 - 0.049, 2);
    expect(high).toBeCloseTo(0.3 + 0.049, 2);
    expect(calibrationErrorInterval(confidence, correct)).toEqual([low, high]);
  });

  it("is nothing where every answer is sure and right, and everything where there is none", () => {
    expect(calibrationErrorInterval([1, 1, 1], [true, true, true])).toEqual([0, 0]);
    expect(calibrationErrorInterval([], [])).toEqual([0, 1]);
  });
});
