import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { form, getJson, predictForm, readReply, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

let service: TestService;
let picture: Buffer;
beforeAll(async () => {
  service = await startTestService({ limits: { uploadTimeoutMs: 1500 } });
  picture = await colourPicture("red", 1);
});
afterAll(async () => await service.close());
afterEach(async () => {
  expect((await predictForm(service, picture)).body.label).toBe("red");
  expect((await getJson(service, "/health")).status).toBe(200);
});

async function open(): Promise<Socket> {
  const socket = connect(service.port, "127.0.0.1").on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

describe("a form", () => {
  it("with 10,000 fields is refused at its limit", async () => {
    const data = new FormData();
    for (let i = 0; i < 10_000; i++) data.append(`field${i}`, "x");
    data.append("file", new Blob([new Uint8Array(picture)]), "a.jpg");
    const { status, body } = await readReply(await fetch(`${service.url}/predict`, { method: "POST", body: data }));
    expect([status, body.error.code]).toEqual([400, "E_UPLOAD_FIELD"]);
    expect(body.error.message).toContain("too many parts");
  });

  it("with a field name or header without end is refused", async () => {
    for (const name of ["x".repeat(100_000), '"; filename="../../etc/passwd']) {
      const { status, body } = await readReply(await fetch(`${service.url}/predict`, { method: "POST", body: form([name, picture]) }));
      expect([status, body.error.code]).toEqual([400, expect.stringMatching(/^E_UPLOAD_(FIELD|BROKEN)$/)]);
    }
  });
});

describe("a connection", () => {
  it("whose body is shorter than it said is let go, and named in the log", async () => {
    const socket = await open();
    const lines = service.lines.length;
    socket.end("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 1000\r\n\r\nabc");
    await text(socket).catch(() => "");
    const line = await service.logged((entry) => entry["code"] === "E_UPLOAD_BROKEN" && service.lines.length > lines);
    expect(line).toMatchObject({ status: 499, route: "/predict" });
  });

  it("that sends ten bytes a second is answered 408 in time, and delays no other request", async () => {
    const socket = await open();
    socket.write("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 100000\r\n\r\n");
    const drip = setInterval(() => socket.write("x"), 100);
    const replied = text(socket);
    for (let i = 0; i < 5; i++) expect((await predictForm(service, picture)).status).toBe(200);
    expect(await replied).toMatch(/^HTTP\/1\.1 408 [^]*E_UPLOAD_TIMEOUT/);
    clearInterval(drip);
  });

  it("that sends its headers letter by letter is let go as well", async () => {
    const socket = await open();
    const drip = setInterval(() => socket.write("G"), 100);
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 (408|400) /);
    clearInterval(drip);
  });

  it("is one of 1,000 idle ones: the next request is answered as if they were not there", async () => {
    const idle = await Promise.all(Array.from({ length: 1000 }, open));
    expect((await predictForm(service, picture)).body.label).toBe("red");
    for (const socket of idle) socket.destroy();
  });

  it("that asks 200 times before it reads is answered 200 times, in order", async () => {
    const socket = await open();
    const one = "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    socket.write(one.repeat(199) + one.replace("host: x", "host: x\r\nconnection: close"));
    expect((await text(socket)).match(/HTTP\/1\.1 200 OK/g)).toHaveLength(200);
  });

  it("that smuggles a second length, or a length and chunks, is refused", async () => {
    for (const headers of [
      "content-length: 3\r\ncontent-length: 4",
      "content-length: 3\r\ntransfer-encoding: chunked",
      "transfer-encoding: chunked, identity",
    ]) {
      const socket = await open();
      socket.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n${headers}\r\n\r\nabc`);
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
  });
});

describe("a connection whose answer has begun", () => {
  it("gets no second answer into the middle of it when the rest of its form does not come", async () => {
    const socket = await open();
    const part = `--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n`;
    socket.write(
      "POST /predict/batch HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    const chunk = (bytes: Buffer): void =>
      void socket.write(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]));
    // Enough whole images that the first lines of the answer are sent.
    for (let i = 0; i < 8; i++) chunk(Buffer.concat([Buffer.from(part), picture, Buffer.from("\r\n")]));
    const answer = await text(socket).catch(() => "");
    expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*"label":"red"/);
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });
});

describe("a tensor request", () => {
  it("that is too large is read to its end, and its connection stays open", async () => {
    const socket = await open();
    const size = 20 * 1024 * 1024;
    const replied = text(socket);
    socket.write(`POST /v2/models/colours/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${size}\r\n\r\n`);
    socket.write(Buffer.alloc(size, " "));
    socket.write("GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect((await replied).match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 200"]);
  });

  const infer = async (body: string | Buffer, headers: Record<string, string> = {}) =>
    await readReply(
      await fetch(`${service.url}/v2/models/colours/infer`, { method: "POST", body: new Uint8Array(Buffer.from(body)), headers }),
    );
  const input = { name: "images", datatype: "UINT8", shape: [1, 12, 16, 3] };

  it.each<[string, string, Record<string, string>?]>([
    ["no body", ""],
    ["no JSON", "{"],
    ["no object", "[1]"],
    ["no inputs", "{}"],
    ["two inputs", JSON.stringify({ inputs: [input, input] })],
    ["no data", JSON.stringify({ inputs: [input] })],
    ["too little data", JSON.stringify({ inputs: [{ ...input, data: [1, 2, 3] }] })],
    ["values that are not bytes", JSON.stringify({ inputs: [{ ...input, data: Array.from({ length: 576 }, () => 256) }] })],
    ["another type", JSON.stringify({ inputs: [{ ...input, datatype: "FP32", data: [] }] })],
    ["a shape of another size", JSON.stringify({ inputs: [{ ...input, shape: [1, 13, 16, 3], data: [] }] })],
    ["a million images", JSON.stringify({ inputs: [{ ...input, shape: [1_000_000, 12, 16, 3], data: [] }] })],
    [
      "brackets without end",
      `{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,12,16,3],"data":${"[".repeat(5000)}${"]".repeat(5000)}}]}`,
    ],
    ["a length that is none", JSON.stringify({ inputs: [input] }), { "inference-header-content-length": "-1" }],
    [
      "an unknown output",
      JSON.stringify({ inputs: [{ ...input, data: Array.from({ length: 576 }, () => 1) }], outputs: [{ name: "secret" }] }),
    ],
  ])("with %s is answered 400 in the protocol's own shape", async (_what, body, headers) => {
    const reply = await infer(body, headers);
    expect([reply.status, Object.keys(reply.body), typeof reply.body.error]).toEqual([400, ["error"], "string"]);
  });
});
