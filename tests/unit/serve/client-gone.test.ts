import { once } from "node:events";
import fastify from "fastify";
import { expect, onTestFinished, test } from "vitest";
import { clientGone } from "../../../src/serve/http/context.ts";

test("work for a client that hangs up is called off with a reason of its own, and work for one that waits is not", async () => {
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
