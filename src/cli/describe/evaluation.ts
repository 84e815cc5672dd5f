import { describeCautions } from "../../evaluate/cautions.ts";
import type { Metrics } from "../../evaluate/metrics.ts";
import { shortDigest } from "../../model/bundle.ts";
import { percent } from "../../text.ts";
import { formatDuration } from "../../workflows/format-duration.ts";
import type { EvaluateReport } from "../../workflows/model/evaluate-model.ts";

/** What `serval evaluate` prints. */
export function describeEvaluation(report: EvaluateReport): string {
  const { metrics, model, data, answered, skipped, look } = report;
  const count = metrics.count.toLocaleString("en-US");
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
  lines.push("", ...classTable(metrics), "");
  if (skipped.length > 0) {
    const examples = skipped.slice(0, 3).map(({ name, message }) => `  ${name}: ${message}`);
    lines.push(`${skipped.length} files are no images and were skipped:`, ...examples, "");
  }
  if (report.cautions.length > 0) lines.push(...describeCautions(report.cautions), "");
  lines.push(`Written to ${report.out}/: ${report.files.join(", ")}.`);
  if (look?.added) lines.push(`This look at the test split is recorded in ${look.path}.`);
  else if (look) lines.push(`The test split was looked at with this model before; ${look.path} has it:`, look.line);
  return lines.join("\n");
}

function classTable(metrics: Metrics): string[] {
  const rows = [
    ["class", "images", "precision", "recall", "F1", "ROC-AUC"],
    ...metrics.perClass.map((item) => [
      item.label,
      item.support.toLocaleString("en-US"),
      item.precision.toFixed(4),
      item.recall.toFixed(4),
      item.f1.toFixed(4),
      area(item.rocAuc),
    ]),
    ["macro average", "", metrics.macroPrecision.toFixed(4), metrics.macroRecall.toFixed(4), metrics.macroF1.toFixed(4), ""],
  ];
  const widths = (rows[0] as string[]).map((_, c) => Math.max(...rows.map((row) => (row[c] as string).length)));
  return rows.map((row) =>
    `  ${row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c] as number) : cell.padStart(widths[c] as number))).join("  ")}`.trimEnd(),
  );
}

function area(value: number | null): string {
  return value === null ? "not defined" : value.toFixed(4);
}
