import type { PredictionStore } from "../predictions/prediction-store.ts";
import { monitoredAnswer, type MonitoredAnswer } from "./answer.ts";
import type { MonitoredModel } from "./monitored-model.ts";
import { windowAnswers, windowMs } from "./report.ts";

/** The answers of a model in the window that ends at `nowMs`. Throws what the store throws. */
export async function readWindow(store: PredictionStore, { version, manifest }: MonitoredModel, nowMs: number): Promise<MonitoredAnswer[]> {
  const [sinceMs, untilMs] = [nowMs - windowMs, nowMs];
  const rows = await store.latest({ modelName: manifest.name, modelVersion: version, sinceMs, untilMs, most: windowAnswers });
  return rows.map((row) => monitoredAnswer(row));
}
