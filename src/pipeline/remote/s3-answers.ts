import { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";

/** A page of a list has at most 1,000 keys of 1 KiB each. */
const mostAnswerBytes = 8 * 2 ** 20;

/** The SDK takes every answer but an object's bytes into memory whole. This ends the ones that are larger than any answer can be. */
export function boundAnswers(client: S3Client): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const result = await next(args);
        const response = result.response as { statusCode: number; body?: unknown };
        const isObject = commandName === "GetObjectCommand" && response.statusCode < 300;
        if (!isObject && response.body instanceof Readable) response.body = Readable.from(upToLimit(response.body), { objectMode: false });
        return result;
      },
    // Between the connection and what reads the answer.
    { step: "deserialize", priority: "low", name: "boundAnswers" },
  );
}

async function* upToLimit(body: Readable): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostAnswerBytes) throw new RangeError(`an answer of more than ${mostAnswerBytes} bytes`);
    yield chunk;
  }
}
