import { Agent, request } from "node:http";

/** The answer to a body, read to its end but kept only so far that a test can tell what it says. */
export interface ShortAnswer {
  readonly status: number;
  readonly sizeBytes: number;
  /** Its first characters. */
  readonly start: string;
}

const keptChars = 500;

/** Sends bytes as they are over a separate connection. Answers of megabytes are not parsed: the test's thread stays free. */
export async function sendBody(
  url: string,
  body: Uint8Array | string,
  { method = "POST", headers = {} }: { readonly method?: string; readonly headers?: Record<string, string> } = {},
): Promise<ShortAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ShortAnswer>();
  const length = { "content-length": String(Buffer.byteLength(body)) };
  // Kept open: a server may answer before it has read everything, and the rest must still find it there.
  const agent = new Agent({ keepAlive: true });
  const outgoing = request(url, { method, agent, headers: { "content-type": "application/json", ...length, ...headers } }, (incoming) => {
    let sizeBytes = 0;
    let start = "";
    incoming.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (start.length < keptChars) start += chunk.toString("latin1", 0, keptChars - start.length);
    });
    incoming.once("end", () => resolve({ status: incoming.statusCode ?? 0, sizeBytes, start })).once("error", reject);
  });
  outgoing.once("error", reject).end(body);
  return await promise.finally(() => agent.destroy());
}
