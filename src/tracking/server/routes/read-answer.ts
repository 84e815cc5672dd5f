import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import type { Read } from "../reads.ts";
import type { StoreReader } from "../store-reader.ts";

const json = "application/json; charset=utf-8";

/** Answers with what the store says; its JSON was written where it was read. */
export async function sendRead(reply: FastifyReply, reader: StoreReader, read: Read): Promise<FastifyReply> {
  const answer = await reader.read(read);
  return reply.type(json).send(Buffer.from(answer.body.buffer));
}

/** A metric's whole history has no bound, so it goes out in parts, each read when the client has taken the one before it. */
export async function sendHistory(reply: FastifyReply, reader: StoreReader, runId: string, key: string): Promise<FastifyReply> {
  const first = await reader.read({ kind: "whole history", runId, key });
  if (first.body.length === 0) return reply.type(json).send("{}");
  async function* parts(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('{"metrics":[');
    yield first.body;
    let { after } = first;
    while (after !== undefined) {
      const next = await reader.read({ kind: "whole history", runId, key, after });
      if (next.body.length > 0) yield Buffer.concat([Buffer.from(","), next.body]);
      ({ after } = next);
    }
    yield Buffer.from("]}");
  }
  return reply.type(json).send(Readable.from(parts()));
}
