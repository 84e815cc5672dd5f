import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { sha256 } from "../../src/files.ts";
import { readApiKeys, type ApiKeys } from "../../src/serve/api-keys.ts";
import { sendRequest, type RawReply } from "../helpers/raw-request.ts";
import { form, readReply, sendRaw, startTestService, type TestService, type TestServiceOptions } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

let picture: Buffer;
let root: string;
beforeAll(async () => {
  picture = await colourPicture("red");
  root = await mkdtemp(join(tmpdir(), "serval-access-"));
});
afterAll(async () => await rm(root, { recursive: true }));

async function start(service: TestServiceOptions["service"] = {}): Promise<TestService> {
  const started = await startTestService({ service });
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
    local ??= await startTestService({ service: { admin: "local", allowedHosts: ["*"] } });
    const host = "host" in headers ? {} : { host: `127.0.0.1:${local.port}` };
    expect(await codes(local, { ...host, ...headers })).toEqual(["E_FORBIDDEN", "E_FORBIDDEN"]);
  });
  let local: TestService | undefined;
  afterAll(async () => await local?.close());

  it("is refused with SERVAL_ADMIN=local behind proxies, over HTTP/1.0, and from another address", async () => {
    expect(await codes(await start({ admin: "local", proxies: 1 }), {})).toEqual(["E_FORBIDDEN", "E_FORBIDDEN"]);
    const plain = await start({ admin: "local", host: "0.0.0.0", allowedHosts: [] });
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

  it("is no matter for a service on all addresses, unless SERVAL_HOSTS is set; replicas use addresses", async () => {
    const open = await start({ host: "0.0.0.0", allowedHosts: [] });
    expect((await sendRequest({ port: open.port, path: "/model", headers: { host: "any.example" } })).status).toBe(200);
    const listed = await start({ host: "0.0.0.0", allowedHosts: ["serval.example"] });
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

describe("API keys", () => {
  it("count only as they were made, in a header, whole and once", async () => {
    const keys = await keysOf(`alice ${sha256("Key-of-Alice")}\nbob ${sha256("schlüssel")}\n`);
    const service = await start({ keys });
    const { port } = service;
    const status = async (headers: Headers, path = "/model"): Promise<number> => (await sendRequest({ port, path, headers })).status;
    const bytes = Buffer.from("schlüssel").toString("latin1");
    for (const headers of [
      { "x-api-key": "Key-of-Alice" },
      { authorization: "bearer Key-of-Alice" },
      { authorization: "BEARER   Key-of-Alice" },
      { authorization: "Basic eDp5", "x-api-key": "Key-of-Alice" },
      { "x-api-key": bytes },
    ])
      expect([headers, await status(headers as Headers)]).toEqual([headers, 200]);
    for (const headers of [
      { "x-api-key": "key-of-alice" },
      { "x-api-key": "KEY-OF-ALICE" },
      { "x-api-key": "Key-of-Alic" },
      { "x-api-key": "Key-of-Alice2" },
      { "x-api-key": "Key-of-Alice\tx" },
      { "x-api-key": ["Key-of-Alice", "Key-of-Alice"] },
      { "x-api-key": ["wrong", "Key-of-Alice"] },
      { "x-api-key": Buffer.from("schlu\u0308ssel").toString("latin1") },
      { "x-api-key": sha256("Key-of-Alice") },
      { "x-api-key": "constructor" },
      { "x-api-key": "__proto__" },
      { "x-api-key": "x".repeat(15_000) },
      { authorization: "Bearer wrong", "x-api-key": "Key-of-Alice" },
      { authorization: "Bearer Key-of-Alice x" },
      { authorization: `Bearer ${" ".repeat(15_000)}` },
      { authorization: "Key-of-Alice" },
      { cookie: "x-api-key=Key-of-Alice" },
      { "x-forwarded-for": "127.0.0.1", "x-serval-peer": "1" },
    ])
      expect([headers, await status(headers as Headers)]).toEqual([headers, 401]);
    for (const query of ["x-api-key=Key-of-Alice", "api_key=Key-of-Alice", "authorization=Bearer%20Key-of-Alice"])
      expect([query, await status({}, `/model?${query}`)]).toEqual([query, 401]);
    // The headers of a request are bounded, and so is what is hashed of it.
    expect(await sendRaw(service, `GET /model HTTP/1.1\r\nhost: x\r\nx-api-key: ${"x".repeat(70_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 4\d\d /,
    );
    expect(service.lines.join("")).not.toMatch(/Key-of-Alice|schl/);
  });

  it("do not slow the service down when a thousand wrong ones come, and leave nothing in its metrics", async () => {
    const service = await start({ keys: await keysOf(`alice ${sha256("a")}\n`) });
    await countSeries(service);
    await sendRequest({ port: service.port, path: "/model" });
    const once = await countSeries(service);
    const lane = async (lane: number): Promise<void> => {
      for (let i = 0; i < 125; i++) {
        const { status } = await fetch(`${service.url}/model`, { headers: { "x-api-key": `${lane}-${i}` } });
        expect(status).toBe(401);
      }
    };
    await Promise.all(Array.from({ length: 8 }, async (_, i) => await lane(i)));
    expect(await countSeries(service)).toBe(once);
    expect((await sendRequest({ port: service.port, path: "/model", headers: { "x-api-key": "a" } })).status).toBe(200);
  });
});

async function countSeries({ url }: TestService): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text.split("\n").filter((line) => /^serval_/.test(line)).length;
}

describe("feedback where the service has keys", () => {
  const lines = `alice ${sha256("a")}\nalice ${sha256("a2")}\nbob ${sha256("b")}\ncarol ${sha256("c")} reviewer\n`;
  const predict = async ({ url }: TestService, key: string): Promise<string> => {
    const init = { method: "POST", headers: { "x-api-key": key }, body: form(["file", picture]) };
    return (await readReply(await fetch(`${url}/predict`, init))).body.request_id as string;
  };
  const send = async ({ port }: TestService, key: string, id: string, label: string, more: Headers = {}): Promise<RawReply> =>
    await sendRequest({
      port,
      method: "POST",
      path: "/feedback",
      headers: { "content-type": "application/json", ...(key === "" ? {} : { "x-api-key": key }), ...more },
      body: JSON.stringify({ request_id: id, label }),
    });

  it("is for predictions of the same owner; a reviewer labels all; to others a prediction is unknown", async () => {
    const service = await start({ keys: await keysOf(lines) });
    const id = await predict(service, "a");
    expect((await send(service, "a", id, "blue")).status).toBe(202);
    // The owner's next key.
    expect((await send(service, "a2", id, "red")).status).toBe(202);
    const foreign = await send(service, "b", id, "blue");
    const unknown = await send(service, "b", "x".repeat(id.length), "blue");
    expect([foreign.status, foreign.body.error.code]).toEqual([404, "E_FEEDBACK_UNKNOWN"]);
    const shape = ({ body }: RawReply, sent: string): string => JSON.stringify({ ...body.error, request_id: "" }).replaceAll(sent, "ID");
    expect(shape(foreign, id)).toBe(shape(unknown, "x".repeat(id.length)));
    // Not even a wrong label tells that the prediction exists.
    expect((await send(service, "b", id, "purple")).status).toBe(404);
    expect((await send(service, "", id, "blue")).status).toBe(401);
    expect((await send(service, "c", id, "blue")).status).toBe(202);
    expect((await send(service, "c", id, "purple")).status).toBe(400);
  });

  it("keeps that promise for every prediction: of a batch, of an explanation, and of another replica", async () => {
    const peers: string[] = [];
    const keys = await keysOf(lines);
    const [first, second] = [await start({ keys, peers }), await start({ keys, peers })];
    peers.push(...[first, second].map(({ port }) => `127.0.0.1:${port}`));
    const ask = async (path: string): Promise<string> => {
      const init = { method: "POST", headers: { "x-api-key": "a" }, body: form(["file", picture]) };
      return /"request_id":"([^"]+)"/.exec(await (await fetch(`${first.url}${path}`, init)).text())?.[1] ?? "";
    };
    for (const path of ["/predict", "/predict/batch", "/explain"]) {
      const id = await ask(path);
      for (const asked of [first, second]) {
        expect([path, (await send(asked, "b", id, "red")).status]).toEqual([path, 404]);
        // An outsider who pretends to be a replica is asked for the key all the same.
        expect([path, (await send(asked, "b", id, "red", { "x-serval-peer": "1" })).status]).toEqual([path, 404]);
        expect([path, (await send(asked, "", id, "red", { "x-serval-peer": "1" })).status]).toEqual([path, 401]);
      }
      expect([path, (await send(second, "a", id, "red")).status]).toEqual([path, 202]);
      expect([path, (await send(second, "c", id, "blue")).status]).toEqual([path, 202]);
    }
  });

  it("is open to every key for what was stored without one", async () => {
    const file = join(root, "shared.db");
    const open = await startTestService({ service: { predictionLogFile: file } });
    const { request_id: id } = (await readReply(await fetch(`${open.url}/predict`, { method: "POST", body: form(["file", picture]) })))
      .body;
    await open.close();
    const service = await start({ keys: await keysOf(lines), predictionLogFile: file });
    expect((await send(service, "b", id as string, "blue")).status).toBe(202);
  });
});

describe("a body with a Content-Encoding", () => {
  it.each(["gzip", "br", "deflate", "zstd", "gzip, gzip", "x-unknown", "identity, gzip"])(
    "of %s is refused with 415 on every address that takes a body, and the header is named",
    async (encoding) => {
      const { port } = (encoded ??= await startTestService());
      for (const [path, type] of [
        ["/predict", "image/jpeg"],
        ["/predict", "multipart/form-data; boundary=x"],
        ["/predict/batch", "multipart/form-data; boundary=x"],
        ["/explain", "image/png"],
        ["/feedback", "application/json"],
        ["/v2/models/colours/infer", "application/json"],
      ] as const) {
        const headers = { "content-type": type, "content-encoding": encoding };
        const { status, body, headers: answered } = await sendRequest({ port, method: "POST", path, headers, body: "abc" });
        const message = path.startsWith("/v2") ? body.error : `${body.error.code}: ${body.error.message} ${body.error.hint}`;
        const expected = `E_MEDIA_TYPE: The body has the Content-Encoding "${encoding}"; expected none. Send the body as it is, without compressing it.`;
        expect([path, status, message, answered["accept-encoding"]]).toEqual([path, 415, expected, "identity"]);
      }
    },
  );
  let encoded: TestService | undefined;
  afterAll(async () => await encoded?.close());

  it("of identity is taken, and an unknown address stays unknown", async () => {
    const { port } = await start();
    const headers = { "content-type": "image/png", "content-encoding": "identity" };
    expect((await sendRequest({ port, method: "POST", path: "/predict", headers, body: picture })).status).toBe(200);
    const lost = { port, method: "POST", path: "/nowhere", headers: { "content-encoding": "gzip" }, body: "abc" };
    expect((await sendRequest(lost)).status).toBe(404);
  });
});

describe("metrics", () => {
  it("get no new series from 10,000 paths, hosts, queries and every method that HTTP has", async () => {
    const service = await start();
    const methods = ["ACL", "COPY", "LOCK", "MKCOL", "PROPFIND", "PURGE", "REPORT", "SEARCH", "TRACE", "QUERY"];
    const request = (i: number): string => {
      const path = [`/p${i}`, `/model?x=${i}`, `/v2/models/m${i}`, `/${"d/".repeat(i % 50)}${i}`][i % 4];
      const host = i % 3 === 0 ? "x" : `h${i}.example`;
      return `${i % 7 === 0 ? methods[i % 10] : "GET"} ${path} HTTP/1.1\r\nhost: ${host}\r\nx-label-${i}: ${i}\r\n`;
    };
    const send = async (from: number, to: number): Promise<void> => {
      const all = Array.from({ length: to - from }, (_, i) => `${request(from + i)}\r\n`);
      await sendRaw(service, `${all.join("")}GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    };
    // Every kind of request once, and the series that it may have.
    await countSeries(service);
    await send(0, 840);
    const before = await countSeries(service);
    for (let from = 840; from < 10_840; from += 500) await send(from, from + 500);
    expect(await countSeries(service)).toBe(before);
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const requests = [...text.matchAll(/^serval_http_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
    expect(requests).toBeGreaterThanOrEqual(10_840);
    expect(text).not.toMatch(/h\d+\.example|\/p\d|PROPFIND/);
  });
});

describe("an error", () => {
  it("of the server's files never names them to a client; the log does", async () => {
    await writeFile(join(root, "file"), "");
    const service = await start({ predictionLogFile: join(root, "file", "predictions.db") });
    const { port } = service;
    const json = { "content-type": "application/json" };
    const refused = await sendRequest({ port, method: "POST", path: "/feedback", headers: json, body: '{"request_id":"x","label":"red"}' });
    expect([refused.status, refused.body.error.message]).toEqual([503, "The prediction could not be stored: file already exists."]);
    await service.logged(({ code, msg }) => code === "E_PREDICTION_LOG" && String(msg).includes(join(root, "file")));
    // A new version whose file is damaged: /model names the code, the log the file.
    await service.slot.offer({ version: "bad", load: async () => await Promise.reject(new Error(`${root}/secret is damaged`)) });
    const model = await sendRequest({ port, path: "/model" });
    expect(model.body.refused).toMatchObject({
      version: "bad",
      code: "E_INTERNAL",
      message: "Something failed that Serval did not foresee.",
    });
    await service.logged(({ msg }) => String(msg).includes(`${root}/secret`));
    for (const { text } of [refused, model]) expect(text).not.toContain(root);
  });
});
