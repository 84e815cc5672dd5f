import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { ERRORS, type ErrorCode } from "../../../errors/error-table.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { bodyEncoding } from "../../../http/body-encoding.ts";
import type { ServeApp } from "../context.ts";
import { errorStatus } from "../error-status.ts";
import { maxHeaderBytes } from "../http-server.ts";
import type { OpenAnswers } from "../open-answers.ts";

export const retryAfterSeconds = 1;

interface ShownError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly request_id: string;
}

/** The one place where an error becomes an HTTP answer. */
export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = toHttpError(error, request);
  const status = errorStatus[failure.code];
  // A request with a bad URL comes here before any hook has run.
  request.outcome = { ...request.outcome, code: failure.code };
  if (status >= 500) request.log.error({ err: error, code: failure.code }, failure.message);
  // Fastify closes connections on its own errors; the rest of a body is thrown away instead, so that the client sees the answer.
  // Not where the client waits for `100 Continue`: its body may come or not.
  if (!(error instanceof ServalError) && reply.raw.shouldKeepAlive) void reply.removeHeader("connection");
  if (status === 503) void reply.header("retry-after", retryAfterSeconds);
  const shown = shownError(failure, request.id);
  // The Open Inference Protocol has another shape: one text.
  const body = isInferenceProtocol(request.url) ? { error: `${shown.code}: ${shown.message} ${shown.hint}` } : { error: shown };
  return reply.code(status).type("application/json; charset=utf-8").send(body);
}

function isInferenceProtocol(url: string): boolean {
  return /^\/v2(?:[/?]|$)/.test(url);
}

/**
 * Errors whose messages are about the request and written for the client. The messages of all others may name files of the
 * server, its libraries or its neighbours: they go to the log, and the client reads what the code means in general.
 */
const aboutUploads = /^E_(?:IMAGE|UPLOAD)_/;
const forClients: ReadonlySet<ErrorCode> = new Set([
  "E_API_KEY",
  "E_CLIENT_GONE",
  "E_EXPLAIN",
  "E_FEEDBACK_UNKNOWN",
  "E_FORBIDDEN",
  "E_HEADERS_LARGE",
  "E_LABEL_UNKNOWN",
  "E_MEDIA_TYPE",
  "E_METHOD",
  "E_MODEL_ROLLBACK",
  "E_MODEL_UNKNOWN",
  "E_PREDICTION_LOG",
  "E_PREDICTION_TIMEOUT",
  "E_QUEUE_FULL",
  "E_RATE_LIMIT",
  "E_REQUEST",
  "E_ROUTE_NOT_FOUND",
  "E_TENSOR",
]);

/** What a client is told of an error. */
export function shownError(failure: ServalError, requestId: string): ShownError {
  const { code } = failure;
  const { title, hint } = ERRORS[code];
  if (forClients.has(code) || aboutUploads.test(code)) return { code, message: failure.message, hint: failure.hint, request_id: requestId };
  return { code, message: title, hint: code === "E_INTERNAL" ? "Report it with the request id." : hint, request_id: requestId };
}

/** Unlike in a shell, a missing file of ours is no 404 for the client: whatever is not a ServalError is E_INTERNAL. */
function toHttpError(error: unknown, request: FastifyRequest): ServalError {
  if (error instanceof ServalError) return error;
  const { code, statusCode, message } = error as FastifyError;
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    const type = request.headers["content-type"];
    const got = type === undefined ? "no content type" : `the content type ${JSON.stringify(type.slice(0, 100))}`;
    return new ServalError("E_MEDIA_TYPE", `The body has ${got}; expected a form or an image.`, { cause: error });
  }
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE")
    return new ServalError("E_IMAGE_BYTES", "The body is larger than this address takes.", { cause: error });
  const clientsFault = statusCode !== undefined && statusCode < 500;
  return new ServalError(clientsFault ? "E_REQUEST" : "E_INTERNAL", message, { cause: error });
}

