import type { ClosedWindow } from "../predictions/window-store.ts";
import type { TrackingClient } from "../tracking/client/tracking-client.ts";
import { verdicts } from "./drift.ts";
import type { MonitorReport } from "./report.ts";

/** Name of the experiment of a model's windows. */
function liveExperiment(modelName: string): string {
  return `${modelName}-live`;
}

/** Says which window a run is of. */
const windowTag = "serval.window";

/**
 * Logs a closed window as a finished run of the experiment NAME-live, and resolves to its id. Where an earlier attempt had made the run
 * and then failed, that one is completed. Throws what the tracking server answers.
 */
export async function logWindow(tracking: TrackingClient, window: ClosedWindow): Promise<string> {
  const { modelName, modelVersion, number, fromMs, last } = window;
  const report = JSON.parse(window.report) as MonitorReport;
  const experimentId = await tracking.ensureExperiment(liveExperiment(modelName));
  const tag = { key: windowTag, value: `${modelVersion}/${number}/${fromMs}` };
  const known = await tracking.findRun(experimentId, tag);
  const name = `${modelVersion} window ${number}: ${report.drift.verdict}`;
  const { runId } = known ?? (await tracking.createRun({ experimentId, name, startTime: fromMs, tags: [tag] }));
  await tracking.logBatch(runId, {
    metrics: windowMetrics(report).map(([key, value]) => ({ key, value, timestamp: last.atMs, step: number })),
    params: [
      { key: "model.name", value: modelName },
      { key: "model.version", value: modelVersion },
    ],
    tags: [
      { key: "serval.verdict", value: report.drift.verdict },
      { key: "mlflow.note.content", value: describe(report) },
    ],
  });
  await tracking.updateRun(runId, "FINISHED", last.atMs);
  return runId;
}

/** The numbers of a report that are there; the verdict as 0 ok, 1 changed, 2 drift. */
function windowMetrics(report: MonitorReport): [key: string, value: number][] {
  const { liveAccuracy: live, estimatedAccuracy: estimated, reference, inputs, labels } = report;
  const all: [string, number | null | undefined][] = [
    ["answers", report.window.n],
    ["drift", verdicts.indexOf(report.drift.verdict) <= 2 ? verdicts.indexOf(report.drift.verdict) : null],
    ["live_accuracy", live.estimate],
    ["live_accuracy_low", live.estimate === null ? null : live.low],
    ["live_accuracy_high", live.estimate === null ? null : live.high],
    ["live_accuracy_answers", live.n],
    ["estimated_accuracy", estimated?.estimate],
    ["estimated_accuracy_low", estimated?.low],
    ["estimated_accuracy_high", estimated?.high],
    ["validation_accuracy", reference?.accuracy],
    ["unknown_share", report.unknownShare],
    ["abstained_share", report.abstainedShare],
    ...Object.entries(inputs).map(([key, { window }]): [string, number | null] => [`input.${key}`, window]),
    // MLflow's names of metrics take letters, digits and few signs.
    ...Object.entries(labels).map(([label, { window }], k): [string, number | null] => [
      `label_share.${/^[\w .-]+$/.test(label) ? label : `class ${k}`}`,
      window,
    ]),
  ];
  return all.flatMap(([key, value]) => (value === null || value === undefined ? [] : [[key, value]]));
}

/** What MLflow's pages show above the run, as Markdown. */
function describe({ window, drift, liveAccuracy: live }: MonitorReport): string {
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const accuracy =
    live.estimate === null
      ? "No feedback."
      : `Live accuracy ${percent(live.estimate)} (${percent(live.low)} to ${percent(live.high)}) of ${live.n} answers with feedback.`;
  return [
    `**${drift.verdict}**: ${window.n} answers, ${String(window.from)} to ${String(window.to)}. ${accuracy}`,
    ...drift.findings.map(({ text }) => `- ${text}`),
  ].join("\n");
}
