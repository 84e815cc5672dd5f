import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { download, type DownloadOptions } from "../../../src/http/download.ts";
import { openSource } from "../../../src/data/sources/open-source.ts";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { isPublicHost } from "../../../src/http/public-address.ts";
import { drip, endless, endlessHeaders, page, redirect, startLyingServer, type Lie, type LyingServer } from "../../helpers/lying-server.ts";

let server: LyingServer;
/** An address that the user did not give. */
let canary: LyingServer;
let dir: string;
beforeEach(async () => {
  [server, canary] = [await startLyingServer(), await startLyingServer()];
  dir = await mkdtemp(join(tmpdir(), "serval-lying-"));
});
afterEach(async () => {
  expect(canary.requests).toEqual([]);
  for (const one of [server, canary]) await one.close();
  await rm(dir, { recursive: true });
});

/** The download fails with E_DOWNLOAD, soon, after this number of requests, and leaves nothing that passes for the file. */
async function expectFailure(lie: Lie, message: RegExp, requests: number, options: Partial<DownloadOptions> = {}): Promise<void> {
  server.answer = lie;
  server.requests.length = 0;
  const failure = await download(`${server.url}/set.zip`, { dir, retryDelayMs: 1, silenceMs: 200, retries: 2, ...options }).catch(
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(ServalError);
  expect(failure).toMatchObject({ code: "E_DOWNLOAD", message });
  expect(server.requests).toHaveLength(requests);
  expect((await readdir(dir)).filter((name) => name.endsWith(".zip"))).toEqual([]);
}

describe("a download site that sends the request on", () => {
  test.each<[string, () => string]>([
    ["a private address that was not named", () => `${canary.url}/x`],
    ["the same by name", () => `${canary.url.replace("127.0.0.1", "localhost")}/x`],
    ["the same with a password", () => `http://user:secret@${canary.host}/x`],
    ["cloud metadata", () => "http://169.254.169.254/latest/meta-data/iam/"],
    ["cloud metadata as a number", () => "http://0xa9fea9fe/"],
    ["cloud metadata in IPv6", () => "http://[::ffff:169.254.169.254]/"],
    ["a file", () => "file:///etc/passwd"],
    ["data in the address", () => "data:text/plain,PK"],
  ])("to %s is not obeyed", async (_what, location) => {
    for (const status of [301, 302, 303, 307, 308]) {
      await expectFailure(redirect(location(), status), /a redirect to .*, which is not followed/, 1);
    }
  });

  test("in a circle is not followed for long", async () => {
    await expectFailure((request, response) => redirect(`${request.url}x`)(request, response), /more than 5 redirects/, 6);
  });

  test("to a public host is obeyed, as release pages and content networks do it", async () => {
    const hosts = ["8.8.8.8", "[2606:4700:4700::1111]", "1.1.1.1"];
    expect(await Promise.all(hosts.map(isPublicHost))).toEqual(hosts.map(() => true));
    const others = [
      "0.0.0.0",
      "10.1.2.3",
      "100.64.0.1",
      "127.8.8.8",
      "169.254.1.1",
      "172.31.0.1",
      "192.168.1.1",
      "224.0.0.1",
      "255.255.255.255",
      "[::]",
      "[::1]",
      "[::ffff:8.8.8.8]",
      "[fe80::1]",
      "[fd00::1]",
      "[ff02::1]",
      "[64:ff9b::a9fe:a9fe]",
      "[2002:a9fe:a9fe::1]",
      "localhost",
      "no-such-host.invalid",
    ];
    expect(await Promise.all(others.map(async (host) => [host, await isPublicHost(host)]))).toEqual(others.map((host) => [host, false]));
  });
});

describe("a download site that does not end", () => {
  test("its body, with or without a length", async () => {
    const lie = endless();
    await expectFailure(lie, /a body of more than 10000000 bytes/, 1, { maxBytes: 10e6, silenceMs: 5000 });
    expect(lie.sent).toBeLessThan(40e6);
    const announced: Lie = (_request, response) => response.writeHead(200, { "content-length": 1e15 }).write("x");
    await expectFailure(announced, /announces 1000000000000000 bytes/, 1, { maxBytes: 10e6, silenceMs: 5000 });
    expect(await readdir(dir)).not.toContain(expect.stringMatching(/\.part$/));
  });

  test("its body, of a byte now and then", async () => await expectFailure(drip(20), /only \d+ bytes within 200 ms/, 3));
  test("its silence", async () => await expectFailure(() => undefined, /no answer within 200 ms/, 3));
  test("its headers, of a few now and then, or of many", async () => {
    await expectFailure(endlessHeaders(20), /no answer within 200 ms/, 3);
    await expectFailure(endlessHeaders(0), /Headers Overflow Error/, 3);
  });
});

describe("a download site whose answers are not what they say", () => {
  test("by their length: too short is asked for again, and then an error", async () => {
    await expectFailure(
      (_request, response) => {
        response.writeHead(200, { "content-length": 1000 }).write("x");
        setTimeout(() => response.destroy(), 20);
      },
      /could not be downloaded: /,
      3,
    );
  });

  test("by their range: a part that was not asked for, or is of another file, is not put together", async () => {
    await expectFailure((_request, response) => response.writeHead(206, { "content-range": "bytes 5-9/10" }).end("56789"), /status 206/, 1);
    await expectFailure((_request, response) => response.writeHead(416).end(), /status 416/, 1);
    const cutThen = (then: Lie): Lie => {
      let asked = 0;
      return (request, response) => {
        if (asked++ > 0) return then(request, response);
        response.writeHead(200, { "content-length": 200_000, etag: '"a"' }).write(Buffer.alloc(100_000));
        return setTimeout(() => response.destroy(), 50);
      };
    };
    const other: Lie = (_request, response) => response.writeHead(206, { "content-range": "bytes 7-9/10" }).end("789");
    await expectFailure(cutThen(other), /status 206/, 3);
  });

  test("pages of HTML", async () => await expectFailure(page(503), /^".*" answered with HTTP status 503\.$/, 1));
});

test("a password in the address of a source is refused, and is not repeated", async () => {
  const failure = await openSource(`http://user:secret@${server.host}/set.zip`, { cwd: dir }).catch((error: unknown) => error as Error);
  expect(failure).toMatchObject({ code: "E_SOURCE", message: expect.not.stringContaining("secret") });
  expect(server.requests).toEqual([]);
});
