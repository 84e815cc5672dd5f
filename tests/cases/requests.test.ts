import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sendRequest, type RawReply, type RawRequest } from "../helpers/raw-request.ts";
import { getJson, predictBody, sendRaw, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

let service: TestService;
let picture: Buffer;
beforeAll(async () => {
  service = await startTestService();
  picture = await colourPicture("red", 1);
});
afterAll(async () => await service.close());

async function send(request: Omit<RawRequest, "port">): Promise<RawReply> {
  return await sendRequest({ ...request, port: service.port });
}

/** What an answer in the documented shape looks like, whichever part of the server gave it. */
const shown = (code: string) => ({
  error: { code, message: expect.any(String), hint: expect.stringMatching(/.{10}/), request_id: expect.any(String) },
});

/** Status and body of one raw answer. */
function parseReply(reply: string): { readonly status: number; readonly body: unknown } {
  const [head = "", ...rest] = reply.split("\r\n\r\n");
  return { status: Number(head.split(" ")[1]), body: JSON.parse(rest.join("\r\n\r\n")) as unknown };
}

describe("a compressed body", () => {
  test.each(["gzip", "deflate", "br", "GZIP", "gzip, identity"])("with Content-Encoding: %s is refused by that name", async (encoding) => {
    const headers = { "content-encoding": encoding, "content-type": "image/jpeg" };
    const { status, body } = await send({ method: "POST", path: "/predict", headers, body: gzipSync(picture) });
    expect([status, body]).toEqual([415, shown("E_MEDIA_TYPE")]);
    expect(body.error.message).toContain(`Content-Encoding ${JSON.stringify(encoding)}`);
    expect(body.error.hint).toContain("without compressing");
  });

  test.each(["/predict/batch", "/explain", "/feedback"])("is refused by the same name at %s", async (path) => {
    const headers = { "content-encoding": "gzip", "content-type": path === "/feedback" ? "application/json" : "image/jpeg" };
    const { status, body } = await send({ method: "POST", path, headers, body: gzipSync("{}") });
    expect([status, body.error.message]).toEqual([415, expect.stringContaining('Content-Encoding "gzip"')]);
  });

  test("that does not say so is named as gzip, not by its bytes", async () => {
    const { status, body } = await predictBody(service, gzipSync(picture), "image/jpeg");
    expect([status, body.error.code]).toEqual([415, "E_IMAGE_FORMAT"]);
    expect(body.error.message).toMatch(/gzip/i);
  });
});

/** A form with one part of these headers. */
async function sendPart(path: string, partHeaders: string): Promise<{ status: number; text: string }> {
  const body = Buffer.concat([Buffer.from(`--b\r\n${partHeaders}\r\n\r\n`), picture, Buffer.from("\r\n--b--\r\n")]);
  return await send({ method: "POST", path, headers: { "content-type": "multipart/form-data; boundary=b" }, body });
}

describe("a part of a form without a file name", () => {
  test.each(["image/jpeg", "IMAGE/JPEG", "image/png", "image/jpeg; charset=binary", "application/octet-stream"])(
    "is a picture where its type is %s",
    async (type) => {
      const part = `Content-Disposition: form-data; name="file"\r\nContent-Type: ${type}`;
      for (const path of ["/predict", "/explain"]) expect(await sendPart(path, part)).toMatchObject({ status: 200 });
      const batch = await sendPart("/predict/batch", part);
      expect(JSON.parse(batch.text)).toMatchObject({ index: 0, filename: null, result: { label: "red" } });
    },
  );

  test("is text where it has no type, and the answer says what is missing", async () => {
    const { status, text: answer } = await sendPart("/predict", 'Content-Disposition: form-data; name="file"');
    expect([status, answer]).toEqual([400, expect.stringContaining("holds text, not a file")]);
  });
});

describe("headers that are too long", () => {
  test.each([
    ["one header of 20 kB", `x: ${"y".repeat(20_000)}`],
    ["a thousand headers of 20 bytes", Array.from({ length: 1000 }, (_, i) => `x-header-${i}: abcdefgh`).join("\r\n")],
  ])("are answered 431 in the documented shape: %s", async (_what, headers) => {
    const reply = await sendRaw(service, `GET /health HTTP/1.1\r\nhost: x\r\n${headers}\r\n\r\n`);
    expect(reply).toMatch(/^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/);
    expect(parseReply(reply)).toEqual({ status: 431, body: shown("E_HEADERS_LARGE") });
    expect(reply).toContain("16384 bytes");
  });

  test("are answered 431 as an address too, and the connection ends", async () => {
    const reply = await sendRaw(service, `GET /health?${"y".repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`);
    expect(parseReply(reply)).toEqual({ status: 431, body: shown("E_HEADERS_LARGE") });
  });
});

describe("slashes", () => {
  test.each(["/health/", "//health", "/health//", "/health/ready/", "//health//ready", "/model/", "//openapi.json"])(
    "too many in %s lead to the same place",
    async (path) => {
      expect(await send({ path, headers: { host: "x" } })).toMatchObject({ status: 200 });
    },
  );

  test("too many in an address of a picture, of feedback and of the inference protocol lead to the same place", async () => {
    const headers = { "content-type": "image/jpeg" };
    for (const path of ["/predict/", "//predict", "/predict/?abstain=true", "//explain/"]) {
      expect(await send({ method: "POST", path, headers, body: picture })).toMatchObject({ status: 200 });
    }
    const unknown = JSON.stringify({ request_id: "none", label: "red" });
    const feedback = await send({ method: "POST", path: "/feedback/", headers: { "content-type": "application/json" }, body: unknown });
    expect(feedback).toMatchObject({ status: 404, body: shown("E_FEEDBACK_UNKNOWN") });
    expect(await send({ path: "//v2/models//colours/" })).toMatchObject({ status: 200, body: { name: "colours" } });
    expect((await send({ path: "//v2/models/none/" })).body).toEqual({ error: expect.stringContaining("E_MODEL_UNKNOWN") });
  });

  test("keep 404 and 405 for what they are", async () => {
    expect(await send({ path: "/nowhere/" })).toMatchObject({ status: 404, body: shown("E_ROUTE_NOT_FOUND") });
    const wrong = await send({ path: "//predict/" });
    expect(wrong).toMatchObject({ status: 405, headers: { allow: "POST" }, body: shown("E_METHOD") });
  });

  test("in a query or an encoded part of the address are left as they are", async () => {
    expect(
      await send({ method: "POST", path: "/explain?label=a//b/", headers: { "content-type": "image/jpeg" }, body: picture }),
    ).toMatchObject({
      status: 400,
      body: { error: { code: "E_LABEL_UNKNOWN", message: expect.stringContaining('"a//b/"') } },
    });
    expect(await send({ path: "/health%2F" })).toMatchObject({ status: 404 });
  });

  test("are not needed before an address in its absolute form", async () => {
    const reply = await sendRaw(service, "GET http://x/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect(parseReply(reply)).toMatchObject({ status: 200, body: { status: "ok" } });
  });
});

describe("errors outside the routes", () => {
  test.each([
    ["bytes that are not HTTP", "\u0016\u0003\u0001 hello\r\n\r\n", 400, "E_REQUEST"],
    ["HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "E_REQUEST"],
    ["no Host", "GET /health/ready HTTP/1.1\r\nconnection: close\r\n\r\n", 400, "E_REQUEST"],
    ["two hosts", "GET /model HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n", 400, "E_REQUEST"],
    ["a tunnel", "CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n", 400, "E_REQUEST"],
    ["a method that is unknown", "BREW /health HTTP/1.1\r\nhost: x\r\n\r\n", 400, "E_REQUEST"],
    ["a method of another protocol", "PROPFIND /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405, "E_METHOD"],
    ["an address that cannot be decoded", "GET /%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 400, "E_REQUEST"],
    ["an asterisk", "OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404, "E_ROUTE_NOT_FOUND"],
    [
      "a file that /docs does not have",
      "GET /docs/static/none.js HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
      404,
      "E_ROUTE_NOT_FOUND",
    ],
    [
      "a file outside /docs",
      "GET /docs/static/..%2f..%2fpackage.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
      404,
      "E_ROUTE_NOT_FOUND",
    ],
    ["a wrong length", "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n", 400, "E_REQUEST"],
    [
      "a wrong chunk",
      "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
      400,
      "E_REQUEST",
    ],
  ])("have the documented shape: %s", async (_what, request, status, code) => {
    expect(parseReply(await sendRaw(service, request))).toEqual({ status, body: shown(code) });
  });

  test("have the documented shape where HTTP is upgraded: the request is answered as if it had not asked", async () => {
    const headers = "host: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: YWJj";
    const socket = connect(service.port, "127.0.0.1");
    socket.write(`GET /nowhere HTTP/1.1\r\n${headers}\r\n\r\n`);
    const [first] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    expect(parseReply(first.toString())).toEqual({ status: 404, body: shown("E_ROUTE_NOT_FOUND") });
  });
});

describe("Expect: 100-continue", () => {
  /** Sends headers alone; where the server asks for the body, sends that. Gives all that came back. */
  async function expectContinue(start: string, body: Uint8Array): Promise<string> {
    const socket = connect(service.port, "127.0.0.1").on("error", () => undefined);
    socket.write(`${start}\r\nhost: x\r\nexpect: 100-continue\r\n\r\n`);
    socket.once("data", (first: Buffer) => {
      if (first.toString().startsWith("HTTP/1.1 100 ")) socket.end(body);
    });
    return await text(socket);
  }
  const upload = (headers: string): string => `POST /predict HTTP/1.1\r\n${headers}`;

  test("is answered 100 and then with the label where the body is wanted", async () => {
    const reply = await expectContinue(upload(`content-type: image/jpeg\r\ncontent-length: ${picture.length}`), picture);
    expect(reply).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK[^]*"label":"red"/);
  });

  test("is answered 100 for a form and for feedback as well", async () => {
    const form = Buffer.concat([
      Buffer.from('--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'),
      picture,
      Buffer.from("\r\n--b--\r\n"),
    ]);
    const type = `content-type: multipart/form-data; boundary=b\r\ncontent-length: ${form.length}`;
    expect(await expectContinue(upload(type), form)).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK[^]*"label":"red"/);
    const label = Buffer.from('{"request_id":"none","label":"red"}');
    const feedback = `POST /feedback HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: ${label.length}`;
    expect(await expectContinue(feedback, label)).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 404 /);
  });

  test.each([
    ["an unknown address", "POST /predictions HTTP/1.1\r\ncontent-type: image/jpeg\r\ncontent-length: 900", 404],
    ["a method that the address does not take", "PUT /predict HTTP/1.1\r\ncontent-type: image/jpeg\r\ncontent-length: 900", 405],
    ["a content type that is not an image", upload("content-type: text/plain\r\ncontent-length: 900"), 415],
    ["a compressed body", upload("content-type: image/jpeg\r\ncontent-encoding: gzip\r\ncontent-length: 900"), 415],
    ["a body over the limit", upload("content-type: image/jpeg\r\ncontent-length: 20000000"), 413],
    ["a form far over the limit", upload("content-type: multipart/form-data; boundary=b\r\ncontent-length: 20000000"), 413],
    ["feedback over the limit", "POST /feedback HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 900000", 413],
    ["a batch that is not a form", "POST /predict/batch HTTP/1.1\r\ncontent-type: image/jpeg\r\ncontent-length: 900", 415],
    ["a change of the model without the right", "POST /model/rollback HTTP/1.1\r\ncontent-length: 900", 403],
  ])("is answered before the body, in the documented shape, for %s", async (_what, start, status) => {
    const reply = await expectContinue(start, Buffer.alloc(900));
    expect(parseReply(reply)).toEqual({ status, body: shown((parseReply(reply).body as { error: { code: string } }).error.code) });
    expect(reply).toMatch(/\r\nconnection: close\r\n/i);
  });

  test("of anything else is passed over, as HTTP allows", async () => {
    expect((await getJson(service, "/health", { "x-nothing": "1" })).status).toBe(200);
    const reply = await sendRaw(service, "GET /health HTTP/1.1\r\nhost: x\r\nexpect: the-best\r\nconnection: close\r\n\r\n");
    expect(parseReply(reply)).toMatchObject({ status: 200, body: { status: "ok" } });
  });
});
