import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import type { Worker } from "node:worker_threads";
import sharp from "sharp";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { defaultLimits } from "../../../src/serve/inference/limits.ts";
import { Predictor } from "../../../src/serve/model/predictor.ts";
import { form, getJson, predictForm, startTestService, type TestService, type TestServiceOptions } from "../../helpers/service.ts";
import { noise } from "../../helpers/pictures.ts";
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

let slow: Promise<Buffer> | undefined;
/** As much noise as a thread decodes itself: it takes a tenth of a second or two. What is more goes to another process. */
async function slowPicture(): Promise<Buffer> {
  return await (slow ??= noise(2000, 2000, 4).webp({ effort: 0 }).toBuffer());
}

/** A few kilobytes, and some hundredths of a second. */
async function slowSmallPicture(): Promise<Buffer> {
  return await sharp({ create: { width: 2000, height: 2000, channels: 3, background: "#888" } })
    .gif({ effort: 1 })
    .toBuffer();
}

describe("when too much is waiting", () => {
  it("answers 503 with Retry-After, and the health check stays 200", async () => {
    const full = await start({ limits: { queueLimit: 0 } });
    const { status, headers, body } = await predictForm(full, await colourPicture("red"));
    expect([status, body.error.code, headers.get("retry-after")]).toEqual([503, "E_QUEUE_FULL", "1"]);
    expect((await getJson(full, "/health")).status).toBe(200);
    const line = await full.logged((entry) => entry["code"] === "E_QUEUE_FULL");
    expect(line).toMatchObject({ level: "info", request_id: body.error.request_id, route: "/predict", method: "POST", status: 503 });
    const metrics = await (await fetch(`${full.url}/metrics`)).text();
    expect(metrics).toContain('serval_http_requests_total{route="/predict",method="POST",status="503"} 1');
    expect(metrics).toContain('serval_errors_total{code="E_QUEUE_FULL"} 1');
  });

  it("answers 503 from the headers alone, before the body is there, on every address that runs the model", async () => {
    const full = await start({ limits: { queueLimit: 0 } });
    for (const path of ["/predict", "/predict/batch", "/explain?label=red", "/v2/models/colours/infer"]) {
      const socket = connect(full.port, "127.0.0.1");
      socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 100000\r\n\r\n`);
      const [chunk] = (await once(socket, "data")) as [Buffer];
      expect(chunk.toString()).toMatch(/^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*E_QUEUE_FULL/i);
      socket.destroy();
    }
  });

  it("holds bodies of eight times the largest image, however slowly they come, and refuses more", async () => {
    const maxBodyBytes = 100_000;
    const service = await start({ limits: { maxBodyBytes } });
    const most = Buffer.alloc(maxBodyBytes - 1000, 1);
    const slow = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const socket = connect(service.port, "127.0.0.1").on("error", () => undefined);
        await once(socket, "connect");
        socket.write(`POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: ${maxBodyBytes}\r\n\r\n`);
        socket.write(most);
        return socket;
      }),
    );
    const send = async (path: string, body: string | Uint8Array<ArrayBuffer> | FormData, type?: string): Promise<unknown[]> => {
      const reply = await fetch(`${service.url}${path}`, {
        method: "POST",
        body,
        ...(type !== undefined && { headers: { "content-type": type } }),
      });
      return [reply.status, /E_[A-Z_]+/.exec(await reply.text())?.[0]];
    };
    const wholeForm = (): FormData => form(["file", most]);
    const sends = {
      body: () => send("/predict", new Uint8Array(most), "image/jpeg"),
      form: () => send("/predict", wholeForm()),
      explain: () => send("/explain", wholeForm()),
      batch: () => send("/predict/batch", wholeForm()),
    };
    await expect.poll(sends.body, { timeout: 20_000 }).toEqual([503, "E_QUEUE_FULL"]);
    for (const [what, sent] of Object.entries(sends)) expect([what, ...(await sent())]).toEqual([what, 503, "E_QUEUE_FULL"]);
    expect((await send("/v2/models/colours/infer", new Uint8Array(most)))[0]).toBe(503);
    // A small one still finds room, and with the slow ones gone all of them do.
    expect((await predictForm(service, await colourPicture("red"))).body.label).toBe("red");
    for (const socket of slow) socket.destroy();
    await expect.poll(sends.body, { timeout: 20_000 }).toEqual([415, "E_IMAGE_FORMAT"]);
    for (let i = 0; i < 20; i++) for (const sent of Object.values(sends)) expect((await sent())[1]).toBe("E_IMAGE_FORMAT");
  });

  it("refuses requests above the limit at once, and accepts more when one is done", async () => {
    const { slot } = await start();
    const predictor = new Predictor(slot, { ...defaultLimits, queueLimit: 2 });
    const picture = await colourPicture("red");
    const waiting = [predictor.predict(picture), predictor.predict(picture)];
    expect(predictor.depth).toBe(2);
    const error = await predictor.predict(picture).catch((reason: unknown) => reason);
    expect(codeOf(error)).toBe("E_QUEUE_FULL");
    expect((error as Error).message).toBe("The queue is full: 2 predictions waiting or running (limit 2).");
    await Promise.all(waiting);
    expect(predictor.depth).toBe(0);
    expect((await predictor.predict(picture)).label).toBe("red");
  });

  it("uses an eighth of the queue while it refuses, and all of it a second after the last refusal", async () => {
    const { slot } = await start();
    const predictor = new Predictor(slot, { ...defaultLimits, queueLimit: 64 });
    const picture = await colourPicture("red");
    const ask = async (count: number): Promise<number> => {
      const answers = await Promise.allSettled(Array.from({ length: count }, async () => await predictor.predict(picture)));
      return answers.filter(({ status }) => status === "fulfilled").length;
    };
    expect(await ask(64)).toBe(64);
    expect(await ask(80)).toBe(64);
    expect(await ask(64)).toBe(8);
    const refused = performance.now();
    await expect.poll(async () => await ask(1), { interval: 100 }).toBe(1);
    await expect.poll(() => performance.now() - refused, { interval: 100 }).toBeGreaterThan(1000);
    expect(await ask(64)).toBe(64);
  });

  it("frees the place of a picture that could not be used", async () => {
    const { slot } = await start();
    const predictor = new Predictor(slot, { ...defaultLimits, queueLimit: 1 });
    for (let i = 0; i < 3; i++)
      expect(codeOf(await predictor.predict(Buffer.from("no image")).catch((reason: unknown) => reason))).toBe("E_IMAGE_FORMAT");
    expect(predictor.depth).toBe(0);
  });
});

describe("when a prediction takes too long", () => {
  it("answers 503, and its place stays taken until the work has ended", async () => {
    const { slot } = await start();
    const predictor = new Predictor(slot, { ...defaultLimits, queueLimit: 1, requestTimeoutMs: 1 });
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

it("gives the memory of a stalled upload back, also where the client never closes its side", async () => {
  // Eight bodies of the largest size may be held.
  const impatient = await start({ limits: { uploadTimeoutMs: 300, maxBodyBytes: 2000 } });
  const sockets = Array.from({ length: 8 }, () => connect({ port: impatient.port, host: "127.0.0.1", allowHalfOpen: true }));
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
  const replies = sockets.map(async (socket) => {
    socket.write("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 2000\r\n\r\n");
    socket.write(Buffer.alloc(1999));
    return await text(socket);
  });
  const predict = async (): Promise<number> => (await predictForm(impatient, await colourPicture("red"))).status;
  await expect.poll(predict).toBe(503);
  for (const reply of await Promise.all(replies)) expect(reply).toMatch(/^HTTP\/1\.1 408 /);
  await expect.poll(predict, { timeout: 5000 }).toBe(200);
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

/** Worker threads in the order in which they are started. */
function recordWorkers(): Worker[] {
  const workers: Worker[] = [];
  const remember = (worker: Worker): void => void (worker.threadName === "serval-predict" && workers.push(worker));
  process.on("worker", remember);
  onTestFinished(() => void process.off("worker", remember));
  return workers;
}

describe("when a thread is lost", () => {
  it("replaces one that died, tells its request so, and is healthy again", async () => {
    const workers = recordWorkers();
    const dying = await start();
    const picture = await slowPicture();
    const asked = predictForm(dying, picture);
    await expect.poll(() => dying.slot.depth, { interval: 5 }).toBe(1);
    await workers.at(-1)!.terminate();
    const { status, headers, body } = await asked;
    expect([status, body.error.code, headers.get("retry-after")]).toEqual([503, "E_INFERENCE_STOPPED", "1"]);
    await expect.poll(async () => (await getJson(dying, "/health")).status).toBe(200);
    expect(workers).toHaveLength(2);
    expect((await predictForm(dying, await colourPicture("red"))).body.label).toBe("red");
    expect(await dying.logged((line) => line["code"] === "E_INFERENCE_STOPPED" && line["level"] === "error")).toBeTruthy();
  });

  it("fails its health while there is none, with a pause before each new one, and recovers without help", async () => {
    const workers = recordWorkers();
    const dying = await start();
    const picture = await colourPicture("red");
    // The first answer of a route compiles its schemas, which may take longer than a pause.
    await predictForm(dying, picture);
    await workers.at(-1)!.terminate();
    // These die before they have answered anything: each pause is twice the previous one, and all of the below is asked in the last.
    for (const count of [2, 3, 4]) {
      await expect.poll(() => workers.length, { interval: 5 }).toBe(count);
      await workers.at(-1)!.terminate();
    }
    const [health, ready, live, prediction] = await Promise.all([
      getJson(dying, "/health"),
      getJson(dying, "/health/ready"),
      getJson(dying, "/health/live"),
      predictForm(dying, picture),
    ]);
    expect([health.status, health.body.status, ready.status, live.status]).toEqual([503, "unavailable", 503, 200]);
    expect([prediction.status, prediction.body.error?.code]).toEqual([503, "E_INFERENCE_STOPPED"]);
    await expect.poll(async () => (await getJson(dying, "/health")).status).toBe(200);
    expect((await predictForm(dying, await colourPicture("red"))).status).toBe(200);
  });

  it("replaces one that gives no answer for too long, and its request hears of it", async () => {
    const workers = recordWorkers();
    // Nothing begins before all 32 are there: so one thread gets them all, however slowly they arrive.
    const hanging = await start({ limits: { hangMs: 100 }, service: { maxBatchSize: 32, maxDelayMs: 10_000 } });
    const picture = await slowSmallPicture();
    const replies = await Promise.all(Array.from({ length: 32 }, async () => await predictForm(hanging, picture)));
    expect(new Set(replies.map(({ status, body }) => `${status} ${body.error.code}`))).toEqual(new Set(["503 E_INFERENCE_STOPPED"]));
    const line = await hanging.logged(({ level, code }) => level === "error" && code === "E_INFERENCE_STOPPED");
    expect(line["msg"]).toBe("The thread gave no answer within 100 ms and was replaced.");
    expect(workers).toHaveLength(2);
    await expect.poll(async () => (await getJson(hanging, "/health")).status).toBe(200);
  });
});

it("is not ready while nothing that waits is answered, and is ready again after the next answer", async () => {
  // Half of a request's time without any answer is too long.
  const stuck = await start({ limits: { requestTimeoutMs: 200 }, service: { maxBatchSize: 32, maxDelayMs: 50 } });
  const picture = await slowSmallPicture();
  const asked = Array.from({ length: 32 }, async () => await predictForm(stuck, picture));
  const ready = async (): Promise<number[]> =>
    await Promise.all(["/health", "/health/ready", "/v2/health/ready"].map(async (path) => (await fetch(`${stuck.url}${path}`)).status));
  await expect.poll(ready, { interval: 5 }).toEqual([503, 503, 503]);
  expect((await getJson(stuck, "/health/live")).status).toBe(200);
  await expect.poll(ready).toEqual([200, 200, 200]);
  await Promise.all(asked);
});

it("takes a prediction out of the queue when its client hangs up", async () => {
  const busy = await start();
  const slow = await slowPicture();
  const running = [predictForm(busy, slow), predictForm(busy, slow), predictForm(busy, slow)];
  await expect.poll(() => busy.slot.depth, { interval: 5 }).toBe(3);
  const impatient = new AbortController();
  const asked = fetch(`${busy.url}/predict`, {
    method: "POST",
    body: await colourPicture("red"),
    headers: { "content-type": "image/png" },
    signal: impatient.signal,
  });
  await expect.poll(() => busy.slot.depth, { interval: 5 }).toBe(4);
  impatient.abort();
  await expect(asked).rejects.toThrow("aborted");
  await busy.logged((line) => line["status"] === 499);
  expect(busy.slot.depth).toBeLessThan(4);
  for (const reply of await Promise.all(running)) expect(reply.status).toBe(200);
});

it("puts requests that wait together through the model at once, where it may", async () => {
  const batching = await start({ service: { maxBatchSize: 8, maxDelayMs: 10_000 } });
  const pictures = await Promise.all(Array.from({ length: 8 }, async (_, i) => await colourPicture(i % 2 ? "red" : "blue", i)));
  // Less than a batch would wait for ten seconds; the eighth completes it.
  const replies = await Promise.all(pictures.map(async (picture) => await predictForm(batching, picture)));
  expect(replies.map(({ body }) => body.label as string)).toEqual(pictures.map((_, i) => (i % 2 ? "red" : "blue")));
  expect(new Set(replies.map(({ body }) => body.timings_ms.model as number)).size).toBe(1);
  for (const { body } of replies) expect(body.timings_ms.total).toBeLessThan(10_000);
});

it("makes only predictions wait for others: its own check images and explanations go through at once", async () => {
  // In an hour there would be a batch.
  const patient = await start({ service: { maxBatchSize: 8, maxDelayMs: 3_600_000 } });
  const body = new Uint8Array(await colourPicture("red"));
  const explained = await fetch(`${patient.url}/explain`, { method: "POST", body, headers: { "content-type": "image/jpeg" } });
  expect([explained.status, await explained.json()]).toEqual([200, expect.objectContaining({ label: "red" })]);
}, 20_000);

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
