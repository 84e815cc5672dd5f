import type { BundleManifest } from "../model/manifest.ts";
import type { Reference } from "../model/reference.ts";
import { wilsonInterval, z95 } from "../statistics/wilson-interval.ts";
import type { MonitoredAnswer } from "./answer.ts";

/** A share of correct answers with its 95 % interval. */
export interface Accuracy {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

/** On the validation split; `n` is its size. */
export interface ValidationAccuracy extends Accuracy {
  readonly n: number;
}

/** With fewer, the interval is too narrow at the ends: four of five correct does not show a bad model. */
const fewestForAlarm = 20;
/** An estimate from fewer answers says little. */
const fewestTrusted = 50;
/**
 * Where the estimate fell further, pictures are so different that confidence no longer follows accuracy: the monitor then says drift
 * (docs/notes/monitoring.md).
 */
export const mostTrustedLoss = 0.025;

export interface LiveAccuracy {
  /** Null without feedback; then the interval is from 0 to 1. */
  readonly estimate: number | null;
  readonly low: number;
  readonly high: number;
  /** Answers with feedback. */
  readonly n: number;
  /** Their share of all answers; null without answers. */
  readonly feedbackShare: number | null;
  /** Whether the model is worse than on the validation split beyond doubt: 20 answers or more, and the intervals do not touch. */
  readonly alarm: boolean;
  /** By the true label: of its pictures, those that were answered with it. Labels without feedback are missing. */
  readonly byLabel: Readonly<Record<string, Accuracy & { readonly n: number }>>;
}

export interface EstimatedAccuracy extends Accuracy {
  /** False where the confidence does not tell: too few answers, or pictures that the model was not made for. */
  readonly trusted: boolean;
}

/** Undefined where the bundle does not say it. */
export function validationAccuracy({ metrics }: Pick<BundleManifest, "metrics">, n: number): ValidationAccuracy | undefined {
  const { accuracy } = metrics;
  if (accuracy === undefined || n === 0) return undefined;
  const [low, high] = wilsonInterval(Math.round(accuracy * n), n);
  return { estimate: accuracy, low, high, n };
}

/** Accuracy with Wilson intervals from the answers that clients labelled. Labels that the model does not know are counted as wrong. */
export function liveAccuracy(
  answers: readonly MonitoredAnswer[],
  labels: readonly string[],
  validation: ValidationAccuracy | undefined,
): LiveAccuracy {
  const labelled = answers.filter(({ truth }) => truth !== null);
  const all = accuracyOf(labelled);
  const byLabel = labels.flatMap((label) => {
    const own = labelled.filter(({ truth }) => truth === label);
    return own.length === 0 ? [] : [[label, { ...accuracyOf(own), n: own.length }] as const];
  });
  return {
    ...all,
    estimate: labelled.length === 0 ? null : all.estimate,
    n: labelled.length,
    feedbackShare: answers.length === 0 ? null : labelled.length / answers.length,
    alarm: validation !== undefined && labelled.length >= fewestForAlarm && all.high < validation.low,
    byLabel: Object.fromEntries(byLabel),
  };
}

function accuracyOf(labelled: readonly MonitoredAnswer[]): Accuracy {
  const correct = labelled.filter(({ label, truth }) => label === truth).length;
  const [low, high] = wilsonInterval(correct, labelled.length);
  return { estimate: correct / labelled.length, low, high };
}

/**
 * Mean confidence, moved by what accuracy and mean confidence differ on the validation split (difference of confidences, Guillory et al.
 * 2021). The interval holds the chance of the window's answers and of the validation split's. Undefined without answers.
 */
export function estimateAccuracy(
  answers: readonly MonitoredAnswer[],
  { answers: validated }: Reference,
  validation: ValidationAccuracy,
): EstimatedAccuracy | undefined {
  if (answers.length === 0) return undefined;
  const mean = answers.reduce((sum, { confidence }) => sum + confidence, 0) / answers.length;
  const chance = answers.reduce((sum, { confidence }) => sum + confidence * (1 - confidence), 0) / answers.length ** 2;
  const estimate = clampShare(mean + validation.estimate - validated.confidence.mean);
  const half = z95 * Math.sqrt(chance + (validation.estimate * (1 - validation.estimate)) / validation.n);
  const trusted = answers.length >= fewestTrusted && validation.estimate - estimate <= mostTrustedLoss;
  return { estimate, low: clampShare(estimate - half), high: clampShare(estimate + half), trusted };
}

function clampShare(value: number): number {
  return Math.min(1, Math.max(0, value));
}
