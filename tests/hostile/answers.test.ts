import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { sendRequest } from "../helpers/raw-request.ts";
import { sendRaw, startTestService, type TestService, type TestServiceOptions } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";
import { startTracking } from "../helpers/tracking-server.ts";

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

  it("is refused by the tracking server as well, in the shape of its protocol, for artifacts too", async () => {
    const { url, dir } = await startTracking();
    const port = Number(new URL(url).port);
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    for (const [method, path] of [
      ["POST", "/api/2.0/mlflow/experiments/create"],
      ["PUT", "/api/2.0/mlflow-artifacts/artifacts/0/file.bin"],
    ] as const) {
      const { status, body } = await sendRequest({ port, method, path, headers, body: "abc" });
      const message = 'The body has the Content-Encoding "gzip"; expected none: send it as it is.';
      expect([path, status, body]).toEqual([path, 415, { error_code: "UNSUPPORTED_MEDIA_TYPE", message }]);
    }
    expect(await readdir(join(dir, "artifacts"), { recursive: true })).toEqual([]);
  });

  it("of identity is taken, and an unknown address stays unknown", async () => {
    const { port } = await start();
    const headers = { "content-type": "image/png", "content-encoding": "identity" };
    expect((await sendRequest({ port, method: "POST", path: "/predict", headers, body: picture })).status).toBe(200);
    const lost = { port, method: "POST", path: "/nowhere", headers: { "content-encoding": "gzip" }, body: "abc" };
    expect((await sendRequest(lost)).status).toBe(404);
  });
});

async function countSeries({ url }: TestService): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text.split("\n").filter((line) => line.startsWith("serval_")).length;
}

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
      message: "An unexpected error happened.",
    });
    await service.logged(({ msg }) => String(msg).includes(`${root}/secret`));
    for (const { text } of [refused, model]) expect(text).not.toContain(root);
  });
});