/** Answers every error, unknown addresses (404), unknown methods (405 with Allow) and compressed bodies (415) in the one shape. */
export function registerErrors(app: ServeApp): void {
  const methodsByRoute = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    const methods = methodsByRoute.get(url) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    methodsByRoute.set(url, methods);
  });
  const refuse = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const path = request.url.split("?")[0] ?? "";
    const methods = [...methodsByRoute].filter(([url]) => routePattern(url).test(path)).flatMap(([, names]) => [...names]);
    // One that has the method found nothing below its address, such as a file of /docs.
    if (methods.length === 0 || methods.includes(request.method)) {
      return sendError(new ServalError("E_ROUTE_NOT_FOUND", `${request.method} ${path.slice(0, 200)}: no such address.`), request, reply);
    }
    const allow = [...new Set(methods)].sort().join(", ");
    void reply.header("allow", allow);
    return sendError(new ServalError("E_METHOD", `${path} takes ${allow}, not ${request.method}.`), request, reply);
  };
  app.setNotFoundHandler(refuse);
  app.addHook("preParsing", (request, reply, payload, done) => {
    const encoding = bodyEncoding(request.raw);
    if (encoding === undefined || request.is404) {
      done(null, payload);
      return;
    }
    void reply.header("accept-encoding", "identity");
    const message = `The body has the Content-Encoding ${JSON.stringify(encoding.slice(0, 100))}; expected none.`;
    done(new ServalError("E_MEDIA_TYPE", message, { hint: "Send the body as it is, without compressing it." }));
  });
  // What is wrong with the body matters only where there is somebody to take it.
  app.setErrorHandler((error, request, reply) =>
    request.is404 && !(error instanceof ServalError) ? refuse(request, reply) : sendError(error, request, reply),
  );
}

/** `/models/:name` as a regular expression; a trailing `*` matches the rest. */
function routePattern(url: string): RegExp {
  const parts = url.split("/").map((part) => (part === "*" ? ".*" : part.startsWith(":") ? "[^/]+" : RegExp.escape(part)));
  return new RegExp(`^${parts.join("/")}/?$`);
}

/** How long a client may take to read that its connection is closed. */
const closingMs = 1000;

/** Answers what never became a request: bytes that are not HTTP, headers that are too long, a body that took too long. */
export function answerBrokenConnection(error: NodeJS.ErrnoException, socket: Socket, answers: OpenAnswers): void {
  // Into the middle of an answer that has begun nothing may be written.
  if (error.code === "ECONNRESET" || !socket.writable || answers.hasBegun(socket)) {
    socket.destroy();
    return;
  }
  endWith(connectionError(error), socket);
}

/** CONNECT asks for a connection to another server. */
export function refuseTunnel(socket: Socket): void {
  endWith(new ServalError("E_REQUEST", "CONNECT: this service is not a proxy, and opens no connections to others."), socket);
}

function connectionError({ code, message }: NodeJS.ErrnoException): ServalError {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return new ServalError("E_UPLOAD_TIMEOUT", "The request did not arrive in time.");
  if (code === "HPE_HEADER_OVERFLOW") {
    return new ServalError(
      "E_HEADERS_LARGE",
      `The address and the headers of the request are too long; together they may have ${maxHeaderBytes} bytes.`,
    );
  }
  return new ServalError("E_REQUEST", `The connection does not speak HTTP as it should: ${message}.`);
}

/** Writes an answer where there is no request that could be answered, and ends the connection. */
function endWith(failure: ServalError, socket: Socket): void {
  const body = JSON.stringify({ error: shownError(failure, "") });
  const status = errorStatus[failure.code];
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\nConnection: close\r\n`;
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  // A client that does not close its side would keep the connection, and the memory of what it has sent, without end.
  const cutOff = setTimeout(() => socket.destroy(), closingMs).unref();
  socket.once("close", () => clearTimeout(cutOff));
}
