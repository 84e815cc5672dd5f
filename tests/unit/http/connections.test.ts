import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { watchConnections } from "../../../src/http/connections.ts";

/** Milliseconds from the end of a server, with `graceMs`, to its close, while `use` holds connections to it. */
async function timeToClose(graceMs: number, use: (port: number) => Promise<void>): Promise<number> {
  const server = createServer((request, response) => {
    // Never answered.
    if (request.url !== "/hangs") response.end("answer");
  });
  const endConnections = watchConnections(server, graceMs);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await use((server.address() as AddressInfo).port);
  const startedAt = performance.now();
  const closed = new Promise((resolve) => server.close(resolve));
  endConnections();
  await closed;
  return performance.now() - startedAt;
}

async function open(port: number, text: string): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  if (text !== "") socket.write(text);
  // The server has to see it first.
  await new Promise((resolve) => setTimeout(resolve, 50));
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

test("connections that were opened in advance, and kept ones, do not hold up the end of a server", async () => {
  const ms = await timeToClose(10_000, async (port) => {
    await open(port, "");
    await open(port, get("/"));
    // Its answer may still be on its way when the server closes.
    await (await fetch(`http://127.0.0.1:${port}/`)).text();
  });
  expect(ms).toBeLessThan(5000);
});

test("a request that does not end has its grace, and is cut off then", async () => {
  const ms = await timeToClose(300, async (port) => open(port, get("/hangs")));
  expect(ms).toBeGreaterThan(250);
  expect(ms).toBeLessThan(5000);
});
