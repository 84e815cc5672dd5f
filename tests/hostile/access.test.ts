import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { sha256 } from "../../src/files.ts";
import { readApiKeys, type ApiKeys } from "../../src/serve/http/api-keys.ts";
import type { AccessRules } from "../../src/serve/http/rules.ts";
import { sendRequest, type RawReply } from "../helpers/raw-request.ts";
import { sendRaw, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

let picture: Buffer;
let root: string;
beforeAll(async () => {
  picture = await colourPicture("red");
  root = await mkdtemp(join(tmpdir(), "serval-access-"));
});
afterAll(async () => await rm(root, { recursive: true }));

async function start(access: AccessRules = {}, host = "127.0.0.1"): Promise<TestService> {
  const started = await startTestService({ access, service: { host } });
  onTestFinished(async () => await started.close());
  return started;
}

async function keysOf(text: string): Promise<ApiKeys> {
  const path = join(root, "keys.txt");
  await writeFile(path, text);
  return await readApiKeys(path);
}

type Headers = Readonly<Record<string, string | string[]>>;

/** The statuses of requests, one after the other, and how many had each. */
async function statuses(count: number, ask: (i: number) => Promise<RawReply>): Promise<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (let i = 0; i < count; i++) {
    const { status } = await ask(i);
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

describe("a request that would change the model", () => {
  const changes = [
    ["POST", "/model/rollback"],
    ["DELETE", "/model/pin"],
  ] as const;
  /** Refused as a change of the model; E_MODEL_ROLLBACK means that it got through, and that there is no other version. */
  const codes = async ({ port }: TestService, headers: Headers, from?: string): Promise<string[]> =>
    await Promise.all(
      changes.map(async ([method, path]) => {
        const { body } = await sendRequest({ port, method, path, headers, ...(from !== undefined && { from }) });
        return body.error.code as string;
      }),
    );

  it("is refused without keys and settings, from this machine as well, and says what to set", async () => {
    const service = await start();
    expect(await codes(service, {})).toEqual(["E_FORBIDDEN", "E_FORBIDDEN"]);
    const { status, body } = await sendRequest({ port: service.port, method: "POST", path: "/model/rollback" });
    expect([status, body.error.message]).toEqual([403, "Changing the model needs an API key, and this service has no keys."]);
    expect(body.error.hint).toMatch(/SERVAL_API_KEYS_FILE.*SERVAL_ADMIN=local/);
  });

  it("gets through with a key, and with SERVAL_ADMIN=local from this machine", async () => {
    const keys = await keysOf(`alice ${sha256("a")}\n`);
    expect(await codes(await start({ keys }), { "x-api-key": "a" })).toEqual(["E_MODEL_ROLLBACK", "E_MODEL_ROLLBACK"]);
    const local = await start({ admin: "local" });
    for (const host of ["localhost", "LOCALHOST:8000", `127.0.0.1:${local.port}`, "127.9.9.9", "[::1]:1"])
      expect([host, await codes(local, { host })]).toEqual([host, ["E_MODEL_ROLLBACK", "E_MODEL_ROLLBACK"]]);
    // Its own API page.
    const own = { host: "localhost:8000", origin: "http://localhost:8000", "sec-fetch-site": "same-origin" };
    expect(await codes(local, own)).toEqual(["E_MODEL_ROLLBACK", "E_MODEL_ROLLBACK"]);
  });

  it("needs a key wherever there are keys, whatever SERVAL_ADMIN says", async () => {
    const keys = await keysOf(`alice ${sha256("a")}\n`);
    expect(await codes(await start({ keys, admin: "local" }), {})).toEqual(["E_API_KEY", "E_API_KEY"]);
  });

  it.each<[string, Headers]>([
    ...[
      "Forwarded",
      "Via",
      "X-Forwarded",
      "X-Forwarded-For",
      "X-Forwarded-Host",
      "X-Forwarded-Port",
      "X-Forwarded-Proto",
      "X-Forwarded-Server",
      "X-Forwarded-Prefix",
      "X_Forwarded_For",
      "X-Real-IP",
      "X-Client-IP",
      "X-Cluster-Client-IP",
      "X-Original-Forwarded-For",
      "X-Original-URL",
      "X-Originating-IP",
      "X-Remote-IP",
      "X-ProxyUser-IP",
      "X-Envoy-External-Address",
      "X-Azure-ClientIP",
      "X-AppEngine-User-IP",
      "X-ARR-ClientIP",
      "X-Amzn-Trace-Id",
      "True-Client-IP",
      "Client-IP",
      "CF-Connecting-IP",
      "CF-Ray",
      "CDN-Loop",
      "Fastly-Client-IP",
      "Fly-Client-IP",
      "Akamai-Origin-Hop",
    ].map((name): [string, Headers] => [`the header ${name}`, { [name]: "127.0.0.1" }]),
    ["the name of a website as Host", { host: "serval.example" }],
    ["a name that only begins like this machine's", { host: "localhost.evil.example" }],
    ["a name that ends like this machine's", { host: "evil-localhost" }],
    ["an address of a private network as Host", { host: "192.168.1.7:8000" }],
    ["0.0.0.0 as Host", { host: "0.0.0.0:8000" }],
    ["a Host that is not valid", { host: "localhost:x" }],
    ["the Origin of a website", { host: "localhost:8000", origin: "https://evil.example" }],
    ["the Origin of another port of this machine", { host: "localhost:8000", origin: "http://localhost:3000" }],
    ["the Origin of another scheme", { host: "localhost:8000", origin: "https://localhost:8000" }],
    ["the Origin of another name of this machine", { host: "localhost:8000", origin: "http://127.0.0.1:8000" }],
    ["the Origin of a file or a sandbox", { host: "localhost:8000", origin: "null" }],
    ["an Origin that is not valid", { host: "localhost:8000", origin: "localhost:8000" }],
    ["Sec-Fetch-Site: cross-site", { host: "localhost:8000", "sec-fetch-site": "cross-site" }],
    ["Sec-Fetch-Site: same-site", { host: "localhost:8000", "sec-fetch-site": "same-site" }],
  ])("is refused with SERVAL_ADMIN=local when it has %s", async (_what, headers) => {
    local ??= await startTestService({ access: { admin: "local", allowedHosts: ["*"] } });
    const host = "host" in headers ? {} : { host: `127.0.0.1:${local.port}` };
    expect(await codes(local, { ...host, ...headers })).toEqual(["E_FORBIDDEN", "E_FORBIDDEN"]);
  });
  let local: TestService | undefined;
  afterAll(async () => await local?.close());

  it("is refused with SERVAL_ADMIN=local behind proxies, over HTTP/1.0, and from another address", async () => {
    expect(await codes(await start({ admin: "local", proxies: 1 }), {})).toEqual(["E_FORBIDDEN", "E_FORBIDDEN"]);
    const plain = await start({ admin: "local", allowedHosts: [] }, "0.0.0.0");
    const old = await sendRaw(plain, "POST /model/rollback HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n");
    expect(old).toMatch(/^HTTP\/1\.1 403 [^]*it uses HTTP 1\.0, as proxies do/);
    const empty = await sendRaw(plain, "POST /model/rollback HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n");
    expect(empty).toMatch(/^HTTP\/1\.1 403 [^]*its Host /);
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((entry) => entry?.family === "IPv4" && !entry.internal)?.address;
    if (outside === undefined) return;
    const { status, body } = await sendRequest({
      port: plain.port,
      to: outside,
      method: "POST",
      path: "/model/rollback",
      headers: { host: "localhost" },
    });
    expect([status, body.error.message]).toEqual([403, expect.stringContaining("it comes from another machine")]);
  });
});

describe("a name that an attacker points at this machine", () => {
  it("is refused on every address but health checks, and names of this machine are not", async () => {
    const service = await start({ allowedHosts: [] });
    const { port } = service;
    for (const path of ["/", "/model", "/metrics", "/openapi.json", "/docs/", "/v2", "/nowhere"]) {
      const { status, body } = await sendRequest({ port, path, headers: { host: "evil.example:8000" } });
      expect([path, status, JSON.stringify(body)]).toEqual([path, 403, expect.stringContaining("SERVAL_HOSTS")]);
    }
    const sent = { port, method: "POST", path: "/predict", headers: { host: "evil.example", "content-type": "image/png" }, body: picture };
    expect((await sendRequest(sent)).status).toBe(403);
    for (const path of ["/health", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"])
      expect((await sendRequest({ port, path, headers: { host: "evil.example" } })).status).toBe(200);
    for (const host of ["localhost", "localhost:1", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8000"])
      expect([host, (await sendRequest({ port, path: "/model", headers: { host } })).status]).toEqual([host, 200]);
    for (const host of ["192.168.1.7", "8.8.8.8", "0.0.0.0", "localhost.", "a b", "[::2]", "localhost:8000:1", "x".repeat(5000)])
      expect([host, (await sendRequest({ port, path: "/model", headers: { host } })).status]).toEqual([host, 403]);
    expect(await sendRaw(service, "GET /model HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n")).toMatch(/^HTTP\/1\.1 403 /);
  });

  it("is taken when SERVAL_HOSTS lists it; a second Host header never is", async () => {
    const service = await start({ allowedHosts: ["serval.example", "*.internal", "proxy:8443"] });
    const { port } = service;
    const status = async (host: string): Promise<number> => (await sendRequest({ port, path: "/model", headers: { host } })).status;
    for (const host of ["serval.example", "SERVAL.example:443", "a.b.internal", "proxy:8443"])
      expect([host, await status(host)]).toEqual([host, 200]);
    for (const host of ["xserval.example", "serval.example.evil", "proxy:8444", "internal"])
      expect([host, await status(host)]).toEqual([host, 403]);
    const two = await sendRaw(service, "GET /model HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    expect(two).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("is not checked by a service on all addresses, unless SERVAL_HOSTS is set; replicas use addresses", async () => {
    const open = await start({ allowedHosts: [] }, "0.0.0.0");
    expect((await sendRequest({ port: open.port, path: "/model", headers: { host: "any.example" } })).status).toBe(200);
    const listed = await start({ allowedHosts: ["serval.example"] }, "0.0.0.0");
    const status = async (host: string): Promise<number> =>
      (await sendRequest({ port: listed.port, path: "/model", headers: { host } })).status;
    expect([await status("any.example"), await status("serval.example"), await status("10.0.1.5:8000")]).toEqual([403, 200, 200]);
  });
});

describe("the rate limit", () => {
  const from = (address: string): Headers => ({ "x-forwarded-for": address });

  it("counts unknown addresses, wrong methods and wrong hosts as well", async () => {
    const { port } = await start({ rateLimitPerMinute: 3, proxies: 1, allowedHosts: [] });
    const ask = async (method: string, path: string, headers: Headers): Promise<Record<number, number>> =>
      await statuses(20, async () => await sendRequest({ port, method, path, headers }));
    expect(await ask("GET", "/nowhere", from("192.0.2.1"))).toEqual({ 404: 3, 429: 17 });
    expect(await ask("GET", "/predict", from("192.0.2.2"))).toEqual({ 405: 3, 429: 17 });
    expect(await ask("PROPFIND", "/", from("192.0.2.3"))).toEqual({ 405: 3, 429: 17 });
    expect((await ask("GET", "/model", { ...from("192.0.2.4"), host: "evil.example" }))[200]).toBeUndefined();
  });

  it("counts a client once: by the /64 of IPv6, without ports, and IPv4 in either form", async () => {
    const { port } = await start({ rateLimitPerMinute: 3, proxies: 1 });
    const ask = async (address: (i: number) => string): Promise<Record<number, number>> =>
      await statuses(12, async (i) => await sendRequest({ port, path: "/model", headers: from(address(i)) }));
    const once = { 200: 3, 429: 9 };
    expect(await ask((i) => `2001:db8:1:2:${i}::${i}`)).toEqual(once);
    expect(await ask((i) => `[2001:db8:1:3::${i}]:${4000 + i}`)).toEqual(once);
    expect(await ask((i) => `192.0.2.3:${5000 + i}`)).toEqual(once);
    expect(await ask((i) => ["192.0.2.4", "::ffff:192.0.2.4", "::ffff:c000:204"][i % 3] ?? "")).toEqual(once);
    expect(await ask((i) => `fe80::1%eth${i}`)).toEqual(once);
    // What is not an address counts as the proxy's own.
    expect(await ask((i) => `unknown-${i}`)).toEqual(once);
    expect(await ask((i) => `2001:db8:2:${i}::1`)).toEqual({ 200: 12 });
  });

  it("counts wrong keys by address, and leaves the owners of keys alone", async () => {
    const keys = await keysOf(`alice ${sha256("a")}\n`);
    const { port } = await start({ rateLimitPerMinute: 5, keys });
    const wrong = await statuses(50, async (i) => await sendRequest({ port, path: "/model", headers: { "x-api-key": `guess-${i}` } }));
    expect(wrong).toEqual({ 401: 5, 429: 45 });
    expect((await sendRequest({ port, path: "/model", headers: { "x-api-key": "a" } })).status).toBe(200);
  });
});
