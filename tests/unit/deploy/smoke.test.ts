import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { runSmoke, type SmokeReport } from "../../../src/deploy/checks/smoke.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { predictForm, startTestService, type TestService } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";

let service: TestService;
let cwd: string;
const proxies: Server[] = [];
beforeAll(async () => {
  service = await startTestService();
  cwd = await mkdtemp(join(tmpdir(), "serval-smoke-"));
});
afterAll(async () => {
  await service.close();
  await rm(cwd, { recursive: true });
});
afterEach(() => {
  for (const proxy of proxies.splice(0)) proxy.close().closeAllConnections();
});

interface Passed {
  status: number;
  body: string;
  headers: Record<string, string>;
}

/** What a service with a limit says to the request that is one too many. */
function limited(seconds: number): Passed {
  const error = { code: "E_RATE_LIMIT", message: `3 requests a minute are allowed; the next one in ${seconds} s.` };
  return { status: 429, body: JSON.stringify({ error }), headers: { "content-type": "application/json", "retry-after": String(seconds) } };
}

/** The real service behind a proxy that changes what it answers to `path`: how a broken release looks from outside. */
async function behind(
  path: string,
  change: (reply: Passed, request: IncomingMessage) => Promise<void> | void,
  upstream = (): string => service.url,
): Promise<string> {
  const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const answer = await fetch(`${upstream()}${request.url}`, {
      method: request.method ?? "GET",
      headers: { "content-type": request.headers["content-type"] ?? "text/plain" },
      ...(request.method === "POST" ? { body: request as unknown as ReadableStream, duplex: "half" } : {}),
    });
    const headers = { "content-type": answer.headers.get("content-type") ?? "" };
    const reply: Passed = { status: answer.status, body: await answer.text(), headers };
    if (request.url?.split("?")[0] === path) await change(reply, request);
    response.writeHead(reply.status, reply.headers).end(reply.body);
  };
  const server = createServer((request, response) => void pass(request, response));
  proxies.push(server);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const limits = { waitMs: 0, maxLatencyMs: 10_000 };
const failures = ({ checks }: SmokeReport): string[] =>
  checks.filter(({ passed }) => !passed).map(({ name, message }) => `${name}: ${message}`);

