import type { PredictionStore, StoredPrediction } from "../predictions/prediction-store.ts";
import type { AnswerPlace, ClosedWindow, WindowOf } from "../predictions/window-store.ts";
import { monitoredAnswer } from "./answer.ts";
import type { MonitoredModel } from "./monitored-model.ts";
import { monitorWindow, windowAnswers, windowMs } from "./report.ts";

/** Predictions are stored some time after they were answered: a window that time closes waits for them. */
const lateMs = 60_000;
const beginning: AnswerPlace = { atMs: -1, requestId: "" };

/**
 * Closes the next window of the model's answers where it is over: 1,000 answers, or 24 hours after its first one. Undefined where there
 * is none, or where another replica was first. `final`: the model answers no more, so what there is makes the last window. Throws what the
 * store throws.
 */
export async function closeNextWindow(
  store: PredictionStore,
  model: MonitoredModel,
  { nowMs, final = false }: { readonly nowMs: number; readonly final?: boolean },
): Promise<ClosedWindow | undefined> {
  const of: WindowOf = { modelName: model.manifest.name, modelVersion: model.version };
  const before = await store.windows.newest(of);
  const rows = await store.after(of, before?.last ?? beginning, windowAnswers);
  const inside = overRows(rows, final ? Infinity : nowMs);
  const [first, last] = [inside[0], inside.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const report = monitorWindow(
    inside.map((row) => monitoredAnswer(row)),
    model,
  );
  const window: ClosedWindow = {
    ...of,
    number: (before?.number ?? 0) + 1,
    fromMs: first.atMs,
    last: { atMs: last.atMs, requestId: last.requestId },
    report: JSON.stringify(report),
  };
  return (await store.windows.close(window, nowMs)) ? window : undefined;
}

/** Those of a window that is over; empty where it is not. */
function overRows(rows: readonly StoredPrediction[], nowMs: number): readonly StoredPrediction[] {
  const [first] = rows;
  if (first === undefined) return [];
  const inside = rows.filter(({ atMs }) => atMs < first.atMs + windowMs);
  const isOver = inside.length === windowAnswers || nowMs >= first.atMs + windowMs + lateMs;
  return isOver ? inside : [];
}
