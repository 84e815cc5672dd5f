import { describe, expect, it } from "vitest";
import { collectRoutes, fieldsOf, fittingValue, type RouteField, type SweptRoute } from "../helpers/tracking-routes.ts";
import { ask, createRun, post, startTracking } from "../helpers/tracking-server.ts";

/** Values that no field of a request should be able to do harm with, as they are written in JSON. */
const hostileValues: readonly string[] = [
  "null",
  "true",
  "-0",
  "1e400",
  "-9007199254740993",
  "1e30",
  "[]",
  "{}",
  '{"__proto__":{"admin":true}}',
  `${"[".repeat(2000)}${"]".repeat(2000)}`,
  ...[
    "",
    "x\0y",
    "\ud800",
    "9".repeat(400),
    "a".repeat(100_000),
    "/".repeat(60_000),
    " ".repeat(40_000),
    "1".repeat(40_000),
    "%".repeat(60_000),
    "' OR 1=1 --",
    "../../etc/passwd",
    "__proto__",
    "<script>alert(1)</script>",
  ].map((text) => JSON.stringify(text)),
  `[${Array.from({ length: 40_000 }, () => '"1"').join(",")}]`,
];

/** Set as the protocol has it: a state that does not allow the change, and what is not there. */
const protocolErrors = new Set(["INVALID_STATE", "NOT_IMPLEMENTED"]);

it("no value in any field of any route makes the server fail, or compute for a second", async () => {
  const routes = collectRoutes();
  const { url, app } = await startTracking();
  const failures: string[] = [];
  let sent = 0;
  let slowest = { ms: 0, request: "" };
  const swept = routes.filter(({ url: path }) => !path.startsWith("/ajax-api/"));
  for (const route of swept) {
    const sample = await samples(url);
    for (const field of Object.entries(route.schemas).flatMap(([place, schema]) => fieldsOf(place as RouteField["place"], schema))) {
      for (const value of hostileValues) {
        const request = buildRequest(route, field, value, sample);
        if (request === undefined) continue;
        const before = process.cpuUsage();
        const { statusCode, body } = await app.inject(request);
        const { user, system } = process.cpuUsage(before);
        const ms = (user + system) / 1000;
        sent++;
        const name = `${route.method} ${route.url} ${field.place}.${field.path.join(".")} = ${value.slice(0, 40)}`;
        if (ms > slowest.ms) slowest = { ms, request: name };
        if (statusCode >= 500 && !protocolErrors.has((JSON.parse(body) as { error_code: string }).error_code)) failures.push(name);
      }
    }
  }
  expect([...new Set(failures)]).toEqual([]);
  expect(sent).toBeGreaterThan(5000);
  expect(slowest, slowest.request).toMatchObject({ ms: expect.toSatisfy((ms: number) => ms < 1000) });
  expect((await app.inject("/health")).body).toBe("OK");
}, 180_000);

