import { randomUUID } from "node:crypto";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify, LogController, type FastifyError, type FastifyReply, type FastifyRequest } from "fastify";
import { ServalError } from "../../errors/serval-error.ts";
import { bodyEncoding } from "../../http/body-encoding.ts";
import { lazySchemas } from "../../http/lazy-schemas.ts";
import type { TrackingApp, TrackingContext } from "./context.ts";
import { registerGuard, type GuardOptions } from "./guard.ts";
import { registerPages } from "./pages/pages.ts";
import { JsonBodies } from "./json-body.ts";
import { invalid, quote, refusal, toProtocolError } from "./refusal.ts";
import { registerArtifactLists, registerArtifactProxy, registerDownloads, registerUploads } from "./routes/artifacts.ts";
import { registerExperiments } from "./routes/experiments.ts";
import { registerLoggedModels } from "./routes/logged-models.ts";
import { registerMetrics } from "./routes/metrics.ts";
import { registerRegistry } from "./routes/registry.ts";
import { takeRunUuid } from "./routes/run-uuid.ts";
import { registerRuns } from "./routes/runs.ts";
import { registerServerInfo } from "./routes/server-info.ts";
import { formatSchemaErrors, numeric } from "./schemas.ts";

export interface TrackingAppOptions extends GuardOptions {
  readonly context: TrackingContext;
  /** Where what failed inside is written, a JSON line each; without it nowhere. */
  readonly log?: { write(line: string): void };
}

/** The schema of a data set may have a million characters, each of which may take two as JSON in JSON. Artifacts are not bodies to this limit. */
const maxBodyBytes = 4 * 1024 * 1024;
/** A larger body is still read to its end and thrown away, so that the client sees the answer; beyond this it is cut off. */
const patienceBytes = 16 * maxBodyBytes;
/** A large file may take its time, but something must come. */
const silenceMs = 120_000;

/** Builds the server: no listening, no environment, no signals. The store stays the caller's. */
export async function buildTrackingApp({ context, log, ...guard }: TrackingAppOptions): Promise<TrackingApp> {
  const app: TrackingApp = fastify({
    logger: log === undefined ? false : { level: "error", stream: log, base: null },
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "request_id" }),
    genReqId: () => randomUUID(),
    bodyLimit: maxBodyBytes,
    connectionTimeout: silenceMs,
    // Nothing is sent before the headers are; a body may be large.
    requestTimeout: 0,
    routerOptions: { maxParamLength: 5000 },
    schemaController: lazySchemas({ coerceTypes: false }),
    ajv: { customOptions: { keywords: [numeric] } },
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
    return503OnClosing: false,
  }).withTypeProvider<TypeBoxTypeProvider>();
  registerGuard(app, guard);
  app.setSchemaErrorFormatter(formatSchemaErrors);
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const message = `${request.method} ${request.url.split("?")[0]?.slice(0, 200)}: this server has no such address. docs/tracking.md lists what it answers.`;
    return sendError(refusal("ENDPOINT_NOT_FOUND", message), request, reply);
  });
  app.addHook("preParsing", ({ raw, is404 }, reply, payload, done) => {
    const encoding = bodyEncoding(raw);
    if (encoding === undefined || is404) done(null, payload);
    else {
      void reply.header("accept-encoding", "identity");
      const message = `The body has the Content-Encoding ${JSON.stringify(encoding.slice(0, 100))}; expected none: send it as it is.`;
      done(refusal("UNSUPPORTED_MEDIA_TYPE", message));
    }
  });
  app.removeAllContentTypeParsers();
  const bodies = new JsonBodies();
  app.addContentTypeParser(
    "application/json",
    { parseAs: "buffer" },
    async (_request: FastifyRequest, bytes: Buffer) => await bodies.parse(bytes),
  );
  app.addContentTypeParser("*", (request, _payload, done) => {
    done(invalid(`Content-Type ${quote(request.headers["content-type"] ?? "")}: expected application/json.`));
  });
  app.addHook("onClose", (_instance, done) => {
    bodies.close();
    done();
  });
  for (const api of ["/api/2.0", "/ajax-api/2.0"]) {
    await app.register(
      async (scope) => {
        const typed = scope.withTypeProvider<TypeBoxTypeProvider>();
        typed.addHook("preValidation", takeRunUuid);
        registerExperiments(typed, context);
        registerRuns(typed, context);
        registerMetrics(typed, context);
        registerArtifactLists(typed, context);
        registerLoggedModels(typed, context);
        registerRegistry(typed, context);
      },
      { prefix: `${api}/mlflow` },
    );
    await app.register(async (scope) => registerUploads(scope.withTypeProvider<TypeBoxTypeProvider>(), context), {
      prefix: `${api}/mlflow`,
    });
    await app.register(async (scope) => registerArtifactProxy(scope.withTypeProvider<TypeBoxTypeProvider>(), context), {
      prefix: `${api}/mlflow-artifacts`,
    });
  }
  registerDownloads(app, context);
  registerServerInfo(app);
  // With their own error handler.
  await app.register(async (scope) => registerPages(scope.withTypeProvider<TypeBoxTypeProvider>(), context));
  await app.ready();
  return app;
}

/** The one place where an error becomes an answer. */
function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = toProtocolError(toRefusal(error, request.routeOptions.bodyLimit));
  if (failure.status === 500)
    request.log.error({ err: error, method: request.method, url: request.routeOptions.url }, failure.body.message);
  if (isTooLarge(error) && Number(request.headers["content-length"] ?? 0) <= patienceBytes) void reply.removeHeader("connection");
  return reply.code(failure.status).type("application/json; charset=utf-8").send(failure.body);
}

function isTooLarge(error: unknown): boolean {
  return (error as FastifyError).code === "FST_ERR_CTP_BODY_TOO_LARGE";
}

function toRefusal(error: unknown, bodyLimit = maxBodyBytes): unknown {
  if (isTooLarge(error)) return refusal("BAD_REQUEST", `The body has more than ${bodyLimit} bytes. Send it in several requests.`, error);
  const { statusCode, message } = error as FastifyError;
  const clientsFault = statusCode !== undefined && statusCode < 500 && !(error instanceof ServalError);
  return clientsFault ? refusal("BAD_REQUEST", message, error) : error;
}
