import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import fastify from "fastify";
import { describe, expect, onTestFinished, test } from "vitest";
import { clientGone } from "../../../src/serve/http/client-gone.ts";
import { createHttpServer } from "../../../src/serve/http/http-server.ts";

test("work for a client that hangs up is cancelled with its own reason; work for a waiting client is not", async () => {
  const app = fastify();
  onTestFinished(async () => await app.close());
  const signals: AbortSignal[] = [];
  const begun = Promise.withResolvers<undefined>();
  app.get("/slow", async (_request, reply) => {
    const gone = clientGone(reply);
    signals.push(gone);
    begun.resolve(undefined);
    await once(gone, "abort");
  });
  app.get("/quick", (_request, reply) => {
    signals.push(clientGone(reply));
    return "answer";
  });
  const url = await app.listen({ host: "127.0.0.1", port: 0 });

  const client = new AbortController();
  const asked = fetch(`${url}/slow`, { signal: client.signal });
  await begun.promise;
  client.abort();
  await expect(asked).rejects.toThrow("aborted");
  await expect
    .poll(() => signals[0]?.reason as unknown)
    .toMatchObject({ code: "E_CLIENT_GONE", message: "The client hung up before it had its answer." });

  expect(await (await fetch(`${url}/quick`)).text()).toBe("answer");
  expect(signals[1]?.aborted).toBe(false);
});

describe("a client that closes only its own side", () => {
  /** A server that answers when it is told to, and the connection of such a client. */
  async function ask(othersWait: boolean): Promise<{ socket: Socket; answer: () => void; reason: Promise<unknown> }> {
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
    const reason = Promise.withResolvers<unknown>();
    const app = fastify({
      serverFactory: (handle) => createHttpServer(handle, { uploadTimeoutMs: 10_000, basePath: "", onTunnel: () => undefined }),
    });
    onTestFinished(async () => await app.close());
    app.get("/", async (_request, reply) => {
      const gone = clientGone(reply, () => othersWait);
      gone.addEventListener("abort", () => reason.resolve(gone.reason));
      await Promise.race([answered, once(gone, "abort")]);
      return "answer";
    });
    await app.listen({ host: "127.0.0.1", port: 0 });
    const { port } = app.server.address() as { port: number };
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(socket, "connect");
    socket.end("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    return { socket, answer, reason: reason.promise };
  }

  test("gets its answer and nothing before it, where no other client waits", async () => {
    const { socket, answer } = await ask(false);
    answer();
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 OK[^]*answer$/);
  });

  test("gets signs of life and then its answer, where others wait", async () => {
    const { socket, answer } = await ask(true);
    const [first] = (await once(socket, "data")) as [Buffer];
    answer();
    expect(first.toString() + (await text(socket))).toMatch(/^(HTTP\/1\.1 100 Continue\r\n\r\n)+HTTP\/1\.1 200 OK[^]*answer$/);
  });

  test("and then the other is found gone by a sign of life, where others wait", async () => {
    const { socket, reason } = await ask(true);
    socket.destroy();
    expect(await reason).toMatchObject({ code: "E_CLIENT_GONE" });
  });
});
