import type { ErrorCode } from "../../../errors/serval-error.ts";
import { unknownRoute, type ServiceMetrics } from "../../../monitor/metrics.ts";
import type { ServeApp } from "../context.ts";
import type { OpenAnswers } from "../open-answers.ts";

/** nginx's status for a client that hung up before the answer. */
const clientClosedRequest = 499;
/** The methods that routes may have. Node's parser knows thirty more, and each would be a series that anyone can start. */
const countedMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const otherMethod = "other";
const uploadBroken: ErrorCode = "E_UPLOAD_BROKEN";

/**
 * Logs and counts every request when its connection is done with it, answered or not; `answers` has it until then. Deliberately not in the log: the
 * path as the client wrote it, file names, images and addresses.
 */
export function registerObservation(app: ServeApp, metrics: ServiceMetrics, answers: OpenAnswers): void {
  // Each request gets its own object in the hook below; Fastify refuses a shared one here.
  app.decorateRequest("outcome");
  app.addHook("onRequest", (request, reply, done) => {
    const startedAt = performance.now();
    request.outcome = {};
    void reply.header("x-request-id", request.id);
    const { socket } = request.raw;
    answers.add(socket, reply.raw);
    reply.raw.once("close", () => {
      answers.delete(socket, reply.raw);
      const { label, confidence } = request.outcome;
      const method = countedMethods.has(request.method) ? request.method : otherMethod;
      const route = request.routeOptions.url ?? unknownRoute;
      const answered = reply.raw.writableFinished;
      const status = answered ? reply.statusCode : clientClosedRequest;
      const code = request.outcome.code ?? (answered || request.raw.complete ? undefined : uploadBroken);
      const durationMs = performance.now() - startedAt;
      metrics.countRequest({ route, method, status, seconds: durationMs / 1000 });
      if (code !== undefined) metrics.countError(code);
      request.log.info({ route, method, status, duration_ms: Number(durationMs.toFixed(2)), label, confidence, code }, "request");
    });
    done();
  });
}
