import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { plainUrl } from "./plain-url.ts";

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface HttpServerOptions {
  /** The time for a request to arrive. */
  readonly uploadTimeoutMs: number;
  /** What addresses begin with where a proxy passes them on whole; empty where they begin with the route. */
  readonly basePath: string;
  /** Refuses a client that takes the service for a proxy (CONNECT). */
  readonly onTunnel: (socket: Socket) => void;
}

/** Bytes that the address and the headers of a request may have together. Node's own default, written down because an answer names it. */
export const maxHeaderBytes = 16_384;
const headersTimeoutMs = 20_000;
/** As Fastify's own servers: longer than what load balancers keep an idle connection for. */
const keepAliveMs = 72_000;
/** How often Node looks for requests that are late. */
const lateCheckMs = 1000;

/** The server below the framework. */
export function createHttpServer(handle: RequestHandler, { uploadTimeoutMs, basePath, onTunnel }: HttpServerOptions): Server {
  const handlePlain: RequestHandler = (request, response) => {
    request.url = plainUrl(request.url ?? "/", basePath);
    handle(request, response);
  };
  const server = createServer(
    {
      requestTimeout: uploadTimeoutMs,
      // Node exchanges the two limits where this one is the larger.
      headersTimeout: Math.min(headersTimeoutMs, uploadTimeoutMs),
      connectionsCheckingInterval: Math.min(lateCheckMs, uploadTimeoutMs),
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: maxHeaderBytes,
      // Node would answer a request without one with an empty 400; `registerHostCheck` says what is missing.
      requireHostHeader: false,
    },
    handlePlain,
  );
  server.on("checkContinue", (request, response) => {
    askForBodyWhenRead(request, response);
    handlePlain(request, response);
  });
  // An expectation that is unknown may be ignored (RFC 9110, 10.1.1); Node would answer an empty 417.
  server.on("checkExpectation", handlePlain);
  server.on("connect", (_request, socket) => onTunnel(socket as Socket));
  // A client may close its side once it has sent its request (RFC 9293, 3.6). Without this, which Node does not document
  // (lib/_http_server.js, `socketOnEnd`), the connection would be closed before the answer.
  return Object.assign(server, { httpAllowHalfOpen: true });
}

/**
 * For a client that waits for `100 Continue`: it is told to send the body when somebody begins to read it, so an answer
 * that the headers decide comes before the body. Then the connection ends, because the body may come or not.
 */
function askForBodyWhenRead(request: IncomingMessage, response: ServerResponse): void {
  const { shouldKeepAlive } = response;
  response.shouldKeepAlive = false;
  request.once("resume", () => {
    if (response.headersSent) return;
    response.shouldKeepAlive = shouldKeepAlive;
    response.writeContinue();
  });
}
