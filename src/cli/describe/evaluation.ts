import { worstConfusions } from "../../charts/worst-confusions.ts";
import { describeCautions } from "../../evaluate/cautions.ts";
import type { Metrics } from "../../evaluate/metrics.ts";
import { shortDigest } from "../../model/bundle.ts";
import { percent, thousands } from "../../text.ts";
import { formatDuration } from "../../workflows/format-duration.ts";
import type { EvaluateReport } from "../../workflows/model/evaluate-model.ts";

/** What `serval evaluate` prints. */
export function describeEvaluation(report: EvaluateReport): string {
  const { metrics, model, data, answered, skipped, look } = report;
  const count = thousands(metrics.count);
  const on = "split" in data ? `the ${data.split} split of data ${data.version.slice(0, 12)}` : data.source;
  const [low, high] = metrics.accuracyInterval;
  const lines = [
    `${model.name} ${shortDigest(model)} on ${on}: ${count} images in ${formatDuration(report.seconds)}`,
    "",
    `  accuracy  ${percent(metrics.accuracy, 2)}   (95 % interval ${percent(low, 2)} to ${percent(high, 2)})`,
    `  loss      ${metrics.loss.toFixed(4)}`,
    `  ROC-AUC   ${area(metrics.rocAuc)}`,
    `  ECE       ${percent(metrics.ece, 2)}`,
  ];
  if (answered && answered.abstainBelow > 0) {
    const accuracy = answered.accuracy === null ? "" : `, ${percent(answered.accuracy, 2)} of those right`;
    lines.push(`  answered  ${percent(answered.share, 2)}${accuracy}   (confidence of ${answered.abstainBelow.toFixed(4)} or more)`);
  }
  lines.push("", ...classTable(metrics), ...confusionList(metrics), "");
  if (skipped.length > 0) {
    const examples = skipped.slice(0, 3).map(({ name, message }) => `  ${name}: ${message}`);
    lines.push(`${skipped.length} files are not images and were skipped:`, ...examples, "");
  }
  if (report.cautions.length > 0) lines.push(...describeCautions(report.cautions), "");
  lines.push(`Written to ${report.out}/: ${report.files.join(", ")}.`);
  if (look?.added) lines.push(`This look at the test split is recorded in ${look.path}.`);
  else if (look) lines.push(`The test split was looked at with this model before; ${look.path} has it:`, look.line);
  return lines.join("\n");
}

/** With more classes than this, the table has only those with the lowest F1. */
const mostClasses = 50;
const fewClasses = 20;

/** The pairs that were confused most often, where there are too many classes to read them off the picture. */
function confusionList({ perClass, confusion }: Metrics): string[] {
  if (perClass.length <= mostClasses) return [];
  const label = (k: number): string => perClass[k]?.label ?? "";
  const pairs = worstConfusions(confusion, fewClasses).map(
    ({ truth, predicted, count, of }) => `  ${label(truth)} mistaken for ${label(predicted)}: ${thousands(count)} of ${thousands(of)}`,
  );
  return pairs.length === 0 ? [] : ["", "worst confusions:", ...pairs];
}

function classTable(metrics: Metrics): string[] {
  const { perClass } = metrics;
  const many = perClass.length > mostClasses;
  const shown = many ? perClass.toSorted((a, b) => a.f1 - b.f1).slice(0, fewClasses) : perClass;
  const rows = [
    ["class", "images", "precision", "recall", "F1", "ROC-AUC"],
    ...shown.map((item) => [
      item.label,
      thousands(item.support),
      item.precision.toFixed(4),
      item.recall.toFixed(4),
      item.f1.toFixed(4),
      area(item.rocAuc),
    ]),
    ["macro average", "", metrics.macroPrecision.toFixed(4), metrics.macroRecall.toFixed(4), metrics.macroF1.toFixed(4), ""],
  ];
  const widths = (rows[0] as string[]).map((_, c) => Math.max(...rows.map((row) => (row[c] as string).length)));
  const table = rows.map((row) =>
    `  ${row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c] as number) : cell.padStart(widths[c] as number))).join("  ")}`.trimEnd(),
  );
  return many ? [`The ${fewClasses} of ${thousands(perClass.length)} classes with the lowest F1; metrics.json has all:`, ...table] : table;
}

function area(value: number | null): string {
  return value === null ? "not defined" : value.toFixed(4);
}
