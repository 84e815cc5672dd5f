import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { loadSettings } from "../../src/config/settings.ts";
import { readReply, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

/** Shows a service below /serval, as `location /serval/ { proxy_pass http://service/; }` does, or passes addresses on whole. */
async function startProxy(port: number, strips: boolean): Promise<{ url: string; server: Server }> {
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? "";
    if (!path.startsWith("/serval")) {
      outgoing.writeHead(404).end(`the proxy does not know ${path}`);
      return;
    }
    const options = { host: "127.0.0.1", port, method: incoming.method, path: strips ? path.slice("/serval".length) : path };
    const asked = request({ ...options, headers: { ...incoming.headers, "x-forwarded-prefix": "/serval" } }, (reply) => {
      outgoing.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(outgoing);
    });
    incoming.pipe(asked);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/serval`, server };
}

describe.each([
  ["without a base path, behind a proxy that takes the prefix away", "", true],
  ["with a base path, behind a proxy that takes the prefix away", "/serval", true],
  ["with a base path, behind a proxy that passes addresses on whole", "/serval", false],
])("docs-subpath: a service %s", (_what, basePath, strips) => {
  let service: TestService;
  let proxy: Awaited<ReturnType<typeof startProxy>>;
  beforeAll(async () => {
    service = await startTestService({ service: { basePath } });
    proxy = await startProxy(service.port, strips);
  });
  afterAll(async () => {
    proxy.server.close();
    await service.close();
  });

  test.each(["/docs", "/docs/", "//docs"])("has a page with all of its files at %s", async (path) => {
    const response = await fetch(`${proxy.url}${path}`);
    expect(response.status).toBe(200);
    const files = [...(await response.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file!);
    expect(files.length).toBeGreaterThan(4);
    for (const file of files) {
      expect(file).not.toMatch(/^\//);
      expect([file, (await fetch(new URL(file, response.url))).status]).toEqual([file, 200]);
    }
    // Where the script of the page looks for the description: below its own address.
    const description = await fetch(`${response.url}${response.url.endsWith("/") ? "" : "/"}json`);
    const { servers } = (await description.json()) as { servers: { url: string }[] };
    expect(servers).toHaveLength(1);
    const tried = new URL(`${new URL(servers[0]!.url, description.url).href.replace(/\/$/, "")}/health`);
    expect((await fetch(tried)).status).toBe(200);
  });

  test("is not left by a redirect of the page's", async () => {
    const response = await fetch(`${proxy.url}/docs/static/index.html`);
    expect([response.status, new URL(response.url).pathname]).toEqual([200, "/serval/docs/"]);
  });

  test("answers predictions, and its own page refers to nothing outside the prefix", async () => {
    const body = new Uint8Array(await colourPicture("red"));
    const reply = await readReply(await fetch(`${proxy.url}/predict`, { method: "POST", headers: { "content-type": "image/jpeg" }, body }));
    expect([reply.status, reply.body.label]).toEqual([200, "red"]);
    const page = await (await fetch(`${proxy.url}/`, { headers: { accept: "text/html" } })).text();
    expect([...page.matchAll(/href="([^"]+)"/g)].map(([, href]) => href)).toEqual([
      "data:,",
      ...(basePath ? ["/serval/"] : []),
      "docs",
      "model",
      "health",
      "metrics",
    ]);
  });
});

describe("SERVAL_BASE_PATH", () => {
  let service: TestService | undefined;
  afterEach(async () => {
    await service?.close();
    service = undefined;
  });

  test("is in the description's servers, in the links at / and in the page's base, and both addresses are answered", async () => {
    service = await startTestService({ service: { basePath: "/ml/serval" } });
    for (const start of [service.url, `${service.url}/ml/serval`]) {
      const description = await readReply(await fetch(`${start}/openapi.json`));
      expect(description.body.servers).toEqual([{ url: "/ml/serval" }]);
      const { body } = await readReply(await fetch(`${start}/`));
      expect(body.links.predict).toBe("/ml/serval/predict");
      const page = await fetch(start, { headers: { accept: "text/html" } });
      expect(await page.text()).toContain('<base href="/ml/serval/">');
      expect(page.headers.get("content-security-policy")).toContain("base-uri 'self'");
    }
    expect((await fetch(`${service.url}/ml/servalx/health`)).status).toBe(404);
  });

  test("is not in the description of a service at the root", async () => {
    service = await startTestService();
    const { body } = await readReply(await fetch(`${service.url}/openapi.json`));
    expect(body.servers).toEqual([{ url: "/" }]);
  });

  test.each([
    ["/serval", "/serval"],
    ["/serval/", "/serval"],
    ["serval", "/serval"],
    ["/a/b-c_d.e~f/", "/a/b-c_d.e~f"],
    ["/", ""],
    ["", ""],
  ])("%j means %j", (text, expected) => {
    expect(loadSettings({ SERVAL_BASE_PATH: text }).basePath).toBe(expected);
  });

  test.each(["https://x/serval", "/a//b", "/a b", "/a?b", "/../x", "/a<b"])("%j is refused", (text) => {
    expect(() => loadSettings({ SERVAL_BASE_PATH: text })).toThrow(/SERVAL_BASE_PATH: expected .*got/);
  });
});
