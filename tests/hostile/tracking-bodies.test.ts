import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTrackingStore } from "../../src/tracking/server/store/tracking-store.ts";
import { brokenPromises, probeWhile, type Probe } from "../helpers/live-probe.ts";
import { sendBody, type ShortAnswer } from "../helpers/send-body.ts";
import { startServal, type ServalProcess } from "../helpers/serval-process.ts";
import { createRun, get, post } from "../helpers/tracking-server.ts";

const runCount = 20_000;
const pointCount = 300_000;
const longRun = "a".repeat(32);
const mebibyte = 1024 * 1024;

let folder: string;
let tracking: ServalProcess;
let url: string;
const measured: Record<string, object> = {};
/** Where other programs have the machine, a measurement may be theirs: it is made again. */
const again = { retry: 2 };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "serval-tracking-bodies-"));
  fillStore(join(folder, "mlflow.db"));
  tracking = startServal(folder, ["track", "--port", "0", "--store", folder]);
  url = (await tracking.waitFor(/^Tracking at (http:\/\/[^,]+),/m))[1] ?? "";
});
afterAll(async () => {
  const { code } = await tracking.stop();
  await rm(folder, { recursive: true });
  console.table(measured);
  expect(code).toBe(0);
});

/** Many runs, one of them with a long curve and with many metrics, and many versions of a model. */
function fillStore(path: string): void {
  openTrackingStore(path).close();
  const db = new DatabaseSync(path);
  const count = (to: number): string => `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${to})`;
  db.exec(`
    BEGIN;
    INSERT INTO runs SELECT * FROM (${count(runCount)}
      SELECT i, printf('%032d', i), 0, 'run', 'me', 'FINISHED', i, i + 1, 'mlflow-artifacts:/0', 'active' FROM n);
    INSERT INTO runs VALUES (${runCount + 1}, '${longRun}', 0, 'long', 'me', 'FINISHED', 1, 2, 'mlflow-artifacts:/0', 'active');
    INSERT INTO latest_metrics (run, key, value, timestamp, step, is_nan)
      SELECT runs.id, 'metric' || k.value, runs.id * 0.1, 1, 1, 0 FROM runs, json_each('[1,2,3,4,5,6,7,8]') k;
    INSERT INTO params SELECT runs.id, 'param' || k.value, 'value' FROM runs, json_each('[1,2,3,4]') k;
    INSERT INTO latest_metrics (run, key, value, timestamp, step, is_nan)
      SELECT * FROM (${count(100_000)} SELECT ${runCount + 1}, 'layer/' || i, i * 0.1, 1, 1, 0 FROM n);
    INSERT INTO metrics SELECT * FROM (${count(pointCount)} SELECT ${runCount + 1}, 'loss', i, i, i * 0.1, 0 FROM n);
    INSERT INTO registered_models VALUES (1, 'model', 1, 1, '');
    INSERT INTO model_versions SELECT * FROM (${count(50_000)}
      SELECT i, 1, i, i, i, 'a version', 'None', 'mlflow-artifacts:/0', 'mlflow-artifacts:/0', '', '' FROM n);
    COMMIT;`);
  db.close();
}

const repeated = (part: string, bytes: number): string => part.repeat(Math.floor(bytes / part.length));

async function probe(name: string, work: () => Promise<ShortAnswer>): Promise<ShortAnswer> {
  const result = await probeWhile({ url: `${url}/health`, pid: tracking.child.pid }, work);
  expectCalm(name, result);
  return result.result;
}

function expectCalm(name: string, { waits, clock }: Probe): void {
  measured[name] = { ...waits, "clock p99": clock.p99, "clock max": clock.max };
  expect(brokenPromises({ waits, clock })).toEqual([]);
}

const send = async (path: string, body: Buffer | string): Promise<ShortAnswer> => await sendBody(`${url}/api/2.0/mlflow/${path}`, body);
const read = async (path: string): Promise<ShortAnswer> => await sendBody(`${url}/api/2.0/mlflow/${path}`, "", { method: "GET" });

const page = async (path: string): Promise<ShortAnswer> => await sendBody(`${url}${path}`, "", { method: "GET" });

const full = 3.9 * mebibyte;
/** What is sent where, and the status that answers it. */
const attacks: readonly [name: string, path: string, body: () => string, status: number][] = [
  ["two million empty lists", "runs/log-batch", () => `{"metrics":[${repeated("[],", full)}[]]}`, 400],
  ["five million empty lists", "runs/log-batch", () => `{"metrics":[${repeated("[],", 15 * mebibyte)}[]]}`, 400],
  ["a million empty objects", "runs/log-batch", () => `{"metrics":[${repeated("{},", full)}{}]}`, 400],
  ["two million numbers", "runs/log-batch", () => `{"params":[${repeated("1,", full)}1]}`, 400],
  ["lists four million deep", "runs/create", () => `{"tags":${repeated("[", full)}`, 400],
  ["lists 60,000 deep", "runs/create", () => `{"tags":${repeated("[", 30_000)}${repeated("]", 30_000)}}`, 400],
  ["objects a million deep", "runs/create", () => repeated(`{"a":`, full), 400],
  ["a string of 4 MB", "runs/create", () => `{"run_name":"${repeated("x", full)}"}`, 400],
  ["a string of 4 MB in escapes", "experiments/create", () => `{"name":"${repeated("\\u0041", full)}"}`, 400],
  ["a number of four million digits", "runs/create", () => `{"start_time":${repeated("1", full)}}`, 400],
  ["300,000 keys", "runs/create", () => `{${Array.from({ length: 300_000 }, (_, i) => `"k${i}":0`).join()}}`, 400],
  ["one key 300,000 times", "runs/create", () => `{${repeated('"__proto__":{},', full)}"a":0}`, 400],
  [
    "6,000 tags",
    "runs/create",
    () => `{"experiment_id":"0","tags":[${Array.from({ length: 6000 }, (_, i) => `{"key":"t${i}","value":"v"}`).join()}]}`,
    400,
  ],
  [
    "a data set of 4 MB",
    "runs/log-inputs",
    () =>
      `{"run_id":"${longRun}","datasets":[{"dataset":{"name":"d","digest":"1","source":"s","source_type":"t","profile":"${repeated("x", full)}"}}]}`,
    200,
  ],
  ["two million empty lists in a text", "runs/log-model", () => `{"run_id":"${longRun}","model_json":"[${repeated("[],", full)}[]]"}`, 400],
];

