import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import type { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { ServalError } from "../../../src/errors.ts";
import { renderSvg } from "../../../src/image/render.ts";
import { defaultLimits } from "../../../src/serve/limits.ts";
import { createPredictor } from "../../../src/serve/predictor.ts";
import { getJson, predictForm, startTestService, type TestService, type TestServiceOptions } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";

let service: TestService | undefined;
async function start(options: TestServiceOptions = {}): Promise<TestService> {
  service = await startTestService(options);
  return service;
}
afterEach(async () => {
  await service?.close();
  service = undefined;
});

const codeOf = (error: unknown): string => (error as ServalError).code;

/** Takes far longer to decode than one millisecond. */
async function slowPicture(): Promise<Buffer> {
  return await renderSvg('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="5" fill="red"/></svg>', {
    format: "png",
    width: 2500,
  });
}

describe("when too much is waiting", () => {
  it("answers 503 with Retry-After, and the health check stays 200", async () => {
    const full = await start({ limits: { queueLimit: 0 } });
    const { status, headers, body } = await predictForm(full, await colourPicture("red"));
    expect([status, body.error.code, headers.get("retry-after")]).toEqual([503, "E_QUEUE_FULL", "1"]);
    expect((await getJson(full, "/health")).status).toBe(200);
  });

  it("refuses what is beyond the limit at once, and takes more when one is done", async () => {
    const { slot } = await start();
    const predictor = createPredictor(slot, { ...defaultLimits, queueLimit: 2 });
    const picture = await colourPicture("red");
    const waiting = [predictor.predict(picture), predictor.predict(picture)];
    expect(predictor.depth).toBe(2);
    const error = await predictor.predict(picture).catch((reason: unknown) => reason);
    expect(codeOf(error)).toBe("E_QUEUE_FULL");
    expect((error as Error).message).toBe("2 predictions are waiting or running, and 2 may.");
    await Promise.all(waiting);
    expect(predictor.depth).toBe(0);
    expect((await predictor.predict(picture)).label).toBe("red");
  });

  it("frees the place of a picture that could not be used", async () => {
    const { slot } = await start();
    const predictor = createPredictor(slot, { ...defaultLimits, queueLimit: 1 });
    for (let i = 0; i < 3; i++)
      expect(codeOf(await predictor.predict(Buffer.from("no image")).catch((reason: unknown) => reason))).toBe("E_IMAGE_FORMAT");
    expect(predictor.depth).toBe(0);
  });
});

describe("when a prediction takes too long", () => {
  it("answers 503, and its place stays taken until the work has ended", async () => {
    const { slot } = await start();
    const predictor = createPredictor(slot, { ...defaultLimits, queueLimit: 1, requestTimeoutMs: 1 });
    const picture = await slowPicture();
    const error = await predictor.predict(picture).catch((reason: unknown) => reason);
    expect(codeOf(error)).toBe("E_PREDICTION_TIMEOUT");
    expect(predictor.depth).toBe(1);
    expect(codeOf(await predictor.predict(picture).catch((reason: unknown) => reason))).toBe("E_QUEUE_FULL");
    await expect.poll(() => predictor.depth).toBe(0);
  });

  it("says so over HTTP", async () => {
    const slow = await start({ limits: { requestTimeoutMs: 1 } });
    const { status, headers, body } = await predictForm(slow, await slowPicture());
    expect([status, body.error.code, headers.get("retry-after")]).toEqual([503, "E_PREDICTION_TIMEOUT", "1"]);
  });
});

it("answers 408 to an upload that does not arrive in time, and closes its connection", async () => {
  const impatient = await start({ limits: { uploadTimeoutMs: 100 } });
  const socket = connect(impatient.port, "127.0.0.1");
  socket.write("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 1000\r\n\r\nabc");
  const reply = await text(socket);
  expect(reply).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
  expect(JSON.parse(reply.split("\r\n\r\n")[1]!)).toMatchObject({ error: { code: "E_UPLOAD_TIMEOUT" } });
});

it("answers 413 beyond the limits that it was given", async () => {
  const small = await start({ limits: { maxBodyBytes: 300, maxPixels: 1000 } });
  const picture = await colourPicture("red", 3);
  expect(picture.length).toBeGreaterThan(300);
  expect((await predictForm(small, picture)).body.error).toMatchObject({ code: "E_IMAGE_BYTES", message: expect.stringContaining("300") });
  const pixels = await start({ limits: { maxPixels: 1000 } });
  expect((await predictForm(pixels, picture)).body.error).toMatchObject({
    code: "E_IMAGE_PIXELS",
    message: expect.stringContaining("1000"),
  });
  await small.close();
});

it("turns its health to 503 when the model's thread is gone for good, and lives on", async () => {
  const workers: Worker[] = [];
  const remember = (worker: Worker): void => void workers.push(worker);
  process.on("worker", remember);
  const dying = await start();
  const picture = await colourPicture("red");
  await workers.at(-1)!.terminate();
  expect((await predictForm(dying, picture)).status).toBe(200);
  expect((await getJson(dying, "/health")).status).toBe(200);
  await workers.at(-1)!.terminate();
  // The second thread had answered, so there is a third; it has not, so there is no fourth.
  await workers.at(-1)!.terminate();
  process.off("worker", remember);
  expect(workers).toHaveLength(3);
  const health = await getJson(dying, "/health");
  expect([health.status, health.body.status]).toEqual([503, "unavailable"]);
  const { status, body } = await predictForm(dying, picture);
  expect([status, body.error.code]).toEqual([503, "E_INFERENCE_STOPPED"]);
});

it("finishes the upload in its hands when it is asked to stop, and then refuses connections", async () => {
  const stopping = await startTestService();
  const picture = await colourPicture("red");
  const socket = connect(stopping.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: ${picture.length}\r\n\r\n`);
  socket.write(picture.subarray(0, 100));
  // Answered after the first half arrived: the server has that request in its hands.
  await predictForm(stopping, picture);
  const closed = stopping.close();
  socket.write(picture.subarray(100));
  const reply = await text(socket);
  expect(reply).toMatch(/^HTTP\/1\.1 200 OK/);
  expect(reply).toContain('"label":"red"');
  await closed;
  await expect(fetch(`${stopping.url}/health`)).rejects.toThrow("fetch failed");
});
