import { describe, expect, test } from "vitest";
import type { Reference } from "../../../src/model/reference.ts";
import type { MonitoredAnswer } from "../../../src/monitor/answer.ts";
import type { MonitoredModel } from "../../../src/monitor/monitored-model.ts";
import { monitorWindow } from "../../../src/monitor/report.ts";
import { Random } from "../../../src/random.ts";
import { describeVectors } from "../../../src/statistics/mean-shift.ts";
import { describeDistribution } from "../../../src/statistics/distribution.ts";

const labels = ["cat", "dog"];

interface World {
  /** Share of dogs among the answers. */
  readonly dogs?: number;
  /** Mean sharpness. */
  readonly sharpness?: number;
  /** Mean of the doubt, 1 - confidence. */
  readonly doubt?: number;
  /** Share of pictures that are like none of the training. */
  readonly unknown?: number;
  /** How far the embeddings moved. */
  readonly moved?: number;
  /** Share of the answers with feedback. */
  readonly feedback?: number;
  /** Share of these that are wrong. */
  readonly wrong?: number;
}

/** Answers of a model that is right in 97 % of all cases and knows how sure it may be. */
function answersOf(
  count: number,
  seed: number,
  { dogs = 0.5, sharpness = 0.2, doubt = 0.03, feedback = 0, wrong = doubt, unknown = 0.02, moved = 0 }: World = {},
) {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, i): MonitoredAnswer => {
    const label = random.uniform() < dogs ? "dog" : "cat";
    const other = label === "dog" ? "cat" : "dog";
    const truth = random.uniform() < wrong ? other : label;
    return {
      atMs: 1_800_000_000_000 + i * 1000,
      label,
      confidence: 1 - Math.min(0.5, -doubt * Math.log(1 - random.uniform())),
      reason: null,
      statistics: {
        brightness: 0.45 + 0.1 * random.normal(),
        contrast: 0.2 + 0.05 * random.normal(),
        sharpness: sharpness + 0.05 * random.normal(),
        saturation: 0.3 + 0.1 * random.normal(),
      },
      outlierScore: random.uniform() < unknown ? 0.9 : 0.1,
      embedding: Float32Array.from({ length: 4 }, () => moved + random.normal()),
      truth: random.uniform() < feedback ? truth : null,
    };
  });
}

const validated = answersOf(2000, 1);

function referenceOf(answers: readonly MonitoredAnswer[]): Reference {
  const of = (name: keyof NonNullable<MonitoredAnswer["statistics"]>, high: number) =>
    describeDistribution(
      answers.map(({ statistics }) => statistics?.[name] ?? 0),
      [0, high],
    );
  const share = (label: string): number => answers.filter((answer) => answer.label === label).length / answers.length;
  return {
    formatVersion: 1,
    images: {
      count: answers.length,
      brightness: of("brightness", 1),
      contrast: of("contrast", 0.5),
      sharpness: of("sharpness", 0.5),
      saturation: of("saturation", 1),
    },
    labels: { cat: 0.5, dog: 0.5 },
    answers: {
      count: answers.length,
      confidence: describeDistribution(
        answers.map(({ confidence }) => confidence),
        [0, 1],
      ),
      predicted: { cat: share("cat"), dog: share("dog") },
    },
  };
}

const model: MonitoredModel = {
  version: "3",
  manifest: { name: "pets", labels, metrics: { accuracy: 0.97 }, reference: { ...referenceOf(validated) } },
  embeddings: describeVectors(validated.flatMap(({ embedding }) => embedding ?? [])),
  unknown: { above: 0.5, count: 40, of: 2000 },
};

