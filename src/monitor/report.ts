import type { ImageStatistics } from "../image/statistics.ts";
import { readReference, type Reference } from "../model/reference.ts";
import { quantile, quantileLevels } from "../statistics/distribution.ts";
import { estimateAccuracy, liveAccuracy, validationAccuracy, type EstimatedAccuracy, type LiveAccuracy } from "./accuracy.ts";
import type { MonitoredAnswer } from "./answer.ts";
import { findDrift, imageStatisticNames, type Drift } from "./drift.ts";
import type { MonitoredModel } from "./monitored-model.ts";

/** How a model does in service: its last answers, compared with what it was like when it was trained. */
export interface MonitorReport {
  readonly model: { readonly name: string; readonly version: string };
  /** The answers that were looked at. `from` and `to`: times of the first and the last one; null where there are none. */
  readonly window: { readonly from: string | null; readonly to: string | null; readonly n: number };
  readonly drift: Drift;
  /** From feedback. */
  readonly liveAccuracy: LiveAccuracy;
  /** Without feedback, from the confidence of the answers. Null without answers or without a reference. */
  readonly estimatedAccuracy: EstimatedAccuracy | null;
  /** Share of the pictures that are like none of the training; null without answers, or where the bundle has no outlier score. */
  readonly unknownShare: number | null;
  /** Share of the answers without a label, whatever the reason; null without answers. */
  readonly abstainedShare: number | null;
  /** Medians in the window and in the reference; null where there is nothing to take one of. */
  readonly inputs: Readonly<Record<keyof ImageStatistics, Compared>>;
  /** Share of each label among the answers, and among those of the reference. */
  readonly labels: Readonly<Record<string, Compared>>;
  /** What the window was compared with: the model's answers on its validation split. Null where its bundle does not hold them. */
  readonly reference: { readonly version: string; readonly accuracy: number; readonly low: number; readonly high: number } | null;
}

export interface Compared {
  readonly window: number | null;
  readonly reference: number | null;
}

/** A window: the last answers, at most this many, none older than this. */
export const windowAnswers = 1000;
export const windowMs = 86_400_000;

/** `answers`: those of one window, in any order. */
export function monitorWindow(answers: readonly MonitoredAnswer[], model: MonitoredModel): MonitorReport {
  const { version, manifest } = model;
  const { name, labels } = manifest;
  const reference = readReference(manifest);
  const validation = reference && validationAccuracy(manifest, reference.answers.count);
  const expected = reference && validation && estimateAccuracy(answers, reference, validation);
  const share = (counts: (answer: MonitoredAnswer) => boolean): number | null =>
    answers.length === 0 ? null : answers.filter(counts).length / answers.length;
  const times = answers.map(({ atMs }) => atMs).toSorted((a, b) => a - b);
  return {
    model: { name, version },
    window: { from: isoTime(times[0]), to: isoTime(times.at(-1)), n: answers.length },
    drift: findDrift({ answers, model, reference, validation, expected }),
    liveAccuracy: liveAccuracy(answers, labels, validation),
    estimatedAccuracy: expected ?? null,
    unknownShare: unknownShare(answers, model),
    abstainedShare: share(({ reason }) => reason !== null),
    inputs: compareInputs(answers, reference),
    labels: Object.fromEntries(
      labels.map((label) => [
        label,
        { window: share((answer) => answer.label === label), reference: reference?.answers.predicted[label] ?? null },
      ]),
    ),
    reference: validation ? { version, accuracy: validation.estimate, low: validation.low, high: validation.high } : null,
  };
}

/** Answers without a score are those that an older service stored. */
function unknownShare(answers: readonly MonitoredAnswer[], { unknown }: MonitoredModel): number | null {
  const scores = answers.flatMap(({ outlierScore }) => outlierScore ?? []);
  return unknown === null || scores.length === 0 ? null : scores.filter((score) => score > unknown.above).length / scores.length;
}

function compareInputs(answers: readonly MonitoredAnswer[], reference: Reference | undefined): MonitorReport["inputs"] {
  const seen = answers.flatMap(({ statistics }) => statistics ?? []);
  const median = (name: keyof ImageStatistics): number | null => {
    const values = seen.map((statistics) => statistics[name]).toSorted((a, b) => a - b);
    return values.length === 0 ? null : quantile(values, 0.5);
  };
  const compared = imageStatisticNames.map((name): [keyof ImageStatistics, Compared] => [
    name,
    { window: median(name), reference: reference?.images[name].quantiles[quantileLevels.indexOf(0.5)] ?? null },
  ]);
  return Object.fromEntries(compared) as MonitorReport["inputs"];
}

function isoTime(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
