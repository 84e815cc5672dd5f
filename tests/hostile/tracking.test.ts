import { expect, it } from "vitest";
import { collectRoutes, fieldsOf, fittingValue, type RouteField, type SweptRoute } from "../helpers/tracking-routes.ts";
import { createRun, post, startTracking } from "../helpers/tracking-server.ts";

/** Values that no field of a request should be able to do harm with, as they are written in JSON. */
const hostileValues: readonly string[] = [
  "null",
  "true",
  "-1",
  "-0",
  "1e400",
  "1.5",
  "-9007199254740993",
  "1e30",
  "[]",
  "{}",
  "[[[[1]]]]",
  '{"__proto__":{"admin":true}}',
  `${"[".repeat(2000)}${"]".repeat(2000)}`,
  ...[
    "",
    " ",
    "x\0y",
    "\ud800",
    "\u202e\u0301",
    "9".repeat(400),
    "a".repeat(100_000),
    "/".repeat(60_000),
    " ".repeat(40_000),
    "[".repeat(50_000),
    "1".repeat(40_000),
    "%".repeat(60_000),
    "' OR 1=1 --",
    '"; DROP TABLE runs; --',
    "../../etc/passwd",
    "constructor",
    "NaN",
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
