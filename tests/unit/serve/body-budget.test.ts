import { fastify } from "fastify";
import { expect, onTestFinished, test } from "vitest";
import { BodyBudget } from "../../../src/serve/http/body-budget.ts";

test("a refusal says how many bytes were held with the request's own, which are given back", async () => {
  const budget = new BodyBudget(100);
  const app = fastify();
  onTestFinished(async () => await app.close());
  app.get<{ Querystring: { pieces: string } }>("/", (request, reply) => {
    const account = budget.open(reply);
    for (const piece of request.query.pieces.split(",")) account.add(Number(piece));
    return "kept";
  });
  const send = async (pieces: string): Promise<{ code?: string; message?: string }> =>
    (await app.inject(`/?pieces=${pieces}`)).json<{ code: string; message: string }>();
  expect(await send("500,400")).toMatchObject({
    code: "E_QUEUE_FULL",
    message: "The bodies of unfinished requests take 900 bytes (limit 800).",
  });
  expect((await app.inject("/?pieces=500,300")).body).toBe("kept");
});
