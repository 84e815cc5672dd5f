import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { closeNextWindow } from "../../../src/monitor/close-window.ts";
import { logWindow } from "../../../src/monitor/log-window.ts";
import type { MonitoredModel } from "../../../src/monitor/monitored-model.ts";
import type { MonitorReport } from "../../../src/monitor/report.ts";
import { SqliteStore } from "../../../src/predictions/sqlite-store.ts";
import { createTrackingClient } from "../../../src/tracking/client/tracking-client.ts";
import { loggedPrediction } from "../../helpers/logged-prediction.ts";
import { post, startTracking } from "../../helpers/tracking-server.ts";

const model: MonitoredModel = {
  version: "1",
  manifest: { name: "colours", labels: ["blue", "red"], metrics: {}, reference: {} },
  embeddings: null,
  unknown: null,
};
const start = Date.parse("2026-11-30T00:00:00Z");
const day = 86_400_000;

let store: SqliteStore;
beforeEach(async () => {
  const dir = await mkdtemp(join(tmpdir(), "serval-windows-"));
  store = new SqliteStore(join(dir, "predictions.db"));
  onTestFinished(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
});

/** `count` answers, one a minute from the given minute on. */
async function answer(count: number, fromMinute = 0, modelVersion = "1"): Promise<void> {
  const at = (i: number): number => start + (fromMinute + i) * 60_000;
  await store.addPredictions(
    Array.from({ length: count }, (_, i) => loggedPrediction(`${modelVersion}-${fromMinute + i}`, { atMs: at(i), modelVersion })),
  );
}

const sizes = (window: { readonly report: string } | undefined): number | undefined =>
  window && (JSON.parse(window.report) as MonitorReport).window.n;

test("a window is closed by its thousandth answer, and the next begins with the one after it", async () => {
  await answer(999);
  expect(await closeNextWindow(store, model, { nowMs: start + 1000 * 60_000 })).toBeUndefined();
  await answer(300, 999);
  const first = await closeNextWindow(store, model, { nowMs: start + 1300 * 60_000 });
  expect(first).toMatchObject({ number: 1, fromMs: start, last: { requestId: "1-999" } });
  expect(sizes(first)).toBe(1000);
  expect(await closeNextWindow(store, model, { nowMs: start + 1300 * 60_000 })).toBeUndefined();
});

test("a window is closed 24 hours after its first answer, a minute later for those that are stored late", async () => {
  await answer(7);
  expect(await closeNextWindow(store, model, { nowMs: start + day + 59_000 })).toBeUndefined();
  await answer(5, 2000);
  const window = await closeNextWindow(store, model, { nowMs: start + day + 60_000 });
  expect(sizes(window)).toBe(7);
  const next = await closeNextWindow(store, model, { nowMs: start + 2000 * 60_000 + day + 60_000 });
  expect(next).toMatchObject({ number: 2, fromMs: start + 2000 * 60_000 });
  expect(sizes(next)).toBe(5);
});

test("of two replicas that close the same window, one does", async () => {
  await answer(1000);
  const nowMs = start + day;
  const closed = await Promise.all([closeNextWindow(store, model, { nowMs }), closeNextWindow(store, model, { nowMs })]);
  expect(closed.filter((window) => window !== undefined)).toHaveLength(1);
});

test("a model that answers no more has what it answered last closed at once; answers of other versions do not count", async () => {
  await answer(20);
  await answer(30, 20, "2");
  const window = await closeNextWindow(store, model, { nowMs: start + 60 * 60_000, final: true });
  expect(sizes(window)).toBe(20);
  expect(await closeNextWindow(store, model, { nowMs: start + 60 * 60_000, final: true })).toBeUndefined();
});

test("a window that was taken and not logged is taken again, when that is long ago; a logged one is not", async () => {
  await answer(1000);
  const nowMs = start + day;
  const window = await closeNextWindow(store, model, { nowMs });
  expect(await store.windows.take(nowMs - 1, nowMs)).toBeUndefined();
  expect(await store.windows.take(nowMs + 1, nowMs + 2)).toEqual(window);
  await store.windows.logged(window!, "run");
  expect(await store.windows.take(nowMs + 10, nowMs + 10)).toBeUndefined();
});

test("old windows are removed with their predictions, but the newest stays, so that numbers go on from it", async () => {
  await answer(2000);
  await closeNextWindow(store, model, { nowMs: start });
  await closeNextWindow(store, model, { nowMs: start });
  await store.removeBefore(start + 10 * day, 5000);
  expect(await store.windows.newest({ modelName: "colours", modelVersion: "1" })).toMatchObject({ number: 2 });
  await answer(1000, 3000);
  expect(await closeNextWindow(store, model, { nowMs: start })).toMatchObject({ number: 3 });
});

test("a window is one finished run of the experiment NAME-live, with the numbers of its report; a second attempt completes the same run", async () => {
  const { url } = await startTracking();
  const tracking = createTrackingClient(url);
  await answer(1000);
  await store.addFeedback("1-0", "red", null, start);
  await store.addFeedback("1-1", "blue", null, start);
  const window = await closeNextWindow(store, model, { nowMs: start + day });
  const runId = await logWindow(tracking, window!);
  expect(await logWindow(tracking, window!)).toBe(runId);
  const experimentId = await tracking.ensureExperiment("colours-live");
  const { body } = await post(url, "runs/search", { experiment_ids: [experimentId] });
  expect(body.runs).toHaveLength(1);
  const [{ info, data }] = body.runs;
  expect(info).toMatchObject({
    status: "FINISHED",
    start_time: start,
    end_time: start + 999 * 60_000,
    run_name: "1 window 1: no_reference",
  });
  const metrics = Object.fromEntries(data.metrics.map(({ key, value }: { key: string; value: number }) => [key, value]));
  expect(metrics).toMatchObject({
    answers: 1000,
    live_accuracy: 0.5,
    live_accuracy_answers: 2,
    "label_share.red": 1,
    "input.sharpness": 0.125,
  });
});
