import type { ImageStatistics } from "../image/statistics.ts";
import type { Reference } from "../model/reference.ts";
import { chiSquareOfCounts } from "../statistics/chi-square.ts";
import { quantile, quantileLevels, type Distribution } from "../statistics/distribution.ts";
import { holmAdjusted } from "../statistics/holm.ts";
import { kolmogorovSmirnov, type TestResult } from "../statistics/kolmogorov-smirnov.ts";
import { meanShift } from "../statistics/mean-shift.ts";
import type { MonitoredAnswer } from "./answer.ts";
import type { MonitoredModel } from "./monitored-model.ts";
import { mostTrustedLoss, type EstimatedAccuracy, type ValidationAccuracy } from "./accuracy.ts";

/**
 * ok: nothing has changed. changed: pictures or answers differ from those of the training, not so much that it should cost accuracy.
 * drift: so that it should be looked into; the only one that alarms. too_few: not enough answers to say. no_reference: the bundle of
 * the model does not say what it was trained on.
 */
export type Verdict = (typeof verdicts)[number];
export const verdicts = ["ok", "changed", "drift", "too_few", "no_reference"] as const;

export interface Finding {
  readonly what: keyof ImageStatistics | "labels" | "confidence" | "embedding" | "unknown";
  readonly severity: "changed" | "drift";
  /** Such as: sharpness fell from 0.42 to 0.13. */
  readonly text: string;
  readonly test: "kolmogorov_smirnov" | "chi_square" | "mean_shift";
  readonly statistic: number;
  readonly pValue: number;
  /** The p value after Holm's correction for the number of tests: below `significance`, or it would not be a finding. */
  readonly adjustedPValue: number;
}

export interface Drift {
  readonly verdict: Verdict;
  /** What changed, the gravest first. Empty unless the verdict is changed or drift. */
  readonly findings: readonly Finding[];
}

/** Fewer answers say nothing. */
export const fewestAnswers = 50;
/** The chance of one or more findings in a window in which nothing has changed. */
const significance = 0.01;
/** A finding is drift where it is this large (docs/notes/monitoring.md: how these were chosen). */
const driftFrom: { readonly accuracyLoss: number; readonly labelShift: number } = {
  /** Fall of the expected accuracy: about half of what the accuracy falls, because a model stays too sure of altered pictures. */
  accuracyLoss: mostTrustedLoss,
  /** Share of the answers that went from some labels to others (total variation distance). */
  labelShift: 0.2,
};

export const imageStatisticNames: readonly (keyof ImageStatistics)[] = ["brightness", "contrast", "sharpness", "saturation"];

interface Candidate extends TestResult {
  readonly what: Finding["what"];
  readonly test: Finding["test"];
  /** Whether the change is large enough for drift. */
  readonly isDrift: boolean;
  readonly text: string;
}
export interface DriftInput {
  readonly answers: readonly MonitoredAnswer[];
  readonly model: MonitoredModel;
  readonly reference: Reference | undefined;
  readonly validation: ValidationAccuracy | undefined;
  /** What the answers of the window let expect. */
  readonly expected: EstimatedAccuracy | undefined;
}

/** Tests the window against the reference, with one correction for all tests. */
export function findDrift(input: DriftInput): Drift {
  const { answers, reference } = input;
  if (reference === undefined) return { verdict: "no_reference", findings: [] };
  if (answers.length < fewestAnswers) return { verdict: "too_few", findings: [] };
  const candidates = [
    ...imageCandidates(answers, reference),
    labelCandidate(input, reference),
    ...confidenceCandidate(input, reference),
    ...embeddingCandidate(input),
    ...unknownCandidate(input),
  ];
  const adjusted = holmAdjusted(candidates.map(({ pValue }) => pValue));
  const findings = candidates
    .map(({ isDrift, ...candidate }, i): Finding => ({
      ...candidate,
      severity: isDrift ? "drift" : "changed",
      adjustedPValue: adjusted[i] as number,
    }))
    .filter(({ adjustedPValue }) => adjustedPValue < significance)
    .toSorted((a, b) => Number(b.severity === "drift") - Number(a.severity === "drift") || b.statistic - a.statistic);
  const verdict = findings.some(({ severity }) => severity === "drift") ? "drift" : findings.length > 0 ? "changed" : "ok";
  return { verdict, findings };
}