describe("a search", () => {
  const invalid = [400, "INVALID_PARAMETER_VALUE"];
  const all = (count: number, text: string, separator: string): string => Array.from({ length: count }, () => text).join(separator);

  it.each<[what: string, query: Record<string, unknown>, code?: string]>([
    ["40,000 digits in its filter", { filter: `metrics.loss > ${"1".repeat(40_000)}x` }],
    ["40,000 spaces in its order", { order_by: [`a${" ".repeat(40_000)}b`] }],
    ["40,000 spaces in quotes in its order", { order_by: [`metrics.\`${" ".repeat(40_000)}\``] }],
    ["a filter of a million characters", { filter: "'".repeat(1_000_000) }],
    ["1,200 clauses", { filter: all(1200, "attributes.status = 'RUNNING'", " AND ") }],
    ["1,200 clauses on metrics", { filter: all(1200, "metrics.a > 1", " AND ") }],
    ["40,000 values in a list", { filter: `attributes.run_id IN (${all(40_000, "'a'", ",")})` }],
    ["100 orders", { order_by: Array.from({ length: 100 }, (_, i) => `metrics.m${i} ASC`) }],
    // The reading of the body refuses it, before anything knows what it is.
    ["100,000 experiments", { experiment_ids: Array.from({ length: 100_000 }, () => "0") }, "BAD_REQUEST"],
    ["a LIKE of 4,000 underscores and 8,000 letters that lie there", { filter: `tags.long LIKE '%${"a_".repeat(2000)}b%'` }],
    ["a number beyond every double and a word after it", { filter: `metrics.a > 1e${"9".repeat(5000)}z` }],
  ])("with %s is refused at once, in a short answer", async (_what, query, code = "INVALID_PARAMETER_VALUE") => {
    const { url, app } = await startTracking();
    for (let i = 0; i < 3; i++) await post(url, "runs/set-tag", { run_id: await createRun(url), key: "long", value: "a".repeat(8000) });
    const before = process.cpuUsage();
    const { statusCode, body } = await app.inject({
      method: "POST",
      url: "/api/2.0/mlflow/runs/search",
      payload: { experiment_ids: ["0"], ...query },
    });
    expect([statusCode, (JSON.parse(body) as { error_code: string }).error_code]).toEqual([400, code]);
    expect(process.cpuUsage(before).user).toBeLessThan(1_500_000);
    expect(body.length).toBeLessThan(1200);
  });

  it("with all that MLflow's own server takes is answered", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const clauses = all(100, "attributes.status = 'RUNNING'", " AND ");
    for (const query of [
      { filter: clauses },
      { filter: `attributes.run_id IN (${all(9999, `'${"0".repeat(32)}'`, ",")}, '${run}')` },
      { order_by: Array.from({ length: 50 }, (_, i) => `metrics.\`${"k".repeat(240)}${i}\` DESC`) },
      { experiment_ids: Array.from({ length: 15_000 }, (_, i) => String(i)) },
      { filter: `tags.mlflow.runName LIKE '${"%".repeat(8000)}'` },
    ]) {
      const { status, body } = await post(url, "runs/search", { experiment_ids: ["0"], ...query });
      expect([status, body.runs?.[0]?.info.run_id]).toEqual([200, run]);
    }
  });

  it("by a LIKE of 1,000 letters in 100 tags of 8,000 takes less than a second", async () => {
    const { url, app } = await startTracking();
    const id = await createRun(url);
    for (let i = 0; i < 10; i++)
      await post(url, "runs/log-batch", {
        run_id: id,
        tags: Array.from({ length: 100 }, (_, j) => ({ key: `t${i}.${j}`, value: "a".repeat(8000) })),
      });
    const before = process.cpuUsage();
    for (const pattern of [`%${"a".repeat(1000)}b%`, `%b${"a".repeat(1000)}%`, "%a".repeat(1000).concat("b")]) {
      const filter = Array.from({ length: 100 }, (_, j) => `tags.\`t9.${j}\` LIKE '${pattern}'`).join(" AND ");
      const { statusCode, body } = await app.inject({
        method: "POST",
        url: "/api/2.0/mlflow/runs/search",
        payload: { experiment_ids: ["0"], filter },
      });
      expect([statusCode, body]).toEqual([200, "{}"]);
    }
    expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
  });

  it("takes SQL in filters, orders, keys and tokens as text", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const sql = `x' OR 1=1; DROP TABLE runs; --`;
    await post(url, "runs/set-tag", { run_id: run, key: "plain", value: sql });
    const find = async (query: Record<string, unknown>): Promise<unknown[]> => {
      const { status, body } = await post(url, "runs/search", { experiment_ids: ["0"], ...query });
      return [status, body.runs?.length ?? body.error_code];
    };
    expect(await find({ filter: `tags.plain = "${sql}"` })).toEqual([200, 1]);
    expect(await find({ filter: `tags.plain = "x"` })).toEqual([200, undefined]);
    expect(await find({ filter: `tags.\`${sql}\` = 'x'` })).toEqual([200, undefined]);
    expect(await find({ order_by: [`tags.\`${sql}\` DESC`] })).toEqual([200, 1]);
    for (const query of [
      { filter: `attributes.run_id = 'x' OR 1=1` },
      { filter: `attributes."run_id; DROP TABLE runs" = 'x'` },
      { order_by: ["attributes.run_id; DROP TABLE runs"] },
      { order_by: ["(SELECT 1)"] },
      { experiment_ids: ["0) OR (1=1"] },
      ...["1; DROP TABLE runs", 1.5, -1, null, [5], {}, "7"].map((offset) => ({
        page_token: Buffer.from(JSON.stringify({ offset })).toString("base64"),
      })),
      { page_token: "\0" },
      { page_token: "A".repeat(100_000) },
    ])
      expect([query, await find(query)]).toEqual([query, invalid]);
    const far = Buffer.from(JSON.stringify({ offset: Number.MAX_SAFE_INTEGER })).toString("base64");
    expect(await find({ page_token: far })).toEqual([200, undefined]);
    expect(await find({})).toEqual([200, 1]);
  });
});

