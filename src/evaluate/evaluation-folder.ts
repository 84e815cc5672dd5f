import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Chart } from "../charts/chart.ts";
import { confusionMatrix } from "../charts/confusion-matrix.ts";
import { reliabilityDiagram } from "../charts/reliability-diagram.ts";
import { mostCurves, rocCurves, type RocSeries } from "../charts/roc-curves.ts";
import type { CurvePoint } from "../charts/curve-point.ts";
import { trainingCurves } from "../charts/training-curves.ts";
import { writeFileAtomic } from "../files.ts";
import { describeBestEpoch, type EpochFigures, type EpochSelection } from "./best-epoch.ts";
import { percent } from "../text.ts";
import { calibrationCurve } from "./calibration.ts";
import { writeCharts } from "./chart-files.ts";
import { contactSheetJpeg } from "./contact-sheet.ts";
import type { Evaluation } from "./evaluate.ts";
import { answeredPart, classScores, topLabels, type Metrics } from "./metrics.ts";
import { rocCurve } from "./roc.ts";

/** What was evaluated: the first lines of metrics.json. */
export interface EvaluationSubject {
  readonly model: { readonly name: string; readonly digest: string };
  /** A split of the prepared data, or a separate source. */
  readonly data: { readonly version: string; readonly split: string } | { readonly source: string };
  /** Below this confidence the service says that it does not know; null never does. */
  readonly abstainBelow: number | null;
  /** The run's epochs, where they are known. */
  readonly epochs?: readonly (CurvePoint & EpochFigures)[];
  /** What made an epoch of this run the best one. */
  readonly select?: EpochSelection | undefined;
}

/**
 * Writes an evaluation folder: metrics.json, predictions.jsonl, confusion-matrix, roc, reliability and curves as PNG and
 * SVG, mistakes.jpg. What does not apply (no mistakes, no ROC, no known run) is removed, so that nothing stays from
 * an earlier evaluation. metrics.json comes last: where it is there, the others are those of the same model. Returns the names of the files. A pure function of its inputs: no time, no host. Throws the signal's reason.
 */
export async function writeEvaluation(
  dir: string,
  evaluation: Evaluation,
  subject: EvaluationSubject,
  signal?: AbortSignal,
): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  const { labels, metrics } = evaluation;
  const written = ["metrics.json", "predictions.jsonl"];
  await rm(join(dir, "metrics.json"), { force: true });
  await writeFileAtomic(join(dir, "predictions.jsonl"), predictionTexts(evaluation));
  signal?.throwIfAborted();

  const roc = rocSeries(evaluation);
  const { confidence, correct } = topLabels(evaluation.truth, evaluation.probabilities, labels.length);
  const charts = {
    "confusion-matrix": confusionMatrix(labels, metrics.confusion),
    roc: roc.some(({ area }) => area !== null) ? rocCurves(roc) : undefined,
    reliability: reliabilityDiagram(calibrationCurve(confidence, correct), metrics.ece),
    curves: drawCurves(subject),
  };
  written.push(...(await writeCharts(dir, charts, signal)));

  const sheet = "mistakes.jpg";
  if (evaluation.mistakes.length === 0) await rm(join(dir, sheet), { force: true });
  else {
    await writeFileAtomic(join(dir, sheet), await mistakesSheet(evaluation));
    written.push(sheet);
  }
  await writeFileAtomic(join(dir, "metrics.json"), `${JSON.stringify(metricsDocument(evaluation, subject), null, 2)}\n`);
  return written;
}

function drawCurves({ epochs = [], select }: EvaluationSubject): Chart | undefined {
  return epochs.length === 0 ? undefined : trainingCurves(epochs, describeBestEpoch(epochs, select));
}

/** metrics.json. */
function metricsDocument(evaluation: Evaluation, subject: EvaluationSubject): Record<string, unknown> {
  const answered = answeredPart(evaluation, subject.abstainBelow);
  return {
    model: subject.model,
    data: subject.data,
    ...evaluation.metrics,
    ...(answered === undefined ? {} : { answered }),
    ...(evaluation.skipped.length === 0 ? {} : { skipped: evaluation.skipped.length }),
  } satisfies Partial<Metrics> & Record<string, unknown>;
}

/** One line for each image, in the order of the rows: sha256, label, predicted, confidence, probabilities by label. */
export function formatPredictions(evaluation: Evaluation): string {
  return [...predictionTexts(evaluation)].join("");
}

/** The same in pieces of many lines: with many classes the whole of it may be longer than a text can be. */
function* predictionTexts({ labels, sha256, truth, probabilities }: Evaluation): Generator<string> {
  const { predicted, confidence } = topLabels(truth, probabilities, labels.length);
  let text = "";
  for (const [row, hash] of sha256.entries()) {
    const answer = labels.map((label, k) => [label, exact(probabilities[row * labels.length + k] as number)] as const);
    const line = JSON.stringify({
      sha256: hash,
      label: labels[truth[row] as number],
      predicted: labels[predicted[row] as number],
      confidence: exact(confidence[row] as number),
      probabilities: Object.fromEntries(answer),
    });
    text += `${line}\n`;
    if (text.length < 1e6) continue;
    yield text;
    text = "";
  }
  yield text;
}

/** Nine digits are enough to get the same float32 back. */
function exact(probability: number): number {
  return Number(probability.toPrecision(9));
}

/** Two classes have one curve, that of the last class; more have one each. Those that are not drawn, because others are worse, have no points. */
function rocSeries({ labels, truth, probabilities, metrics }: Evaluation): RocSeries[] {
  const areas = metrics.perClass.flatMap(({ rocAuc }) => rocAuc ?? []).sort((a, b) => a - b);
  const largestDrawn = areas[Math.min(areas.length, mostCurves) - 1] ?? 1;
  const series = metrics.perClass.map(({ label, rocAuc }, k): RocSeries => {
    if (rocAuc === null || rocAuc > largestDrawn) return { label, area: rocAuc, points: [] };
    const curve = rocCurve(
      classScores(probabilities, labels.length, k),
      Array.from(truth, (actual) => actual === k),
    );
    return { label, area: rocAuc, points: curve.map((point) => [point.falsePositiveRate, point.truePositiveRate] as const) };
  });
  return labels.length === 2 ? series.slice(1) : series;
}

async function mistakesSheet({ labels, metrics, mistakes }: Evaluation): Promise<Buffer> {
  const wrong = metrics.confusion.reduce((sum, row, k) => sum + row.reduce((a, b) => a + b, 0) - (row[k] as number), 0);
  const title =
    mistakes.length < wrong ? `The ${mistakes.length} worst of ${wrong.toLocaleString("en-US")} mistakes` : "All mistakes, worst first";
  return await contactSheetJpeg(
    mistakes.length === 1 ? "The only mistake" : title,
    `${wrong.toLocaleString("en-US")} of ${metrics.count.toLocaleString("en-US")} images wrong; first those whose true class the model thought least likely`,
    mistakes.map(({ sha256, pixels, width, height, truth, predicted, confidence }) => ({
      pixels,
      width,
      height,
      caption: [
        `is ${labels[truth]}`,
        `mistaken for ${labels[predicted]}`,
        `confidence ${percent(confidence)}`,
        `sha256 ${sha256.slice(0, 8)}…`,
      ],
    })),
  );
}