function imageCandidates(answers: readonly MonitoredAnswer[], { images }: Reference): Candidate[] {
  const seen = answers.flatMap(({ statistics }) => statistics ?? []);
  if (seen.length < fewestAnswers) return [];
  return imageStatisticNames.map((what): Candidate => {
    const values = seen.map((statistics) => statistics[what]);
    return {
      what,
      test: "kolmogorov_smirnov",
      ...kolmogorovSmirnov(values, images[what], images.count),
      // Other pictures do no harm by themselves: a model that learnt from blurred pictures answers blurred ones.
      isDrift: false,
      text: describeMove(what, images[what], values),
    };
  });
}

function labelCandidate({ answers, model }: DriftInput, { answers: validated }: Reference): Candidate {
  const { labels } = model.manifest;
  const counts = labels.map((label) => answers.filter((answer) => answer.label === label).length);
  const expected = labels.map((label) => validated.predicted[label] ?? 0);
  const shares = counts.map((count) => count / answers.length);
  const moves = shares.map((share, k) => share - (expected[k] as number));
  const shift = moves.reduce((sum, move) => sum + Math.abs(move), 0) / 2;
  const most = moves.indexOf(Math.max(...moves));
  return {
    what: "labels",
    test: "chi_square",
    ...chiSquareOfCounts(
      counts,
      expected.map((share) => Math.round(share * validated.count)),
    ),
    isDrift: shift >= driftFrom.labelShift,
    text: `the share of ${labels[most]} rose from ${percent(expected[most] as number)} to ${percent(shares[most] as number)}`,
  };
}

function confidenceCandidate({ answers, validation, expected }: DriftInput, { answers: validated }: Reference): Candidate[] {
  const values = answers.map(({ confidence }) => confidence);
  const loss = validation && expected ? validation.estimate - expected.estimate : 0;
  const text =
    validation && expected && loss > 0
      ? `the expected accuracy fell from ${percent(validation.estimate)} to ${percent(expected.estimate)}`
      : describeMove("confidence", validated.confidence, values);
  return [
    {
      what: "confidence",
      test: "kolmogorov_smirnov",
      ...kolmogorovSmirnov(values, validated.confidence, validated.count),
      isDrift: loss >= driftFrom.accuracyLoss,
      text,
    },
  ];
}

function embeddingCandidate({ answers, model: { embeddings } }: DriftInput): Candidate[] {
  const seen = answers.flatMap(({ embedding }) => (embedding === null ? [] : [embedding]));
  if (embeddings === null || seen.length < fewestAnswers) return [];
  const found = meanShift(seen, embeddings);
  const distance = Math.sqrt(found.statistic / ((embeddings.count * seen.length) / (embeddings.count + seen.length)));
  const text = `what the model sees in the pictures moved by ${distance.toFixed(2)} standard deviations`;
  return [{ what: "embedding", test: "mean_shift", ...found, isDrift: false, text }];
}

function unknownCandidate({ answers, model: { unknown } }: DriftInput): Candidate[] {
  const scores = answers.flatMap(({ outlierScore }) => outlierScore ?? []);
  if (unknown === null || scores.length < fewestAnswers) return [];
  const count = scores.filter((score) => score > unknown.above).length;
  const found = chiSquareOfCounts([count, scores.length - count], [unknown.count, unknown.of - unknown.count]);
  const [before, now] = [unknown.count / unknown.of, count / scores.length];
  const text = `the share of pictures that are like none of the training ${now > before ? "rose" : "fell"} from ${percent(before)} to ${percent(now)}`;
  // It does no harm that there are fewer.
  return [{ what: "unknown", test: "chi_square", ...found, pValue: now > before ? found.pValue : 1, isDrift: false, text }];
}

/** Which way most of it moved: by the median, or by the quantile that moved most where that stayed. */
function describeMove(what: string, { quantiles, standardDeviation }: Distribution, values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = quantileLevels.indexOf(0.5);
  const moves = quantileLevels.map((level, i) => quantile(sorted, level) - (quantiles[i] as number));
  const largest = moves.reduce((best, move, i) => (Math.abs(move) > Math.abs(moves[best] as number) ? i : best), middle);
  const at = Math.abs(moves[middle] as number) >= standardDeviation / 10 ? middle : largest;
  const [before, now] = [quantiles[at] as number, quantile(sorted, quantileLevels[at] as number)];
  const which = at === middle ? "" : ` (${100 * (quantileLevels[at] as number)} % of the pictures lie below)`;
  return `${what} ${now > before ? "rose" : "fell"} from ${before.toPrecision(2)} to ${now.toPrecision(2)}${which}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
