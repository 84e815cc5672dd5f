import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

const headersTimeoutMs = 20_000;
/** As Fastify's own servers: longer than what load balancers keep an idle connection for. */
const keepAliveMs = 72_000;
/** How often Node looks for requests that are late. */
const lateCheckMs = 1000;

/** The server below the framework. `uploadTimeoutMs`: the time for a request to arrive. */
export function createHttpServer(handle: RequestHandler, uploadTimeoutMs: number): Server {
  return createServer(
    {
      requestTimeout: uploadTimeoutMs,
      // Node exchanges the two limits where this one is the larger.
      headersTimeout: Math.min(headersTimeoutMs, uploadTimeoutMs),
      connectionsCheckingInterval: Math.min(lateCheckMs, uploadTimeoutMs),
      keepAliveTimeout: keepAliveMs,
    },
    handle,
  );
}