async function smoke(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(["smoke", ...args], context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

describe("serval smoke of a service that works", () => {
  test("prints a line for each check and ends with 0", async () => {
    const { code, stdout, stderr } = await smoke(service.url, "--max-latency", "10000");
    expect([code, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.map((line) => line.replace(/ \(\d+ ms\)$/, ""))).toEqual([
      `ok    health         model colours, version ${service.model.version}`,
      expect.stringMatching(/^ok {4}docs {11}\d+ addresses described$/),
      "ok    known answers  2 of 2 right",
      expect.stringMatching(/^ok {4}prediction {5}(blue|red), confidence 0\.\d{3}$/),
      "ok    bad upload     refused with 415 E_IMAGE_FORMAT",
      expect.stringMatching(/^ok {4}latency {8}median of 9 predictions [\d.]+ ms$/),
      expect.stringMatching(/^ok {4}metrics {8}\d+ predictions counted$/),
      `${service.url}: 7 passed, 0 failed`,
    ]);
  });

  test("sends the user's image, and prints one JSON document with --json", async () => {
    await writeFile(join(cwd, "red.jpg"), await colourPicture("red"));
    const { code, stdout } = await smoke(`${service.url}/`, "--image", "red.jpg", "--max-latency", "10000", "--json");
    const report = JSON.parse(stdout) as SmokeReport;
    expect([code, report.url, report.passed]).toEqual([0, service.url, true]);
    expect(report.checks.find(({ name }) => name === "prediction")?.message).toMatch(/^red, confidence 0\.9\d\d$/);
  });

  test("wants a label also where the service gives none to pictures that it is unsure of", async ({ onTestFinished }) => {
    const silent = await startTestService({
      bundle: { sharpness: 1, manifest: { abstainBelow: 1 } },
      service: { abstain: { whenUnsure: true } },
    });
    onTestFinished(async () => await silent.close());
    expect((await predictForm(silent, await colourPicture("red"))).body).toMatchObject({ label: null, reason: "low_confidence" });
    expect(failures(await runSmoke({ url: silent.url, ...limits }))).toEqual([]);
  });

  test("passes behind a proxy, where each replica counts its share alone, and where the proxy shows no metrics", async ({
    onTestFinished,
  }) => {
    const replicas = await Promise.all([startTestService(), startTestService(), startTestService()]);
    onTestFinished(async () => void (await Promise.all(replicas.map(async (replica) => await replica.close()))));
    let asked = 0;
    const url = await behind(
      "/metrics",
      () => undefined,
      () => replicas[asked++ % replicas.length]?.url ?? "",
    );
    expect(failures(await runSmoke({ url, ...limits }))).toEqual([]);
    for (const status of [403, 404]) {
      const { checks } = await runSmoke({ url: await behind("/metrics", (reply) => void (reply.status = status)), ...limits });
      expect(checks.at(-1)).toMatchObject({ name: "metrics", passed: true, message: `not shown at this address (${status})` });
    }
  });

  test("waits where it may ask only so often, and measures the answer alone", async () => {
    let asked = 0;
    // Each question is refused once: then at least a tenth of a second is waited.
    const url = await behind("/predict", (reply) => void (asked++ % 2 === 0 && Object.assign(reply, limited(0))));
    const report = await runSmoke({ url, ...limits });
    expect([failures(report), asked]).toEqual([[], 22]);
    const { message, durationMs } = report.checks.find(({ name }) => name === "latency") ?? { message: "", durationMs: 0 };
    const [, median] = /predictions ([\d.]+) ms/.exec(message) ?? [];
    expect(9 * Number(median)).toBeLessThan(durationMs - 450);
  });

  test("is what scripts/smoke_test.sh runs", async () => {
    const script = join(import.meta.dirname, "../../../scripts/smoke_test.sh");
    const [code, stdout] = await new Promise<[number, string]>((resolve) => {
      execFile(script, [service.url, "--max-latency", "10000"], (error, text) => resolve([error ? Number(error.code) : 0, text]));
    });
    expect(code).toBe(0);
    expect(stdout).toContain(`${service.url}: 7 passed, 0 failed`);
  });
});

describe("serval smoke of a service that does not work", () => {
  test("ends with 1 where nothing listens, and asks nothing else", async () => {
    const gone = createServer().listen(0, "127.0.0.1");
    await once(gone, "listening");
    const url = `http://127.0.0.1:${(gone.address() as AddressInfo).port}`;
    await new Promise((resolve) => gone.close(resolve));
    const { code, stdout, stderr } = await smoke(url, "--wait", "0.3");
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}health {9}GET \/health: connect ECONNREFUSED 127\.0\.0\.1:\d+ \(waited 0\.[3-9] s\)/);
    expect(stdout).toContain(`${url}: 0 passed, 1 failed`);
    expect(stderr).toContain(`E_SMOKE: ${url} does not work: health.`);
  });

  test("waits until the service is healthy", async () => {
    let asked = 0;
    const url = await behind("/health", (reply) => {
      if (++asked < 3) Object.assign(reply, { status: 503, body: '{"status":"unavailable"}' });
    });
    expect(failures(await runSmoke({ url, ...limits, waitMs: 30_000 }))).toEqual([]);
    expect(asked).toBe(3);
  });

  test("finds wrong answers also where the service calls them right", async () => {
    const url = await behind("/model/checks", (reply) => {
      const checks = JSON.parse(reply.body) as { passed: boolean; checks: { got: number[] }[] };
      checks.checks[0]?.got.reverse();
      reply.body = JSON.stringify(checks);
    });
    const report = await runSmoke({ url, ...limits });
    expect(report.passed).toBe(false);
    expect(failures(report)).toEqual([
      expect.stringMatching(/^known answers: 1 of 2 wrong: checks\/blue\.jpg: expected \[0\.9.*, got \[0\.0/),
    ]);
  });

  test.each<[string, string, (reply: Passed) => void, RegExp]>([
    [
      "no known answers",
      "/model/checks",
      (reply) => (reply.body = '{"passed":true,"checks":[]}'),
      /^known answers: .* has no known answers/,
    ],
    [
      "an API without /predict",
      "/openapi.json",
      (reply) => (reply.body = '{"paths":{"/":{}}}'),
      /^docs: .* expected \/predict .*, got \/$/,
    ],
    ["no API page", "/docs", (reply) => (reply.status = 404), /^docs: GET \/docs: expected 200, got 404/],
    ["metrics without predictions", "/metrics", (reply) => (reply.body = "up 1\n"), /^metrics: .* serval_predictions_total .*, got none$/],
    [
      "metrics that are not numbers",
      "/metrics",
      (reply) => (reply.body = 'serval_predictions_total{label="red"} many\n'),
      /^metrics: .* serval_predictions_total .*, got many$/,
    ],
    ["metrics that break", "/metrics", (reply) => (reply.status = 500), /^metrics: GET \/metrics: expected 200, got 500/],
  ])("finds %s", async (_, path, change, expected) => {
    expect(failures(await runSmoke({ url: await behind(path, change), ...limits }))).toEqual([expect.stringMatching(expected)]);
  });

  test("finds metrics that count nothing, and such as are not shown, of a container that is asked alone", async () => {
    expect(failures(await runSmoke({ url: service.url, ...limits, alone: true }))).toEqual([]);
    const body = await (await fetch(`${service.url}/metrics`)).text();
    const still = await behind("/metrics", (reply) => void (reply.body = body));
    expect(failures(await runSmoke({ url: still, ...limits, alone: true }))).toEqual([
      expect.stringMatching(/^metrics: GET \/metrics: expected more than (\d+) predictions counted after one more, got \1$/),
    ]);
    const hidden = await behind("/metrics", (reply) => void (reply.status = 404));
    expect(failures(await runSmoke({ url: hidden, ...limits, alone: true }))).toEqual([
      expect.stringMatching(/^metrics: GET \/metrics: expected 200, got 404/),
    ]);
  });

  test("finds a label that is not the most probable one", async () => {
    const url = await behind("/predict", (reply) => {
      const { label } = JSON.parse(reply.body) as { label?: string };
      if (label !== undefined) reply.body = reply.body.replace(`"label":"${label}"`, `"label":"${label === "red" ? "blue" : "red"}"`);
    });
    expect(failures(await runSmoke({ url, ...limits }))).toEqual([
      expect.stringMatching(/^prediction: POST \/predict: expected the most probable label/),
    ]);
  });

  test("finds a service that takes text for an image, and one that breaks over it", async () => {
    for (const [status, expected] of [
      [200, /^bad upload: .* expected 4xx for the image, got 200/],
      [500, /^bad upload: .* expected 4xx for the image, got 500/],
    ] as const) {
      const url = await behind("/predict", (reply) => void (reply.status >= 400 && (reply.status = status)));
      expect(failures(await runSmoke({ url, ...limits }))).toEqual([expect.stringMatching(expected)]);
    }
  });

  test("does not wait longer than a minute for its turn, and says what it was told", async () => {
    const url = await behind("/predict", (reply) => void Object.assign(reply, limited(61)));
    const said = "got 429 E_RATE_LIMIT: 3 requests a minute are allowed; the next one in 61 s.";
    expect(failures(await runSmoke({ url, ...limits }))).toEqual([
      `prediction: POST /predict: expected 200, ${said}`,
      expect.stringMatching(/^bad upload: .* expected 4xx for the image, got 429/),
      `latency: POST /predict: expected 200, ${said}`,
    ]);
  });

  test("finds predictions that take too long", async () => {
    const report = await runSmoke({ url: service.url, waitMs: 0, maxLatencyMs: 0.001 });
    expect(failures(report)).toEqual([expect.stringMatching(/^latency: median of 9 predictions [\d.]+ ms, expected at most 0\.001 ms$/)]);
  });

  test("refuses invalid addresses, numbers and files", async () => {
    for (const [args, message] of [
      [["http://"], 'E_USAGE: "http://" is not an address of a service'],
      [[service.url, "--wait", "soon"], 'E_USAGE: --wait: expected a number that is not negative, got "soon".'],
      [[service.url, "--image", "missing.jpg"], "E_FILE_NOT_FOUND"],
    ] as const) {
      const { code, stderr } = await smoke(...args);
      expect(code).toBe(2);
      expect(stderr).toContain(message);
    }
  });
});
