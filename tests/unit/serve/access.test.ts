import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { sha256 } from "../../../src/files.ts";
import { compareLatency } from "../../../src/deploy/checks/latency.ts";
import { runSmoke } from "../../../src/deploy/checks/smoke.ts";
import { readApiKeys, type ApiKeys } from "../../../src/serve/http/api-keys.ts";
import type { AccessRules } from "../../../src/serve/http/rules.ts";
import { form, getJson, predictForm, readReply, startTestService, type JsonReply, type TestService } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";

let root: string;
let service: TestService | undefined;
beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), "serval-access-"))));
afterEach(async () => {
  await service?.close();
  service = undefined;
  await rm(root, { recursive: true });
});
async function start(access: AccessRules): Promise<TestService> {
  service = await startTestService({ access });
  return service;
}
async function keysOf(text: string): Promise<ApiKeys> {
  await writeFile(join(root, "keys"), text);
  return await readApiKeys(join(root, "keys"));
}
const post = async ({ url }: TestService, path: string, headers: Record<string, string> = {}, body?: FormData): Promise<JsonReply> =>
  await readReply(await fetch(`${url}${path}`, { method: "POST", headers, ...(body ? { body } : {}) }));

describe("API keys", () => {
  const twoKeys = async (): Promise<ApiKeys> =>
    await keysOf(`# ours\nalice ${sha256("key-of-alice")}\n\nbob  ${sha256("key-of-bob").toUpperCase()} # until May\n`);

  it("are what `serval smoke` and a deploy ask with", async () => {
    const { url } = await start({ keys: await twoKeys() });
    const failed = async (apiKey?: string): Promise<string[]> => {
      const { checks } = await runSmoke({ url, waitMs: 0, maxLatencyMs: 10_000, apiKey });
      return checks.filter(({ passed }) => !passed).map(({ name }) => name);
    };
    expect(await failed("key-of-bob")).toEqual([]);
    expect(await failed()).toEqual(["known answers", "prediction", "latency"]);
    expect(await compareLatency(url, url, { apiKey: "key-of-bob" })).toMatch(/^median of 15 predictions/);
    expect(await compareLatency(url, url)).toContain("the previous version does not answer");
  });

  it("let only clients with a key in, by either header", async () => {
    const guarded = await start({ keys: await twoKeys() });
    const ask = async (headers: Record<string, string>): Promise<number> =>
      (await post(guarded, "/predict", headers, form(["file", await colourPicture("red")]))).status;
    expect(await ask({ authorization: "Bearer key-of-alice" })).toBe(200);
    expect(await ask({ "x-api-key": "key-of-bob" })).toBe(200);
    for (const headers of [
      {},
      { authorization: "Bearer key-of-carol" },
      { "x-api-key": "" },
      { authorization: "key-of-alice" },
      { "x-api-key": sha256("key-of-bob") },
    ]) {
      expect([headers, await ask(headers as Record<string, string>)]).toEqual([headers, 401]);
    }
    expect((await post(guarded, "/predict")).body.error).toMatchObject({ code: "E_API_KEY", hint: expect.stringContaining("X-API-Key") });
  });

  it("are wanted for all that asks or changes the model, and not for health, pages and metrics", async () => {
    const guarded = await start({ keys: await twoKeys() });
    const { body } = await getJson(guarded, "/openapi.json");
    const open: string[] = [];
    for (const [path, methods] of Object.entries(body.paths as Record<string, object>)) {
      for (const method of Object.keys(methods)) {
        const { status } = await fetch(`${guarded.url}${path.replaceAll(/\{\w+\}/g, "x")}`, { method: method.toUpperCase() });
        if (status !== 401) open.push(`${method} ${path}`);
      }
    }
    expect(open.sort()).toEqual([
      "get /",
      "get /health",
      "get /health/live",
      "get /health/ready",
      "get /metrics",
      "get /v2/health/live",
      "get /v2/health/ready",
    ]);
    expect((await fetch(`${guarded.url}/docs/`)).status).toBe(200);
  });

  it("are in the file as hashes; an invalid line is reported by its number, and not shown", async () => {
    for (const [text, message] of [
      [
        "alice secret-itself\n",
        "keys:1: expected a name, the SHA-256 of a key in 64 hex digits, and after them nothing or the word reviewer.",
      ],
      [`alice ${"0".repeat(64)} admin\n`, "keys:1: expected a name, the SHA-256"],
      [`\n# nothing\n${"0".repeat(64)}\n`, "keys:3: expected"],
      ["# nothing\n", "contains no keys"],
    ] as const) {
      const error = await keysOf(text).catch((reason: unknown) => reason);
      expect((error as ServalError).code).toBe("E_API_KEYS");
      expect((error as Error).message).toContain(message);
      expect((error as Error).message).not.toContain("secret");
    }
    await expect(readApiKeys(join(root, "none"))).rejects.toThrow(/none cannot be read: ENOENT/);
  });
});

