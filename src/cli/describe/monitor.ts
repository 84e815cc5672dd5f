import type { Accuracy } from "../../monitor/accuracy.ts";
import { fewestAnswers, type Finding } from "../../monitor/drift.ts";
import type { MonitorReport } from "../../monitor/report.ts";
import { percent, thousands } from "../../text.ts";
import { renderTable } from "./table.ts";

/** What `serval monitor` prints. `page`: the file that was written beside it. */
export function describeMonitor(report: MonitorReport, page?: string): string {
  const { model, window, drift, reference } = report;
  const lines = [`${model.name} ${model.version}: ${describeWindow(report)}`];
  if (window.n === 0)
    return [...lines, "", "Send it some pictures, or name another --model: predictions of other versions do not count."].join("\n");
  lines.push("", `  ${verdictLine(report)}`, ...drift.findings.map((finding) => `    ${describeFinding(finding)}`));
  if (report.liveAccuracy.alarm)
    lines.push("", "  LIVE ACCURACY IS LOW, look into it: its whole interval is below that of the validation split.");
  lines.push("", renderTable(accuracyRows(report)), "", renderTable(shareRows(report)));
  if (reference === null) lines.push("", "The bundle of this model has no reference: train or release it again to compare what it sees.");
  if (page !== undefined) lines.push("", `Pictures: ${page}`);
  return lines.join("\n");
}

function describeWindow({ window }: MonitorReport): string {
  if (window.n === 0) return "no answers in the last 24 hours.";
  return `the last ${thousands(window.n)} answers, ${time(window.from)} to ${time(window.to)}`;
}

function time(iso: string | null): string {
  return (iso ?? "").replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

function verdictLine({ drift, window }: MonitorReport): string {
  if (drift.verdict === "too_few") return `too few answers to compare: ${window.n} of ${fewestAnswers}`;
  if (drift.verdict === "no_reference") return "nothing to compare with";
  if (drift.verdict === "ok") return "ok: pictures and answers are like those of the training";
  if (drift.verdict === "changed") return "changed, not so much that it should cost accuracy:";
  return "DRIFT, look into it:";
}

function describeFinding({ text, severity, adjustedPValue }: Finding): string {
  return `${severity === "drift" ? "!" : "-"} ${text}  (p ${adjustedPValue < 0.0001 ? "< 0.0001" : adjustedPValue.toFixed(4)})`;
}

function accuracyRows({ liveAccuracy: live, estimatedAccuracy: estimated, reference }: MonitorReport): string[][] {
  const row = (name: string, accuracy: Accuracy | null, remark: string): string[] =>
    accuracy === null
      ? [name, "-", "", remark]
      : [name, percent(accuracy.estimate, 1), `${percent(accuracy.low, 1)} to ${percent(accuracy.high, 1)}`, remark];
  const withFeedback = `${thousands(live.n)} answers with feedback${live.feedbackShare === null ? "" : `, ${percent(live.feedbackShare, 1)} of all`}`;
  return [
    ["accuracy", "", "95 % interval", ""],
    row("live", live.estimate === null ? null : { ...live, estimate: live.estimate }, withFeedback),
    ...Object.entries(live.byLabel).map(([label, own]) => row(`  of ${label}`, own, `${thousands(own.n)} answers`)),
    row(
      "estimated",
      estimated,
      estimated === null
        ? ""
        : estimated.trusted
          ? "from the confidence"
          : "not to be trusted: confidence fell too far, or too few answers",
    ),
    row("validation", reference && { ...reference, estimate: reference.accuracy }, "when it was trained"),
  ];
}

function shareRows({ inputs, labels, unknownShare, abstainedShare }: MonitorReport): string[][] {
  const cell = (value: number | null, show: (value: number) => string): string => (value === null ? "-" : show(value));
  return [
    ["", "now", "in training"],
    ...Object.entries(labels).map(([label, { window, reference }]) => [`answered ${label}`, cell(window, share), cell(reference, share)]),
    ["without a label", cell(abstainedShare, share), ""],
    ["unlike all training pictures", cell(unknownShare, share), ""],
    ...Object.entries(inputs).map(([name, { window, reference }]) => [`${name} (median)`, cell(window, decimal), cell(reference, decimal)]),
  ];
}

function share(value: number): string {
  return percent(value, 1);
}

function decimal(value: number): string {
  return value.toFixed(3);
}
