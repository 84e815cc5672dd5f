import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyBaseLogger } from "fastify";
import { toServalError } from "../../../errors/serval-error.ts";
import { errorStatus } from "../error-status.ts";
import type { ServeContext } from "../context.ts";
import type { RequestHandler } from "../http-server.ts";
import { retryAfterSeconds, shownError } from "./errors.ts";

/** The addresses whose requests are many and dear; the other ones that run the model refuse in their own hook. */
const shedRoutes: ReadonlySet<string> = new Set(["/predict", "/predict/batch", "/explain"]);

export interface Shedding extends Pick<ServeContext, "predictor" | "metrics"> {
  readonly log: () => FastifyBaseLogger;
}

/**
 * Refuses predictions before the framework sees them, while there is no room: under five times too many requests the
 * refusals are most of what a service does, and hooks, schemas and headers for each would take the CPU that the others
 * need. The answer, the log line and the metrics are those that the framework would give.
 */
export function shedRequests(handle: RequestHandler, { predictor, metrics, log }: Shedding): RequestHandler {
  return (request, response) => {
    const path = request.url?.split("?", 1)[0]?.replace(/\/$/, "") ?? "";
    // A browser shows a page of another origin no answer without the headers that the framework adds.
    if (request.method !== "POST" || !shedRoutes.has(path) || request.headers.origin !== undefined) {
      handle(request, response);
      return;
    }
    try {
      predictor.assertRoom();
    } catch (error) {
      refuse(request, response, path, error);
      return;
    }
    handle(request, response);
  };

  function refuse(request: IncomingMessage, response: ServerResponse, route: string, error: unknown): void {
    const startedAt = performance.now();
    const failure = toServalError(error);
    const { code } = failure;
    const status = errorStatus[code];
    const id = randomUUID();
    const body = JSON.stringify({ error: shownError(failure, id) });
    response.writeHead(status, {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(body),
      "retry-after": String(retryAfterSeconds),
      "x-request-id": id,
      "x-content-type-options": "nosniff",
      // What a client announces beyond this is not worth throwing away: it is cut off.
      ...(Number(request.headers["content-length"] ?? 0) > patienceBytes ? { connection: "close" } : {}),
    });
    response.end(body);
    const durationMs = performance.now() - startedAt;
    metrics.countRequest({ route, method: "POST", status, seconds: durationMs / 1000 });
    metrics.countError(code);
    log().info({ request_id: id, route, method: "POST", status, duration_ms: Number(durationMs.toFixed(2)), code }, "request");
  }
}

const patienceBytes = 1 << 20;