it("an address with 60,000 slashes, a history without a limit and a tag that is not what it seems do no harm", async () => {
  const { url, app } = await startTracking();
  const run = await createRun(url);
  const before = process.cpuUsage();
  const slashes = { name: "x", artifact_location: `s3:${"/".repeat(60_000)}x` };
  const location = await app.inject({ method: "POST", url: "/api/2.0/mlflow/experiments/create", payload: slashes });
  expect(location.statusCode).toBe(400);
  const list = await app.inject(`/api/2.0/mlflow/artifacts/list?run_id=${run}&path=a${"/".repeat(60_000)}x`);
  expect(list.statusCode).toBe(400);
  expect(process.cpuUsage(before).user).toBeLessThan(500_000);
  for (const [path, count] of [
    ["get-history-bulk", "-1"],
    ["get-history-bulk", "0"],
    ["get-history", "1e400"],
  ])
    expect((await app.inject(`/api/2.0/mlflow/metrics/${path}?run_id=${run}&metric_key=a&max_results=${count}`)).statusCode).toBe(400);
  for (const value of ["x", "[null]", "{}", `${"[".repeat(3000)}${"]".repeat(3000)}`]) {
    const { body } = await post(url, "logged-models", { experiment_id: "0", tags: [{ key: "mlflow.modelVersions", value }] });
    const id = body.model.info.model_id as string;
    await post(url, "registered-models/create", { name: "model" });
    expect((await post(url, "model-versions/create", { name: "model", source: `models:/${id}`, model_id: id })).status).toBe(200);
    await post(url, "runs/set-tag", { run_id: run, key: "mlflow.log-model.history", value });
    const model = { artifact_path: "a", flavors: {}, utc_time_created: "now", run_id: run };
    expect((await post(url, "runs/log-model", { run_id: run, model_json: JSON.stringify(model) })).status).toBe(200);
  }
  const deep = `{"artifact_path":"a","flavors":{},"utc_time_created":"n","run_id":"x","d":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  const refused = await post(url, "runs/log-model", { run_id: run, model_json: deep });
  expect([refused.status, refused.body.message]).toEqual([400, expect.stringContaining("model_json")]);
  const many = await post(url, "runs/create", {
    experiment_id: "0",
    tags: Array.from({ length: 1001 }, (_, i) => ({ key: `k${i}`, value: "x" })),
  });
  expect(many.status).toBe(400);
});

it("a clock that jumps, back, far ahead and before 1970, leaves runs that are kept, found and shown", async () => {
  const { url } = await startTracking();
  for (const [start, end] of [
    [-1, -5],
    [8.64e15 + 1, 5],
    [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
    [5, 1],
  ]) {
    const { body } = await post(url, "runs/create", { experiment_id: "0", start_time: start });
    const id = body.run.info.run_id as string;
    expect((await post(url, "runs/update", { run_id: id, status: "FINISHED", end_time: end })).status).toBe(200);
    const found = await post(url, "runs/search", {
      experiment_ids: ["0"],
      filter: `attributes.run_id = '${id}' AND attributes.start_time = ${start}`,
    });
    expect(found.body.runs?.[0]?.info.start_time).toBe(start);
    for (const page of [`/runs/${id}`, "/experiments/0", "/", `/compare?run=${id}&run=${id}`])
      expect((await fetch(url + page)).status).toBe(200);
  }
  for (const time of [1e30, 0.5, "x", Number.MAX_SAFE_INTEGER + 1])
    expect((await post(url, "runs/create", { experiment_id: "0", start_time: time })).status).toBe(400);
  const run = await createRun(url);
  for (const timestamp of [-1, 1e30])
    expect((await post(url, "runs/log-metric", { run_id: run, key: "a", value: 1, timestamp })).status).toBe(400);
});

it("texts with NUL, lone surrogates and marks of direction come back as they were, by every way", async () => {
  const { url } = await startTracking();
  const run = await createRun(url);
  for (const [value, kept] of [
    ["a\0b", "a\0b"],
    ["\u202eabc\u0301", "\u202eabc\u0301"],
    ["a\ud800b", "a\ufffdb"],
  ]) {
    await post(url, "runs/set-tag", { run_id: run, key: "text", value });
    const valueOf = (found: { data: { tags: { key: string; value: string }[] } }): string | undefined =>
      found.data.tags.find(({ key }) => key === "text")?.value;
    const { body } = await post(url, "runs/search", { experiment_ids: ["0"] });
    expect(valueOf(body.runs[0])).toBe(kept);
    const { body: got } = await ask(`${url}/api/2.0/mlflow/runs/get?run_id=${run}`);
    expect(valueOf(got.run)).toBe(kept);
  }
});

/** What exists on the server, by the name of the field that means it. */
async function samples(url: string): Promise<(name: string) => unknown> {
  // A field that is swept may have deleted it.
  await post(url, "experiments/restore", { experiment_id: "0" });
  const runId = await createRun(url);
  await post(url, "registered-models/create", { name: "model" });
  await post(url, "model-versions/create", { name: "model", source: `runs:/${runId}/model`, run_id: runId });
  await post(url, "registered-models/alias", { name: "model", alias: "best", version: "1" });
  const { body } = await post(url, "logged-models", { experiment_id: "0", name: "net" });
  const known: Record<string, unknown> = {
    run_id: runId,
    run_ids: [runId],
    id: runId,
    run: [runId, runId],
    experiment_id: "0",
    experiment_ids: ["0"],
    name: "model",
    version: "1",
    alias: "best",
    model_id: body.model.info.model_id,
    source: `runs:/${runId}/model`,
    model_json: '{"artifact_path":"a","flavors":{},"utc_time_created":"now","run_id":"x"}',
    metric_key: "loss",
    field_name: "name",
    artifact_location: "s3://bucket/folder",
    stages: ["None"],
    stage: "Staging",
    max_results: 10,
    filter: "",
    page_token: "",
    order_by: [],
    order: "",
    page: "",
    "*": "0/file",
  };
  return (name) => known[name];
}

function buildRequest(
  route: SweptRoute,
  field: RouteField,
  value: string,
  sample: (name: string) => unknown,
): { method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"; url: string; payload?: string; headers?: Record<string, string> } | undefined {
  const parts = Object.fromEntries(
    Object.entries(route.schemas).map(([place, schema]) => [place, fittingValue(schema, "", sample) as Record<string, unknown>]),
  );
  const marker = "\u0001HOSTILE\u0001";
  setAt(parts, [field.place, ...field.path], marker);
  const parsed = JSON.parse(value) as unknown;
  const text = typeof parsed === "string" ? parsed : value;
  const encode = (part: unknown): string => encodeURIComponent((part === marker ? text : String(part)).toWellFormed());
  // Node refuses longer request lines by itself.
  if (field.place !== "body" && text.length > 60_000) return undefined;
  const params = parts["params"] ?? {};
  const path = route.url.replaceAll(/:(\w+)|\*/g, (whole, name: string | undefined) => encode(params[name ?? whole]));
  const query = Object.entries(parts["querystring"] ?? {}).flatMap(([name, given]) =>
    [given].flat().map((one) => `${name}=${encode(one)}`),
  );
  const url = query.length === 0 ? path : `${path}?${query.join("&")}`;
  const method = route.method as "POST";
  if (route.schemas.body === undefined) return { method, url };
  const payload = JSON.stringify(parts["body"]).replace(JSON.stringify(marker), () => value);
  return { method, url, payload, headers: { "content-type": "application/json" } };
}

function setAt(target: Record<string, unknown>, path: readonly (string | number)[], value: unknown): void {
  const last = path.at(-1) as string;
  let inner = target;
  for (const part of path.slice(0, -1)) {
    inner[part] ??= {};
    inner = inner[part] as Record<string, unknown>;
  }
  inner[last] = value;
}