describe("the rate limit", () => {
  it("is counted for each key, answers 429 with Retry-After, and leaves health checks alone", async () => {
    const keys = await keysOf(`alice ${sha256("a")}\nbob ${sha256("b")}\n`);
    const limited = await start({ keys, rateLimitPerMinute: 3 });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) statuses.push((await getJson(limited, "/model", { "x-api-key": "a" })).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const refused = await getJson(limited, "/model", { "x-api-key": "a" });
    expect(refused.body.error).toMatchObject({
      code: "E_RATE_LIMIT",
      message: expect.stringMatching(/^3 requests a minute are allowed; the next one in \d+ s\.$/),
    });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await getJson(limited, "/model", { "x-api-key": "b" })).status).toBe(200);
    for (let i = 0; i < 9; i++) expect((await getJson(limited, "/health")).status).toBe(200);
  });

  it("is counted for each address that the proxy in front saw, and not for what a client says of itself", async () => {
    const ask = async (from: string): Promise<number> => (await getJson(behind, "/model", { "x-forwarded-for": from })).status;
    const behind = await start({ rateLimitPerMinute: 2, proxies: 1 });
    expect([await ask("192.0.2.1"), await ask("198.51.100.1, 192.0.2.1"), await ask("198.51.100.2, 192.0.2.1")]).toEqual([200, 200, 429]);
    expect(await ask("192.0.2.2")).toBe(200);
    await service?.close();
    const open = await start({ rateLimitPerMinute: 2 });
    const statuses: number[] = [];
    for (const from of ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
      statuses.push((await getJson(open, "/model", { "x-forwarded-for": from })).status);
    expect(statuses).toEqual([200, 200, 429]);
  });
});

describe("browsers", () => {
  it("get headers that let an answer do nothing, and no other origin read it", async () => {
    const plain = await start({});
    const { headers } = await predictForm(plain, await colourPicture("red"));
    expect(headers.get("content-security-policy")).toBe("default-src 'none';frame-ancestors 'none'");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
    expect((await getJson(plain, "/health", { origin: "https://a.example" })).headers.get("access-control-allow-origin")).toBe(null);
  });

  it("may ask from the pages that are set, and from no others", async () => {
    const keys = await keysOf(`alice ${sha256("a")}\n`);
    const shared = await start({ corsOrigins: ["https://a.example"], keys });
    const preflight = await fetch(`${shared.url}/predict`, {
      method: "OPTIONS",
      headers: { origin: "https://a.example", "access-control-request-method": "POST", "access-control-request-headers": "x-api-key" },
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([204, "https://a.example"]);
    const allowed = async (origin: string): Promise<string | null> =>
      (await getJson(shared, "/model", { origin, "x-api-key": "a" })).headers.get("access-control-allow-origin");
    expect(await allowed("https://a.example")).toBe("https://a.example");
    expect(await allowed("https://b.example")).toBe(null);
  });

  it("may read that there is no room", async () => {
    const full = await startTestService({ limits: { queueLimit: 0 }, access: { corsOrigins: ["https://a.example"] } });
    const { status, headers } = await post(full, "/predict", { origin: "https://a.example" }, form(["file", await colourPicture("red")]));
    await full.close();
    expect([status, headers.get("retry-after"), headers.get("access-control-allow-origin")]).toEqual([503, "1", "https://a.example"]);
  });
});

describe("an unsure model", () => {
  it("answers without a label where the request or the setting asks for that, and keeps its probabilities", async () => {
    service = await startTestService({ bundle: { sharpness: 1, manifest: { abstainBelow: 0.9 } } });
    const red = form(["file", await colourPicture("red")]);
    const plain = (await post(service, "/predict", {}, red)).body;
    expect([plain.label, "reason" in plain, plain.confidence < 0.9]).toEqual(["red", false, true]);
    const silent = (await post(service, "/predict?abstain=true", {}, red)).body;
    expect([silent.label, silent.reason, silent.confidence]).toEqual([null, "low_confidence", plain.confidence]);
    expect(await service.logged((line) => line["request_id"] === silent.request_id)).toMatchObject({
      label: null,
      confidence: plain.confidence,
    });
    expect(await (await fetch(`${service.url}/metrics`)).text()).toContain('serval_predictions_total{label="<abstained>",');
    await service.close();
    service = await startTestService({
      bundle: { sharpness: 1, manifest: { abstainBelow: 0.9 } },
      service: { abstain: { whenUnsure: true } },
    });
    expect((await post(service, "/predict", {}, red)).body.label).toBe(null);
    expect((await post(service, "/predict?abstain=false", {}, red)).body.label).toBe("red");
    expect((await post(service, "/predict?abstain=maybe", {}, red)).status).toBe(400);
  });

  it("answers with one where it is sure, or has no threshold", async () => {
    service = await startTestService({ bundle: { manifest: { abstainBelow: 0.5 } }, service: { abstain: { whenUnsure: true } } });
    expect((await predictForm(service, await colourPicture("red"))).body.label).toBe("red");
  });
});
