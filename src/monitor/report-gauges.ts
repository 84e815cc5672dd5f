import { setTimeout as delay } from "node:timers/promises";
import { Gauge, type Registry } from "prom-client";
import type { Accuracy } from "./accuracy.ts";
import { verdicts } from "./drift.ts";
import type { MonitorReport } from "./report.ts";

/** A scrape does not wait longer for a report: Prometheus has a limit as well. */
const patienceMs = 2000;

/** Gauges of the monitor's report. Resolves when they hold a new one, or after two seconds; what the report does not know has no value. */
export function reportGauges(registers: Registry[], report: () => Promise<MonitorReport>): () => Promise<void> {
  const gauge = (name: string, help: string, labelNames: readonly string[] = []): Gauge => new Gauge({ name, help, labelNames, registers });
  const drift = gauge("serval_drift", "1 for the verdict on the last answers, 0 for the others.", ["verdict"]);
  const answers = gauge("serval_monitor_answers", "Answers in the window that the monitor looks at.");
  const bounds = ["bound"];
  const live = gauge("serval_live_accuracy", "Share of correct answers among those with feedback, with its 95 % interval.", bounds);
  const feedback = gauge("serval_live_accuracy_answers", "Answers in the window with feedback.");
  const alarm = gauge("serval_live_accuracy_alarm", "1 where the live accuracy is below that of the validation split beyond doubt.");
  const estimated = gauge(
    "serval_estimated_accuracy",
    "Accuracy that the confidence of the answers lets expect, with its interval.",
    bounds,
  );
  const trusted = gauge("serval_estimated_accuracy_trusted", "1 where the estimate can be relied on.");
  const validated = gauge("serval_reference_accuracy", "Accuracy on the validation split, with its 95 % interval.", bounds);
  const unknown = gauge("serval_unknown_share", "Share of the answers whose picture is like none of the training.");
  const abstained = gauge("serval_abstained_share", "Share of the answers without a label.");
  const input = gauge("serval_input_median", "Median of a statistic of the pictures, in the window and in the reference.", [
    "statistic",
    "of",
  ]);
  const label = gauge("serval_label_share", "Share of a label among the answers, in the window and in the reference.", ["label", "of"]);
  const show = (found: MonitorReport): void => {
    for (const verdict of verdicts) drift.set({ verdict }, verdict === found.drift.verdict ? 1 : 0);
    answers.set(found.window.n);
    setBounds(live, found.liveAccuracy.estimate === null ? null : { ...found.liveAccuracy, estimate: found.liveAccuracy.estimate });
    feedback.set(found.liveAccuracy.n);
    alarm.set(found.liveAccuracy.alarm ? 1 : 0);
    setBounds(estimated, found.estimatedAccuracy);
    setOrClear(trusted, {}, found.estimatedAccuracy && Number(found.estimatedAccuracy.trusted));
    const { reference } = found;
    setBounds(validated, reference && { estimate: reference.accuracy, low: reference.low, high: reference.high });
    setOrClear(unknown, {}, found.unknownShare);
    setOrClear(abstained, {}, found.abstainedShare);
    for (const [gauge, name, compared] of [
      [input, "statistic", found.inputs],
      [label, "label", found.labels],
    ] as const) {
      gauge.reset();
      for (const [key, values] of Object.entries(compared)) {
        for (const side of ["window", "reference"] as const) setOrClear(gauge, { [name]: key, of: side }, values[side]);
      }
    }
  };
  // Until the first report: no verdict, and no value of what is not known.
  for (const verdict of verdicts) drift.set({ verdict }, 0);
  for (const unset of [trusted, unknown, abstained]) unset.remove({});
  const up = gauge("serval_monitor_up", "1 where the stored predictions could be read; with 0 the gauges of the monitor are older.");
  return async () => {
    const found = await Promise.race([report().catch(() => undefined), delay(patienceMs, undefined, { ref: false })]);
    if (found !== undefined) show(found);
    up.set(found === undefined ? 0 : 1);
  };
}

/** An accuracy and its interval as three series; none where it is not known. */
function setBounds(gauge: Gauge, accuracy: Accuracy | null): void {
  for (const bound of ["estimate", "low", "high"] as const) setOrClear(gauge, { bound }, accuracy && accuracy[bound]);
}

function setOrClear(gauge: Gauge, labels: Readonly<Record<string, string>>, value: number | null): void {
  if (value === null) gauge.remove(labels);
  else gauge.set(labels, value);
}
