import { relative } from "node:path";
import { percent, thousands } from "../../text.ts";
import type { ScoreReport } from "../../workflows/scoring/score-pictures.ts";
import { renderTable } from "./table.ts";

/** More labels are in the file. */
const mostLabels = 20;

/** The summary of a scoring job, for a terminal. */
export function describeScores(report: ScoreReport, cwd: string): string {
  const { file, model, rows, answered, labels, rowsBefore } = report;
  const before =
    rowsBefore === 0 ? "" : rowsBefore === rows ? ", all of them before this run" : `, ${thousands(rowsBefore)} of them before this run`;
  const head = `${relative(cwd, file)}: ${thousands(rows)} rows by ${model.name} ${model.version}${before}.`;
  if (answered === 0) return [head, ...describeErrors(report)].join("\n");
  const shown = labels.slice(0, mostLabels);
  const table = renderTable([
    ["label", "pictures", "share", "mean confidence"],
    ...shown.map(({ label, count, meanConfidence }) => [label, String(count), percent(count / answered), percent(meanConfidence)]),
  ]);
  const rest = labels.length - shown.length;
  return [
    head,
    "",
    table,
    ...(rest > 0 ? [`and ${rest} more labels`] : []),
    "",
    ...describeAnswers(report),
    ...describeErrors(report),
  ].join("\n");
}

function describeAnswers(report: ScoreReport): string[] {
  const { answered, abstained, unknown, abstainBelow, knowsUnknown, meanConfidence, confidence } = report;
  const share = (from: number, to: number): string => percent(confidence.slice(from, to).reduce((sum, count) => sum + count, 0) / answered);
  const reasons = [
    ...(abstainBelow === null ? [] : [`${thousands(abstained - unknown)} with a confidence under ${percent(abstainBelow)}`]),
    ...(knowsUnknown ? [`${thousands(unknown)} like none of the training`] : []),
  ];
  return [
    `Confidence: ${percent(meanConfidence ?? 0)} on average; at least 90 % for ${share(9, 10)} of the answers, under 60 % for ${share(0, 6)}.`,
    ...(reasons.length > 0 ? [`Abstained: ${thousands(abstained)} of ${thousands(answered)} answers: ${reasons.join(", ")}.`] : []),
  ];
}

function describeErrors({ rows, errors }: ScoreReport): string[] {
  if (errors.length === 0) return [];
  const count = errors.reduce((sum, { count }) => sum + count, 0);
  return [
    `Errors: ${thousands(count)} of ${thousands(rows)} rows (${errors.map(({ code, count }) => `${code} ${thousands(count)}`).join(", ")}).`,
  ];
}
