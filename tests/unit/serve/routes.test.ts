import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createServiceMetrics } from "../../../src/monitor/metrics.ts";
import { renderHomePage } from "../../../src/serve/home-page/home-page.ts";
import { getJson, predictForm, startTestService, type TestService } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());

describe("GET /", () => {
  it("gives a client the model and the addresses as JSON", async () => {
    const { body, headers } = await getJson(service, "/");
    expect(body).toEqual({
      service: "serval",
      model: { name: "colours", version: service.model.version },
      labels: ["blue", "red"],
      links: {
        predict: "/predict",
        explain: "/explain",
        feedback: "/feedback",
        health: "/health",
        model: "/model",
        metrics: "/metrics",
        docs: "/docs",
        openapi: "/openapi.json",
      },
    });
    expect(headers.get("vary")).toBe("accept");
  });

  it("gives a browser a page whose policy allows exactly its own style and script", async () => {
    const response = await fetch(service.url, { headers: { accept: "text/html,application/xhtml+xml,*/*;q=0.8" } });
    const html = await response.text();
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(html).toContain("colours");
    expect(html).not.toMatch(/(src|href)="(https?:)?\/\//);
    expect(html).not.toMatch(/ style="| on[a-z]+="/);
    const policy = response.headers.get("content-security-policy")!;
    for (const tag of ["style", "script"]) {
      const content = new RegExp(`<${tag}>([^]*?)</${tag}>`).exec(html)![1]!;
      expect(policy).toContain(`${tag}-src 'sha256-${createHash("sha256").update(content).digest("base64")}'`);
    }
    expect(policy).toContain("default-src 'none'");
  });

  it("shows labels and names as text, whatever they contain", () => {
    const { html } = renderHomePage({
      basePath: "",
      explains: true,
      name: "a&b",
      version: "1",
      labels: ["<script>alert(1)</script>", `"quoted'`],
    });
    expect(html).toContain("&lt;script&gt;alert(1)&lt;/script&gt;, &quot;quoted&#39;");
    expect(html).toContain("<h1>a&amp;b</h1>");
  });

  it("names the first twelve labels of many", () => {
    const { html } = renderHomePage({
      basePath: "",
      explains: true,
      name: "a",
      version: "1",
      labels: Array.from({ length: 100 }, (_, i) => `class${i}`),
    });
    expect(html).toContain("class11 and 88 more.");
    expect(html).not.toContain("class11, class12");
  });
});

describe("GET /health", () => {
  it("is 200 with model and uptime", async () => {
    const { status, body } = await getJson(service, "/health");
    expect(status).toBe(200);
    expect(body).toEqual({
      status: "ok",
      model: { name: "colours", version: service.bundle.digest.slice(0, 12) },
      uptime_s: expect.any(Number),
    });
    expect((await getJson(service, "/health")).body.uptime_s).toBeGreaterThan(body.uptime_s);
  });
});

describe("GET /model", () => {
  it("says what answers and how pictures are prepared for it", async () => {
    const { manifest, digest } = service.bundle;
    expect((await getJson(service, "/model")).body).toEqual({
      name: "colours",
      version: digest.slice(0, 12),
      digest,
      labels: ["blue", "red"],
      preprocess: manifest.preprocess,
      abstain_below: null,
      unknown_above: null,
      metrics: { accuracy: 0.975 },
      data_version: manifest.dataVersion,
      params_hash: manifest.paramsHash,
      seed: 42,
      previous: null,
      pinned_against: null,
      refused: null,
    });
  });
});

describe("GET /model/checks", () => {
  it("runs the known-answer images now, also when asked several times at once", async () => {
    const replies = await Promise.all([1, 2, 3].map(async () => await getJson(service, "/model/checks")));
    for (const { status, body } of replies) {
      expect([status, body.passed]).toEqual([200, true]);
      expect(body.checks.map(({ file }: { file: string }) => file)).toEqual(["checks/blue.jpg", "checks/red.jpg"]);
      expect(body.checks[1].got[1]).toBeGreaterThan(0.9);
      expect(body.checks[1].difference).toBeLessThanOrEqual(body.checks[1].tolerance);
    }
  });

  it("answers as the model was loaded, whatever becomes of its folder", async () => {
    const orphan = await startTestService();
    await rm(join(orphan.bundle.dir), { recursive: true });
    const { status, body } = await getJson(orphan, "/model/checks");
    expect([status, body.passed]).toEqual([200, true]);
    await orphan.close();
  });
});

it("answers a plain 500 without paths or stack when something unforeseen breaks", async () => {
  const broken = await startTestService({
    service: { predictionLogFile: undefined, source: { follow: () => undefined } },
  });
  // What Prometheus' client does with a metric that cannot be read.
  const { slot } = broken;
  Object.defineProperty(slot, "depth", { get: () => JSON.parse("/secret/path") as number });
  const { status, body } = await getJson(broken, "/metrics");
  expect(status).toBe(500);
  expect(body).toEqual({
    error: {
      code: "E_INTERNAL",
      message: "An unexpected error happened.",
      hint: "Report it with the request id.",
      request_id: expect.any(String),
    },
  });
  const line = await broken.logged((entry) => entry["level"] === "error");
  expect(line["request_id"]).toBe(body.error.request_id);
  expect(JSON.stringify(line)).toContain("SyntaxError");
  await broken.close();
});

describe("GET /metrics", () => {
  it("has exactly the names of the contract", async () => {
    const response = await fetch(`${service.url}/metrics`);
    expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=/);
    const names = [...(await response.text()).matchAll(/^# TYPE (serval_\w+) (\w+)/gm)].map(([, name, type]) => `${name} ${type}`);
    expect(names.sort()).toEqual([
      "serval_abstained_share gauge",
      "serval_decoder_kills_total counter",
      "serval_decoder_processes gauge",
      "serval_decoder_starts_total counter",
      "serval_drift gauge",
      "serval_errors_total counter",
      "serval_estimated_accuracy gauge",
      "serval_estimated_accuracy_trusted gauge",
      "serval_http_request_duration_seconds histogram",
      "serval_http_requests_total counter",
      "serval_inference_duration_seconds histogram",
      "serval_input_median gauge",
      "serval_label_share gauge",
      "serval_live_accuracy gauge",
      "serval_live_accuracy_alarm gauge",
      "serval_live_accuracy_answers gauge",
      "serval_model_info gauge",
      "serval_model_swaps_total counter",
      "serval_monitor_answers gauge",
      "serval_monitor_up gauge",
      "serval_prediction_confidence histogram",
      "serval_predictions_disk_free_share gauge",
      "serval_predictions_lost_total counter",
      "serval_predictions_total counter",
      "serval_predictions_waiting gauge",
      "serval_queue_depth gauge",
      "serval_reference_accuracy gauge",
      "serval_unknown_inputs_total counter",
      "serval_unknown_share gauge",
    ]);
  });

  it("is what docs/service.md lists, with the labels of each", async () => {
    const metrics = createServiceMetrics({ queueDepth: () => 0, predictionsFolder: import.meta.dirname });
    metrics.countRequest({ route: "/", method: "GET", status: 200, seconds: 1 });
    metrics.countError("E_REQUEST");
    metrics.setModel({ name: "colours", version: "1", labels: ["red"] });
    const text = await metrics.render();
    const names = new Map([...text.matchAll(/^# TYPE (serval_\w+) /gm)].map(([, name = ""]) => [name, new Set<string>()]));
    for (const [, name = "", labels = ""] of text.matchAll(/^(serval_\w+?)(?:_bucket|_sum|_count)?\{(.*)\} /gm)) {
      for (const [, label = ""] of labels.matchAll(/(\w+)="/g)) if (label !== "le") names.get(name)?.add(label);
    }
    const page = await readFile(join(import.meta.dirname, "../../../docs/service.md"), "utf8");
    const listed = new Map(
      [...page.matchAll(/^\| `(serval_\w+)(?:\{(.*?)\})?` \|/gm)].map(([, name = "", labels]) => [name, new Set(labels?.split(", "))]),
    );
    expect(listed).toEqual(names);
  });

  it("has each label and phase at 0 before the first prediction, which Prometheus would not see as an increase otherwise", async () => {
    const fresh = await startTestService();
    const lines = (await (await fetch(`${fresh.url}/metrics`)).text()).split("\n");
    const { version } = fresh.model;
    for (const label of ["blue", "red"]) expect(lines).toContain(`serval_predictions_total{label="${label}",model_version="${version}"} 0`);
    for (const phase of ["preprocess", "queue", "model"])
      expect(lines).toContain(`serval_inference_duration_seconds_count{phase="${phase}"} 0`);
    await fresh.close();
  });

  it("counts requests, predictions, phases and errors, in its own registry", async () => {
    const fresh = await startTestService();
    const picture = await colourPicture("red");
    for (let i = 0; i < 3; i++) await predictForm(fresh, picture);
    await predictForm(fresh, Buffer.from("no image"));
    for (const path of ["/nowhere/1", "/nowhere/2?x=3", "/predict"]) await getJson(fresh, path);
    for (const status of [200, 415, 404, 405]) await fresh.logged((line) => line["status"] === status);
    const text = await (await fetch(`${fresh.url}/metrics`)).text();
    const { version } = fresh.model;
    for (const line of [
      'serval_http_requests_total{route="/predict",method="POST",status="200"} 3',
      'serval_http_requests_total{route="/predict",method="POST",status="415"} 1',
      'serval_http_requests_total{route="unknown",method="GET",status="404"} 2',
      'serval_http_requests_total{route="unknown",method="GET",status="405"} 1',
      'serval_http_request_duration_seconds_count{route="/predict",method="POST"} 4',
      `serval_predictions_total{label="red",model_version="${version}"} 3`,
      "serval_prediction_confidence_count 3",
      'serval_prediction_confidence_bucket{le="0.9"} 0',
      'serval_inference_duration_seconds_count{phase="preprocess"} 3',
      'serval_inference_duration_seconds_count{phase="queue"} 3',
      'serval_inference_duration_seconds_count{phase="model"} 3',
      "serval_queue_depth 0",
      `serval_model_info{name="colours",version="${version}"} 1`,
      'serval_errors_total{code="E_IMAGE_FORMAT"} 1',
      'serval_errors_total{code="E_ROUTE_NOT_FOUND"} 2',
    ]) {
      expect(text.split("\n")).toContain(line);
    }
    expect(text).not.toContain("nowhere");
    await fresh.close();
  });
});

describe("the API description", () => {
  it("lists every route, with the reply that /predict really gives", async () => {
    const { body } = await getJson(service, "/openapi.json");
    expect(body.openapi).toBe("3.1.0");
    expect(Object.keys(body.paths).sort()).toEqual([
      "/",
      "/explain",
      "/feedback",
      "/health",
      "/health/live",
      "/health/ready",
      "/metrics",
      "/model",
      "/model/checks",
      "/model/pin",
      "/model/rollback",
      "/monitor",
      "/predict",
      "/predict/batch",
      "/predictions/{request_id}",
      "/v2",
      "/v2/health/live",
      "/v2/health/ready",
      "/v2/models/{model}",
      "/v2/models/{model}/infer",
      "/v2/models/{model}/ready",
      "/v2/models/{model}/versions/{version}",
      "/v2/models/{model}/versions/{version}/infer",
      "/v2/models/{model}/versions/{version}/ready",
    ]);
    const { requestBody, responses } = body.paths["/predict"].post;
    expect(Object.keys(requestBody.content)).toEqual([
      "multipart/form-data",
      "image/jpeg",
      "image/png",
      "image/webp",
      "image/gif",
      "application/octet-stream",
    ]);
    expect(requestBody.content["multipart/form-data"].schema.properties.file.format).toBe("binary");
    const schema = responses["200"].content["application/json"].schema;
    const reply = (await predictForm(service, await colourPicture("red"))).body;
    expect(Object.keys(reply).sort()).toEqual(schema.required.sort());
    expect(Object.keys(reply.timings_ms).sort()).toEqual(Object.keys(schema.properties.timings_ms.properties).sort());
    expect(responses["4XX"].content["application/json"].schema.properties.error.required.sort()).toEqual([
      "code",
      "hint",
      "message",
      "request_id",
    ]);
  });

  it("is shown at /docs without anything from elsewhere", async () => {
    const response = await fetch(`${service.url}/docs`);
    const html = await response.text();
    expect(response.status).toBe(200);
    const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!);
    expect(assets.length).toBeGreaterThan(4);
    for (const path of assets) expect((await fetch(new URL(path, service.url))).status).toBe(200);
    expect(response.headers.get("content-security-policy")).toContain("default-src 'self'");
  });
});

describe("the request log", () => {
  it("has one line for each request with its facts, and nothing that could be private", async () => {
    const picture = await colourPicture("blue");
    const { body } = await predictForm(service, picture, "holiday-in-rome.jpg");
    await getJson(service, "/secret-path?token=abc", { "user-agent": "spy/1", "x-forwarded-for": "9.9.9.9", cookie: "c=1" });
    const predicted = await service.logged((line) => line["request_id"] === body.request_id);
    expect(predicted).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      request_id: body.request_id,
      route: "/predict",
      method: "POST",
      status: 200,
      duration_ms: expect.any(Number),
      label: "blue",
      confidence: body.confidence,
      msg: "request",
    });
    const refused = await service.logged((line) => line["status"] === 404);
    expect(refused).toMatchObject({ level: "info", route: "unknown", method: "GET", code: "E_ROUTE_NOT_FOUND" });
    const requests = service.lines.filter((line) => line.includes("request_id")).join("");
    for (const secret of ["holiday", "secret-path", "token", "spy", "9.9.9.9", "127.0.0.1", "cookie", "JFIF"])
      expect(requests).not.toContain(secret);
    expect(service.lines.filter((line) => line.includes(body.request_id))).toHaveLength(1);
    expect(service.lines.every((line) => line.endsWith("}\n") && line.startsWith('{"level":"'))).toBe(true);
  });
});

it("says which model it serves when it is asked for another, or for another version", async () => {
  for (const [path, wanted] of [
    ["other", "other"],
    ["colours/versions/9", "colours 9"],
  ]) {
    expect(await getJson(service, `/v2/models/${path}`)).toMatchObject({
      status: 404,
      body: { error: expect.stringContaining(`E_MODEL_UNKNOWN: ${wanted} is not served; colours ${service.model.version} is.`) },
    });
  }
});