describe("while a body is read, /health answers at once:", () => {
  it.each(attacks)("%s", again, async (name, path, body, status) => {
    const bytes = Buffer.from(body());
    expect((await probe(name, async () => await send(path, bytes))).status).toBe(status);
    expect((await get(url, "experiments/get", { experiment_id: "0" })).status).toBe(200);
  });

  it("eight of them at once, and a run can be logged", again, async () => {
    const bodies = attacks
      .filter(([, , , status]) => status === 400)
      .slice(0, 8)
      .map(([, path, body]) => [path, Buffer.from(body())] as const);
    const { result, ...waits } = await probeWhile({ url: `${url}/health`, pid: tracking.child.pid }, async () => {
      const answers = Promise.all(bodies.map(async ([path, body]) => await send(path, body)));
      const run = await createRun(url);
      expect((await post(url, "runs/log-batch", { run_id: run, metrics: [{ key: "a", value: 1, timestamp: 1 }] })).status).toBe(200);
      return await answers;
    });
    expect(result.filter(({ status }) => status !== 400 && status !== 503)).toEqual([]);
    expectCalm("eight at once", waits);
  });
});

describe("while a large answer is made, /health answers at once:", () => {
  const hundredRuns = Array.from({ length: 100 }, () => `run_ids=${longRun}`).join("&");
  const allRuns = JSON.stringify({ experiment_ids: ["0"], max_results: 50_000 });
  const byMetric = JSON.stringify({
    experiment_ids: ["0"],
    max_results: 50_000,
    order_by: ["metrics.metric3 DESC"],
    filter: "params.param1 LIKE '%al%'",
  });

  it.each<[string, () => Promise<ShortAnswer>, RegExp]>([
    ["20,000 runs", async () => await send("runs/search", allRuns), /^\{"runs":\[\{"info":/],
    ["20,000 runs by a metric", async () => await send("runs/search", byMetric), /^\{"runs":\[\{"info":/],
    ["300,000 points", async () => await read(`metrics/get-history?run_id=${longRun}&metric_key=loss`), /^\{"metrics":\[\{"key":"loss"/],
    [
      "a page of a million points",
      async () => await read(`metrics/get-history?run_id=${longRun}&metric_key=loss&max_results=1000000`),
      /^\{"metrics":/,
    ],
    ["a hundred curves", async () => await read(`metrics/get-history-bulk-interval?metric_key=loss&${hundredRuns}`), /^\{"metrics":/],
    ["all of a run with 100,000 metrics", async () => await read(`runs/get?run_id=${longRun}`), /^\{"run":\{"info"/],
    ["the page of 20,000 runs", async () => await page("/experiments/0"), /^<!doctype html>/i],
    ["the page of a run with 100,000 metrics", async () => await page(`/runs/${longRun}`), /^<!doctype html>/i],
    ["a chart of a long curve", async () => await page(`/chart?metric=loss&run=${longRun}&run=${longRun}`), /^<svg/],
    ["the page of the model", async () => await page("/models/model"), /^<!doctype html>/i],
    ["50,000 versions of a model", async () => await read("model-versions/search?max_results=200000"), /^\{"model_versions":/],
  ])("%s", again, async (name, work, start) => {
    const { status, start: begun } = await probe(name, work);
    expect([status, begun]).toEqual([200, expect.stringMatching(start)]);
  });

  it("all pages together hold every run, and every point, once", async () => {
    const ids = new Set<string>();
    let token: string | undefined;
    let pages = 0;
    do {
      const { body } = await post(url, "runs/search", { experiment_ids: ["0"], max_results: 50_000, ...(token && { page_token: token }) });
      for (const run of body.runs as { info: { run_id: string; run_name: string } }[]) ids.add(run.info.run_id);
      token = body.next_page_token as string | undefined;
      pages++;
    } while (token !== undefined);
    expect(pages).toBeGreaterThan(1);
    expect(ids.size).toBeGreaterThan(runCount);
    const { body } = await get(url, "metrics/get-history", { run_id: longRun, metric_key: "loss" });
    expect((body.metrics as { step: number }[]).map(({ step }) => step)).toEqual(Array.from({ length: pointCount }, (_, i) => i + 1));
  });
});
