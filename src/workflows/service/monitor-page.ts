import { ChartThread } from "../../charts/chart-thread.ts";
import { comparedHistograms } from "../../charts/compared-histograms.ts";
import { readReference, type Reference } from "../../model/reference.ts";
import type { Accuracy } from "../../monitor/accuracy.ts";
import type { MonitoredAnswer } from "../../monitor/answer.ts";
import { imageStatisticNames, type Verdict } from "../../monitor/drift.ts";
import type { MonitoredModel } from "../../monitor/monitored-model.ts";
import type { MonitorReport } from "../../monitor/report.ts";
import { describeDistribution, type Distribution } from "../../statistics/distribution.ts";
import { escapeHtml, percent, thousands } from "../../text.ts";

const headlines: Readonly<Record<Verdict, string>> = {
  ok: "Pictures and answers are like those of the training.",
  changed: "Pictures or answers have changed, not so much that it should cost accuracy.",
  drift: "Drift: look into it.",
  too_few: "Too few answers to compare.",
  no_reference: "The bundle of this model has no reference to compare with.",
};

/** The report as one HTML file with its pictures inside: nothing is loaded from elsewhere, and nothing in it runs. */
export async function monitorPage(
  report: MonitorReport,
  answers: readonly MonitoredAnswer[],
  manifest: MonitoredModel["manifest"],
  signal?: AbortSignal,
): Promise<string> {
  const reference = readReference(manifest);
  const pictures = reference === undefined || answers.length === 0 ? [] : await drawPictures(answers, reference, signal);
  const { model, window, drift } = report;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(model.name)}: monitor</title>
<style>${style}</style>
</head>
<body class="${drift.verdict}">
<header>
<h1>${escapeHtml(model.name)} <small>${escapeHtml(model.version)}</small></h1>
<p class="verdict">${headlines[drift.verdict]}</p>
${report.liveAccuracy.alarm ? `<p class="alarm">The live accuracy is low: its whole interval is below that of the validation split.</p>` : ""}
<p>${thousands(window.n)} answers${window.from === null ? "" : `, ${window.from} to ${String(window.to)}`}</p>
${drift.findings.length === 0 ? "" : `<ul>${drift.findings.map(({ text, severity }) => `<li class="${severity}">${escapeHtml(text)}</li>`).join("")}</ul>`}
</header>
<h2>Accuracy</h2>
${accuracyTable(report)}
<h2>Answers</h2>
${labelTable(report)}
${pictures.length === 0 ? "" : `<h2>Pictures and confidence</h2>\n<div class="pictures">${pictures.join("\n")}</div>`}
</body>
</html>
`;
}

async function drawPictures(answers: readonly MonitoredAnswer[], reference: Reference, signal?: AbortSignal): Promise<string[]> {
  const seen = answers.flatMap(({ statistics }) => statistics ?? []);
  const pairs: [string, Distribution, number[]][] = [
    ["confidence", reference.answers.confidence, answers.map(({ confidence }) => confidence)],
    ...imageStatisticNames.map((name): [string, Distribution, number[]] => [
      name,
      reference.images[name],
      seen.map((statistics) => statistics[name]),
    ]),
  ];
  const thread = new ChartThread();
  try {
    const pictures: string[] = [];
    for (const [title, { histogram }, values] of pairs) {
      const { low, high, counts } = histogram;
      const window = describeDistribution(values, [low, high]).histogram.counts;
      const svg = await thread.svg(comparedHistograms({ title, low, high, reference: counts, window }), signal);
      pictures.push(`<figure role="img" aria-label="${title}: in training and now">${svg}</figure>`);
    }
    return pictures;
  } finally {
    thread.close();
  }
}

function accuracyTable({ liveAccuracy: live, estimatedAccuracy: estimated, reference }: MonitorReport): string {
  const row = (name: string, accuracy: Accuracy | null, remark: string): string =>
    `<tr><th>${escapeHtml(name)}</th><td>${accuracy ? percent(accuracy.estimate, 1) : "–"}</td><td>${
      accuracy ? `${percent(accuracy.low, 1)} to ${percent(accuracy.high, 1)}` : ""
    }</td><td>${remark}</td></tr>`;
  return `<table>
<tr><th></th><th>accuracy</th><th>95 % interval</th><th></th></tr>
${row("live", live.estimate === null ? null : { ...live, estimate: live.estimate }, `${thousands(live.n)} answers with feedback`)}
${Object.entries(live.byLabel)
  .map(([label, own]) => row(`of ${label}`, own, `${thousands(own.n)} answers with feedback`))
  .join("\n")}
${row("estimated", estimated, estimated?.trusted === false ? "not to be trusted" : "from the confidence, without feedback")}
${row("validation", reference && { ...reference, estimate: reference.accuracy }, "when it was trained")}
</table>`;
}

function labelTable({ labels, unknownShare, abstainedShare }: MonitorReport): string {
  const cell = (value: number | null): string => (value === null ? "–" : percent(value, 1));
  const rows = Object.entries(labels).map(
    ([label, { window, reference }]) => `<tr><th>${escapeHtml(label)}</th><td>${cell(window)}</td><td>${cell(reference)}</td></tr>`,
  );
  return `<table>
<tr><th>share of the answers</th><th>now</th><th>in training</th></tr>
${rows.join("\n")}
<tr><th>without a label</th><td>${cell(abstainedShare)}</td><td></td></tr>
<tr><th>unlike all training pictures</th><td>${cell(unknownShare)}</td><td></td></tr>
</table>`;
}

const style = `
:root { color-scheme: light dark; --ink: #1f2933; --paper: #fff; --line: #d8dee6; --good: #00795a; --warn: #9a5b00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ecf2; --paper: #14191f; --line: #36404b; --good: #4cc79f; --warn: #f0b429; --bad: #ff8a80; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 small { font-weight: normal; font-size: 1rem; }
.verdict { font-size: 1.25rem; font-weight: 600; border-left: .4rem solid var(--good); padding-left: .8rem; }
.changed .verdict { border-color: var(--warn); } .drift .verdict { border-color: var(--bad); } .too_few .verdict, .no_reference .verdict { border-color: var(--line); }
li.drift, .alarm { color: var(--bad); font-weight: 600; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); } figure { margin: 0; background: #fff; border-radius: .5rem; overflow: hidden; } figure svg { width: 100%; height: auto; display: block; }
`;
