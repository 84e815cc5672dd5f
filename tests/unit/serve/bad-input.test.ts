import { once } from "node:events";
import { connect } from "node:net";
import { crc32, deflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../../src/errors/error-table.ts";
import { errorStatus } from "../../../src/serve/http/error-status.ts";
import {
  form,
  getJson,
  predictBody,
  predictForm,
  readReply,
  sendRaw,
  startTestService,
  type JsonReply,
  type TestService,
} from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";

let service: TestService;
let jpeg: Buffer;
beforeAll(async () => {
  service = await startTestService();
  jpeg = await colourPicture("red", 1);
});

// Whatever was sent before, a good request still gets a good answer.
afterAll(async () => {
  const { status, body } = await predictForm(service, jpeg);
  expect([status, body.label]).toEqual([200, "red"]);
  expect((await getJson(service, "/health")).body.status).toBe("ok");
  await service.close();
});

function expectError({ status, headers, body }: JsonReply, code: ErrorCode, message: RegExp | string): void {
  expect(body).toEqual({ error: { code, message: expect.any(String), hint: expect.any(String), request_id: headers.get("x-request-id") } });
  expect(body.error.message).toMatch(message);
  expect(body.error.hint.length).toBeGreaterThan(10);
  expect(status).toBe(errorStatus[code]);
  expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
}

async function postForm(data: FormData): Promise<JsonReply> {
  return await readReply(await fetch(`${service.url}/predict`, { method: "POST", body: data }));
}

const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>');

/** A gray PNG of one bit a pixel: a small file that asks for a lot of memory. */
function hugePng(side: number): Buffer {
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header[8] = 1;
  const rows = deflateSync(Buffer.alloc(side * (1 + side / 8)), { level: 1 });
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    chunk("IHDR", header),
    chunk("IDAT", rows),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

describe("an image that cannot be used", () => {
  it("is refused when it is not an image", async () => {
    expectError(await predictForm(service, Buffer.from("I am a cat")), "E_IMAGE_FORMAT", "which is not JPEG, PNG, WebP or GIF");
    expectError(await predictBody(service, "I am a cat", "image/jpeg"), "E_IMAGE_FORMAT", "which is not JPEG");
  });

  it("is refused when it is cut off", async () => {
    for (const share of [0.9, 0.5, 0.1]) {
      expectError(await predictForm(service, jpeg.subarray(0, jpeg.length * share)), "E_IMAGE_CORRUPT", "cannot be decoded");
    }
    expectError(await predictForm(service, jpeg.subarray(0, 3)), "E_IMAGE_CORRUPT", "cannot be decoded");
  });

  it("is refused when it is empty, as a file and as a body", async () => {
    expectError(await predictForm(service, new Uint8Array()), "E_IMAGE_EMPTY", "0 bytes");
    expectError(await predictBody(service, new Uint8Array(), "image/png"), "E_IMAGE_EMPTY", "0 bytes");
    expectError(await readReply(await fetch(`${service.url}/predict`, { method: "POST" })), "E_IMAGE_EMPTY", "0 bytes");
  });

  it("is refused when it is an SVG, which could read files of the server", async () => {
    expectError(await predictForm(service, svg, "drawing.svg"), "E_IMAGE_FORMAT", "which is not JPEG");
    expectError(await predictBody(service, svg, "image/svg+xml"), "E_IMAGE_FORMAT", "which is not JPEG");
    expectError(await predictForm(service, svg, "drawing.png"), "E_IMAGE_FORMAT", "which is not JPEG");
  });

  it("is refused when it has 16000x16000 pixels, before they are decoded", async () => {
    const bomb = hugePng(16_000);
    expect(bomb.length).toBeLessThan(300_000);
    const startedAt = performance.now();
    expectError(await predictForm(service, bomb, "bomb.png"), "E_IMAGE_PIXELS", /64000000 (pixels|are decoded)/);
    expect(performance.now() - startedAt).toBeLessThan(2000);
  });

  it("is refused when it has 20 MB, and the client sees why although it sends all of it", async () => {
    const large = Buffer.alloc(20_000_000, jpeg);
    for (const reply of [await predictForm(service, large), await predictBody(service, large, "image/jpeg")]) {
      expectError(reply, "E_IMAGE_BYTES", "at most 16777216 bytes are accepted");
    }
  });

  it("is refused at once when a terabyte is announced", async () => {
    for (const type of ["image/jpeg", "multipart/form-data; boundary=x"]) {
      const reply = await sendRaw(
        service,
        `POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: 1000000000000\r\n\r\nabc`,
      );
      expect(reply).toMatch(/^HTTP\/1\.1 413 /);
      expect(reply).toContain("E_IMAGE_BYTES");
      expect(reply).toMatch(/connection: close/i);
    }
  });
});

describe("a form that does not hold one image", () => {
  it("is refused with the name of the wrong field", async () => {
    expectError(await postForm(form(["image", jpeg])), "E_UPLOAD_FIELD", 'a file in the field "image"; expected it in `file`');
  });

  it("is refused when it has two files", async () => {
    expectError(await postForm(form(["file", jpeg], ["file", jpeg])), "E_UPLOAD_FIELD", "more than one file");
    expectError(await postForm(form(["file", jpeg], ["other", jpeg])), "E_UPLOAD_FIELD", '"other"');
    expectError(
      await postForm(form(...Array.from({ length: 30 }, () => ["file", jpeg] as const))),
      "E_UPLOAD_FIELD",
      /more than one file|too many parts/,
    );
  });

  it("is refused when the field holds text, as without the @ of curl", async () => {
    const reply = await postForm(form(["file", "cat.jpg"]));
    expectError(reply, "E_UPLOAD_FIELD", "holds text, not a file");
    expect(reply.body.error.hint).toContain("curl -F file=@image.jpg");
  });

  it("is refused when it is empty", async () => {
    expectError(await postForm(form(["comment", "hello"])), "E_UPLOAD_FIELD", "no file in the field `file`");
    expectError(await predictBody(service, "--x--\r\n", "multipart/form-data; boundary=x"), "E_UPLOAD_FIELD", "no file");
  });

  it("is refused when it ends in the middle, has no boundary, or is not a form", async () => {
    const head = '--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n';
    const cut = Buffer.concat([Buffer.from(head), jpeg.subarray(0, 200)]);
    expectError(await predictBody(service, cut, "multipart/form-data; boundary=x"), "E_UPLOAD_BROKEN", "cannot be read");
    expectError(await predictBody(service, cut, "multipart/form-data"), "E_UPLOAD_BROKEN", "cannot be read");
    expectError(await predictBody(service, jpeg, "multipart/form-data; boundary=x"), "E_UPLOAD_BROKEN", "cannot be read");
  });

  it("is refused when a field is named like a part of every object", async () => {
    expectError(await postForm(form(["__proto__", jpeg], ["file", jpeg])), "E_UPLOAD_BROKEN", "prototype");
  });

  it("does not block its connection: what is left of a form that cannot be read is thrown away", async () => {
    const body = "x".repeat(3_000_000);
    const broken = `POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const replies = await sendRaw(service, `${broken}GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    expect(replies).toMatch(/^HTTP\/1\.1 400 [^]*"E_UPLOAD_BROKEN"[^]*HTTP\/1\.1 200 OK[^]*"status":"ok"/);
  });

  it("keeps the connection usable: the rest of a refused form is thrown away", async () => {
    const agentReuse = async (): Promise<JsonReply> =>
      await postForm(form(["image", Buffer.alloc(3_000_000, jpeg)], ["file", Buffer.alloc(3_000_000, jpeg)]));
    for (let i = 0; i < 5; i++) expectError(await agentReuse(), "E_UPLOAD_FIELD", '"image"');
    expect((await predictForm(service, jpeg)).status).toBe(200);
  });
});

describe("a request that does not fit", () => {
  it("is refused for a content type that cannot be an image", async () => {
    for (const type of ["application/json", "application/x-www-form-urlencoded", "text/plain", "video/mp4", "nonsense"]) {
      const reply = await predictBody(service, jpeg, type);
      expectError(reply, "E_MEDIA_TYPE", `The body has the content type "${type}"; expected a form or an image.`);
      expect(reply.body.error.hint).toContain("curl -F file=@image.jpg");
    }
  });

  it("is refused for a body without a content type", async () => {
    const reply = await sendRaw(service, `POST /predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc`);
    expect(reply).toMatch(/^HTTP\/1\.1 415 /);
    expect(reply).toContain('"code":"E_MEDIA_TYPE","message":"The body has no content type;');
  });

  it("gets 404 for an unknown address, also with a large body", async () => {
    expectError(await getJson(service, "/nowhere?x=1"), "E_ROUTE_NOT_FOUND", "GET /nowhere: no such address");
    const init = { method: "POST", body: Buffer.alloc(5_000_000), headers: { "content-type": "application/json" } };
    expectError(await readReply(await fetch(`${service.url}/predictions`, init)), "E_ROUTE_NOT_FOUND", "POST /predictions");
  });

  it("gets 405 with the methods that the address takes", async () => {
    const reply = await getJson(service, "/predict");
    expectError(reply, "E_METHOD", "/predict takes POST, not GET");
    expect(reply.headers.get("allow")).toBe("POST");
    const deleted = await readReply(await fetch(`${service.url}/health`, { method: "DELETE" }));
    expectError(deleted, "E_METHOD", "/health takes GET, HEAD, not DELETE");
    const asset = await readReply(await fetch(`${service.url}/docs/static/swagger-ui.css`, { method: "PUT" }));
    expectError(asset, "E_METHOD", "takes GET, HEAD");
  });

  it("gets 400 for an address that cannot be decoded, and for bytes that are not HTTP", async () => {
    const bad = await getJson(service, "/%zz");
    expect([bad.status, bad.body.error.code]).toEqual([400, "E_REQUEST"]);
    const reply = await sendRaw(service, "\u0016\u0003\u0001 hello");
    expect(reply).toMatch(/^HTTP\/1\.1 400 Bad Request/);
    expect(JSON.parse(reply.split("\r\n\r\n")[1]!)).toMatchObject({ error: { code: "E_REQUEST" } });
  });
});

describe("a client that hangs up in the middle of its upload", () => {
  it.each([
    ["a body", "image/jpeg", ""],
    ["a form", "multipart/form-data; boundary=x", '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'],
    ["a form before its first part", "multipart/form-data; boundary=x", ""],
  ])("does not slow down other clients: %s", async (_what, type, start) => {
    const socket = connect(service.port, "127.0.0.1");
    await once(socket, "connect");
    const before = service.lines.length;
    socket.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: 1000000\r\n\r\n${start}abcdef`);
    // Another request that is answered shows that the server has this one in its hands.
    await predictForm(service, jpeg);
    socket.destroy();
    const line = await service.logged(
      (entry) => entry["status"] === 499 && service.lines.slice(before).some((text) => text.includes(String(entry["request_id"]))),
    );
    expect(line).toMatchObject({ level: "info", route: "/predict", method: "POST", code: "E_UPLOAD_BROKEN" });
    expect((await predictForm(service, jpeg)).status).toBe(200);
  });
});
