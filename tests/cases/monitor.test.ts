import { readFile, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { computeReference } from "../../src/export/reference.ts";
import type { MonitorReport } from "../../src/monitor/report.ts";
import { SqliteStore } from "../../src/predictions/sqlite-store.ts";
import { loggedPrediction } from "../helpers/logged-prediction.ts";
import { runServal } from "../helpers/serval-process.ts";
import { getJson, predictForm, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture, type Colour } from "../helpers/tiny-bundle.ts";

/** Of a validation split that is half blue and half red. */
const spread = {
  mean: 0.5,
  standardDeviation: 0.2,
  quantiles: [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1],
  histogram: { low: 0, high: 1, counts: Array(20).fill(100) },
};
const reference = {
  formatVersion: 1,
  images: { count: 2000, brightness: spread, contrast: spread, sharpness: spread, saturation: spread },
  labels: { blue: 0.5, red: 0.5 },
  answers: { count: 2000, confidence: spread, predicted: { blue: 0.5, red: 0.5 } },
} satisfies ReturnType<typeof computeReference>;

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ bundle: { manifest: { reference: { ...reference } } } });
});
afterAll(async () => await service.close());

/** Answers of pictures, with feedback that is wrong for every tenth of them; resolves when all is stored. */
async function answer(colour: Colour, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { body } = await predictForm(service, await colourPicture(colour, i));
    const label = i % 10 === 0 ? (colour === "red" ? "blue" : "red") : colour;
    await fetch(`${service.url}/feedback`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ request_id: body.request_id, label }),
    });
  }
}

/** The value of each series of the monitor. */
async function gauges(): Promise<Map<string, number>> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  return new Map(
    text
      .split("\n")
      .flatMap((line) => /^(serval_\S+) (\S+)$/.exec(line)?.slice(1) ?? [])
      .reduce<[string, number][]>((pairs, item, i, all) => (i % 2 === 0 ? [...pairs, [item, Number(all[i + 1])]] : pairs), []),
  );
}

async function monitorVerb(
  ...flags: string[]
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const env = { SERVAL_PREDICTIONS_URL: join(service.root, "predictions.db") };
  return await runServal(service.root, ["monitor", "--model", "bundle", ...flags], env);
}

test("with five answers the verdict is too_few, and nothing alarms", async () => {
  await answer("red", 5);
  await expect.poll(async () => (await getJson(service, "/monitor")).body.window.n).toBe(5);
  const { body } = await getJson(service, "/monitor");
  expect(body.drift).toEqual({ verdict: "too_few", findings: [] });
  expect(body.liveAccuracy).toMatchObject({ n: 5, estimate: 0.8, alarm: false });
});

test("GET /monitor, serval monitor, and the gauges say the same", async () => {
  await answer("red", 55);
  await expect.poll(async () => (await getJson(service, "/monitor")).body.window.n).toBe(60);
  const report = (await getJson(service, "/monitor")).body as MonitorReport;
  expect(report.drift.verdict).toBe("drift");
  expect(report.drift.findings.map(({ what }) => what)).toContain("labels");
  expect(report.drift.findings.map(({ text }) => text)).toContain("the share of red rose from 50.0 % to 100.0 %");
  expect(report.reference).toMatchObject({ accuracy: 0.975, version: service.model.version });

  const verb = await monitorVerb("--json", "--html", "page.html");
  expect(verb).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(verb.stdout)).toEqual(report);

  const found = await gauges();
  const { liveAccuracy: live, estimatedAccuracy: estimated } = report;
  expect(found.get('serval_drift{verdict="drift"}')).toBe(1);
  expect(found.get('serval_drift{verdict="ok"}')).toBe(0);
  expect(found.get("serval_monitor_answers")).toBe(60);
  expect(found.get('serval_live_accuracy{bound="estimate"}')).toBe(live.estimate);
  expect(found.get('serval_live_accuracy{bound="low"}')).toBe(live.low);
  expect(found.get("serval_live_accuracy_answers")).toBe(live.n);
  expect(found.get('serval_estimated_accuracy{bound="estimate"}')).toBe(estimated?.estimate);
  expect(found.get('serval_label_share{label="red",of="window"}')).toBe(1);
  expect(found.get('serval_input_median{statistic="sharpness",of="reference"}')).toBe(0.5);
  expect(found.get("serval_monitor_up")).toBe(1);
});

test("the text says what changed, and the page holds the pictures and nothing from elsewhere", async () => {
  const { stdout } = await monitorVerb("--html", "page.html");
  expect(stdout).toContain("DRIFT");
  expect(stdout).toContain("the share of red rose from 50.0 % to 100.0 %");
  const page = await readFile(join(service.root, "page.html"), "utf8");
  expect(page.match(/<svg/g)).toHaveLength(5);
  expect(page).toContain("the share of red rose");
  expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
});

test("a window ends at the time that is asked for, holds at most 1,000 answers, and those of other versions do not count", async () => {
  const store = new SqliteStore(join(service.root, "other.db"));
  const at = Date.parse("2026-11-30T12:00:00Z");
  const own = { modelName: service.model.name, modelVersion: service.model.version };
  const rows = Array.from({ length: 1200 }, (_, i) => loggedPrediction(`own-${i}`, { ...own, atMs: at - i * 1000 }));
  const old = loggedPrediction("old", { ...own, atMs: at - 90_000_000 });
  const foreign = loggedPrediction("foreign", { modelVersion: "other", atMs: at });
  await store.addPredictions([...rows, old, foreign]);
  await store.close();
  const env = { SERVAL_PREDICTIONS_URL: join(service.root, "other.db") };
  const ask = async (until: string): Promise<MonitorReport> =>
    JSON.parse((await runServal(service.root, ["monitor", "--model", "bundle", "--json", "--until", until], env)).stdout) as MonitorReport;
  expect((await ask("2026-11-30T12:00:00Z")).window).toEqual({
    from: new Date(at - 999_000).toISOString(),
    to: new Date(at).toISOString(),
    n: 1000,
  });
  expect((await ask("2026-11-30T11:45:00Z")).window).toMatchObject({ to: "2026-11-30T11:45:00.000Z", n: 300 });
});

test("a store that is not there, damaged or of a newer version is a clear error", { timeout: 120_000 }, async () => {
  const missing = await runServal(service.root, ["monitor", "--model", "bundle"], { SERVAL_PREDICTIONS_URL: "none.db" });
  expect(missing.code).not.toBe(0);
  expect(missing.stderr).toContain("E_PREDICTION_LOG");
  await writeFile(join(service.root, "damaged.db"), "not a database, but long enough to be taken for one".repeat(100));
  const damaged = await runServal(service.root, ["monitor", "--model", "bundle"], { SERVAL_PREDICTIONS_URL: "damaged.db" });
  expect(damaged.stderr).toContain("E_PREDICTION_LOG");
  const db = new DatabaseSync(join(service.root, "newer.db"));
  db.exec("PRAGMA user_version = 99");
  db.close();
  const newer = await runServal(service.root, ["monitor", "--model", "bundle"], { SERVAL_PREDICTIONS_URL: "newer.db" });
  expect(newer.stderr).toContain("version 99");
});

test("while the store cannot be opened, GET /monitor answers 503 and the gauges say that they are old", async () => {
  const blind = await startTestService({ service: { predictionLogFile: join(service.root, "bundle/bundle.json/predictions.db") } });
  const text = await (await fetch(`${blind.url}/metrics`)).text();
  expect(text).toMatch(/^serval_monitor_up 0$/m);
  expect((await getJson(blind, "/monitor")).status).toBe(503);
  await blind.close();
});
