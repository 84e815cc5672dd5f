import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { compareLatency } from "../../../src/deploy/checks/latency.ts";
import { startTestService, type TestService } from "../../helpers/service.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A proxy that answers as it is told: with nothing before it passes a request on to the service. */
async function proxy(
  says: () => { readonly status: number; readonly body?: string; readonly retryAfter?: string } | null,
): Promise<string> {
  const server = createServer((request, response) => {
    const told = says();
    if (told) {
      request.resume();
      response.writeHead(told.status, { "retry-after": told.retryAfter ?? "" }).end(told.body ?? "");
      return;
    }
    const body = request as unknown as ReadableStream;
    const headers = { "content-type": request.headers["content-type"] ?? "" };
    void fetch(`${service.url}${request.url}`, { method: "POST", headers, body, duplex: "half" }).then(async (answer) =>
      response.writeHead(answer.status).end(await answer.text()),
    );
  });
  closing.push(() => server.close().closeAllConnections());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const body = JSON.stringify({ error: { code: "E_RATE_LIMIT", message: "5 requests a minute are allowed; the next one in 61 s." } });

test("versions that answer alike are taken, also where both may be asked only so often", async () => {
  let [asked, refused] = [0, 0];
  const limited = await proxy(() => (asked++ % 12 === 5 ? (refused++, { status: 429, retryAfter: "0" }) : null));
  expect(await compareLatency(limited, limited)).toMatch(/^median of 15 predictions [\d.]+ ms, before [\d.]+ ms$/);
  expect(refused).toBeGreaterThan(2);
});

test("a version that gives no prediction is refused with what it said", async () => {
  const limited = await proxy(() => ({ status: 429, body, retryAfter: "61" }));
  await expect(compareLatency(limited, service.url)).rejects.toMatchObject({
    code: "E_DEPLOY_REFUSED",
    message: "POST /predict: expected 200, got 429 E_RATE_LIMIT: 5 requests a minute are allowed; the next one in 61 s.",
  });
});

test("a version before that gives none is nothing to compare with", async () => {
  const broken = await proxy(() => ({ status: 500, body: "no" }));
  expect(await compareLatency(service.url, broken)).toBe(
    "nothing to compare with, the previous version does not answer: POST /predict: expected 200, got 500: no",
  );
  expect(await compareLatency(service.url, null)).toBe("nothing to compare with");
});
