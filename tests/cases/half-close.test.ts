import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { getJson, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

let service: TestService;
let picture: Buffer;
beforeAll(async () => {
  service = await startTestService();
  picture = await colourPicture("red", 1);
});
afterAll(async () => await service.close());

/** Sends all of it, closes this side, and gives what comes back until the server closes its own. */
async function sendAndHalfClose(...parts: readonly (string | Uint8Array)[]): Promise<string> {
  const socket: Socket = connect({ port: service.port, host: "127.0.0.1", allowHalfOpen: true });
  await once(socket, "connect");
  socket.end(Buffer.concat(parts.map((part) => Buffer.from(part))));
  return await text(socket);
}

const head = (headers: string): string => `POST /predict HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`;

test("half-close: a client that closes its side after the picture gets the answer, and then the end of the connection", async () => {
  const reply = await sendAndHalfClose(head(`Content-Type: image/jpeg\r\nContent-Length: ${picture.length}`), picture);
  expect(reply).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*"label":"red"/);
});

test("half-close, relatives: a form, chunks, HTTP/1.0, two requests at once and a request without a body are answered as well", async () => {
  const form = Buffer.concat([
    Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'),
    picture,
    Buffer.from("\r\n--b--\r\n"),
  ]);
  const sent = await sendAndHalfClose(head(`Content-Type: multipart/form-data; boundary=b\r\nContent-Length: ${form.length}`), form);
  expect(sent).toMatch(/^HTTP\/1\.1 200 OK[^]*"label":"red"/);

  const chunked = head("Content-Type: image/jpeg\r\nTransfer-Encoding: chunked");
  expect(await sendAndHalfClose(chunked, `${picture.length.toString(16)}\r\n`, picture, "\r\n0\r\n\r\n")).toMatch(
    / 200 OK[^]*"label":"red"/,
  );

  const old = `POST /predict HTTP/1.0\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: ${picture.length}\r\n\r\n`;
  expect(await sendAndHalfClose(old, picture)).toMatch(/^HTTP\/1\.1 200 OK[^]*"label":"red"/);

  const two = await sendAndHalfClose(
    "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    head(`Content-Type: image/jpeg\r\nContent-Length: ${picture.length}`),
    picture,
  );
  expect(two).toMatch(/^HTTP\/1\.1 200 OK[^]*"status":"ok"[^]*HTTP\/1\.1 200 OK[^]*"label":"red"/);

  expect(await sendAndHalfClose("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 OK[^]*"status":"ok"/);
});

test("half-close, relative: a body that ends too early is refused in the documented shape, and a connection without a request ends", async () => {
  const cut = await sendAndHalfClose(head(`Content-Type: image/jpeg\r\nContent-Length: ${picture.length}`), picture.subarray(0, 100));
  expect(cut).toMatch(/^HTTP\/1\.1 400 Bad Request[^]*"code":"E_(REQUEST|UPLOAD_BROKEN)"/);
  expect(await sendAndHalfClose("")).toBe("");
  expect((await getJson(service, "/health")).status).toBe(200);
});