describe("the verdict", () => {
  test("is ok for traffic like the validation split: at most 2 of 100 windows are found changed, none is drift", () => {
    const verdicts = Array.from({ length: 100 }, (_, i) => monitorWindow(answersOf(300, 100 + i), model).drift.verdict);
    expect(verdicts.filter((verdict) => verdict !== "ok").length).toBeLessThanOrEqual(2);
    expect(verdicts).not.toContain("drift");
  });

  test("is too_few below 50 answers, whatever they look like", () => {
    expect(monitorWindow(answersOf(49, 2, { sharpness: 0.01 }), model).drift).toEqual({ verdict: "too_few", findings: [] });
    expect(monitorWindow(answersOf(50, 2, { sharpness: 0.01 }), model).drift.verdict).not.toBe("too_few");
  });

  test("is changed where pictures got less sharp and the model is as sure as before, and says so in words", () => {
    const { drift } = monitorWindow(answersOf(300, 3, { sharpness: 0.1 }), model);
    expect(drift.verdict).toBe("changed");
    expect(drift.findings).toHaveLength(1);
    expect(drift.findings[0]).toMatchObject({ what: "sharpness", severity: "changed", test: "kolmogorov_smirnov" });
    expect(drift.findings[0]?.text).toMatch(/^sharpness fell from 0\.(?:20|19) to 0\.(?:09\d|1\d)$/);
  });

  test("is drift where the answers let expect fewer correct ones", () => {
    const { drift } = monitorWindow(answersOf(300, 4, { doubt: 0.12 }), model);
    expect(drift.verdict).toBe("drift");
    expect(drift.findings[0]?.text).toMatch(/^the expected accuracy fell from 97\.0 % to 8\d\.\d %$/);
  });

  test("is drift where one label takes nine tenths of the answers", () => {
    const { drift, labels: shares } = monitorWindow(answersOf(300, 5, { dogs: 0.9 }), model);
    expect(drift.verdict).toBe("drift");
    expect(drift.findings[0]?.text).toMatch(/^the share of dog rose from \d\d\.\d % to (?:8|9)\d\.\d %$/);
    expect(shares["dog"]?.window).toBeGreaterThan(0.85);
  });

  test("is changed where the model sees something else in the pictures, or more of them are like none of the training", () => {
    const moved = monitorWindow(answersOf(300, 13, { moved: 0.5 }), model);
    expect(moved.drift).toMatchObject({ verdict: "changed", findings: [{ what: "embedding", test: "mean_shift" }] });
    expect(moved.drift.findings[0]?.text).toMatch(/^what the model sees in the pictures moved by [01]\.\d\d standard deviations$/);
    const unknown = monitorWindow(answersOf(300, 14, { unknown: 0.2 }), model);
    expect(unknown.drift).toMatchObject({ verdict: "changed", findings: [{ what: "unknown" }] });
    expect(unknown.drift.findings[0]?.text).toMatch(
      /^the share of pictures that are like none of the training rose from 2\.0 % to (?:1|2)\d\.\d %$/,
    );
    expect(unknown.unknownShare).toBeCloseTo(0.2, 1);
  });

  test("is no_reference where the bundle does not say what the model learnt from", () => {
    const old = { ...model, manifest: { ...model.manifest, reference: {} } };
    const report = monitorWindow(answersOf(300, 6, { dogs: 0.9 }), old);
    expect(report.drift.verdict).toBe("no_reference");
    expect([report.reference, report.estimatedAccuracy]).toEqual([null, null]);
  });

  test("leaves out the statistics of predictions that version 0.1 stored without them", () => {
    const answers = answersOf(300, 7, { sharpness: 0.01 }).map((answer) => ({ ...answer, statistics: null }));
    const report = monitorWindow(answers, model);
    expect(report.drift.verdict).toBe("ok");
    expect(report.inputs.sharpness).toMatchObject({ window: null });
  });
});

describe("the live accuracy", () => {
  test("is that of the answers with feedback, with Wilson's interval, and the recall of each label", () => {
    const answers = answersOf(500, 8, { feedback: 0.4 });
    const { liveAccuracy } = monitorWindow(answers, model);
    const labelled = answers.filter(({ truth }) => truth !== null);
    expect(liveAccuracy.n).toBe(labelled.length);
    expect(liveAccuracy.estimate).toBe(labelled.filter(({ label, truth }) => label === truth).length / labelled.length);
    expect(liveAccuracy.feedbackShare).toBe(labelled.length / 500);
    expect(liveAccuracy.low).toBeLessThan(liveAccuracy.estimate ?? 0);
    expect(Object.values(liveAccuracy.byLabel).reduce((sum, { n }) => sum + n, 0)).toBe(labelled.length);
  });

  test("alarms only where its interval lies below that of the validation split", () => {
    expect(monitorWindow(answersOf(1000, 9, { feedback: 0.3, wrong: 0.2 }), model).liveAccuracy.alarm).toBe(true);
    // Nine of ten correct is worse than 97 %, but ten answers do not show it.
    expect(monitorWindow(answersOf(10, 9, { feedback: 1, wrong: 0.1 }), model).liveAccuracy.alarm).toBe(false);
    expect(monitorWindow(answersOf(1000, 9, { feedback: 0.3 }), model).liveAccuracy.alarm).toBe(false);
  });

  test("is unknown without feedback, which does not alarm", () => {
    const { liveAccuracy } = monitorWindow(answersOf(300, 10), model);
    expect(liveAccuracy).toMatchObject({ estimate: null, low: 0, high: 1, n: 0, feedbackShare: 0, alarm: false, byLabel: {} });
  });
});

describe("the estimated accuracy", () => {
  test("follows the confidence, and its interval holds the truth in 19 of 20 windows", () => {
    const held = Array.from({ length: 200 }, (_, i) => {
      const answers = answersOf(500, 1000 + i, { feedback: 1 });
      const { estimatedAccuracy, liveAccuracy } = monitorWindow(answers, model);
      const truth = liveAccuracy.estimate ?? 0;
      return estimatedAccuracy !== null && estimatedAccuracy.low <= truth && truth <= estimatedAccuracy.high;
    });
    expect(held.filter(Boolean).length).toBeGreaterThanOrEqual(184);
  });

  test("is not to be trusted from few answers, or where the confidence fell far", () => {
    expect(monitorWindow(answersOf(300, 11), model).estimatedAccuracy?.trusted).toBe(true);
    expect(monitorWindow(answersOf(49, 11), model).estimatedAccuracy?.trusted).toBe(false);
    expect(monitorWindow(answersOf(300, 11, { doubt: 0.2 }), model).estimatedAccuracy?.trusted).toBe(false);
  });
});

test("a window without answers has no times, shares or medians", () => {
  const report = monitorWindow([], model);
  expect(report.window).toEqual({ from: null, to: null, n: 0 });
  expect([report.unknownShare, report.abstainedShare, report.inputs.brightness.window, report.estimatedAccuracy]).toEqual([
    null,
    null,
    null,
    null,
  ]);
  expect(report.drift.verdict).toBe("too_few");
});

test("abstained answers count, whatever their reason", () => {
  const answers = answersOf(100, 12).map((answer, i) => ({
    ...answer,
    reason: i < 10 ? "low_confidence" : i < 15 ? "unknown_input" : null,
  }));
  const report = monitorWindow(answers, model);
  expect(report.abstainedShare).toBe(0.15);
});
