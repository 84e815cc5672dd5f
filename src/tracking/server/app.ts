import { randomUUID } from "node:crypto";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify, LogController, type FastifyError, type FastifyReply, type FastifyRequest } from "fastify";
import { ServalError } from "../../errors.ts";
import { bodyEncoding } from "../../http/body-encoding.ts";
import { lazySchemas } from "../../http/lazy-schemas.ts";
import type { TrackingApp, TrackingContext } from "./context.ts";
import { registerGuard, type GuardOptions } from "./guard.ts";
import { registerPages } from "./pages/pages.ts";
import { invalid, refusal, toProtocolError } from "./refusal.ts";
import { registerArtifactLists, registerArtifactProxy, registerDownloads } from "./routes/artifacts.ts";
import { registerExperiments } from "./routes/experiments.ts";
import { registerLoggedModels } from "./routes/logged-models.ts";
import { registerMetrics } from "./routes/metrics.ts";
import { registerRegistry } from "./routes/registry.ts";
import { registerRuns } from "./routes/runs.ts";
import { registerServerInfo } from "./routes/server-info.ts";
import { formatSchemaErrors } from "./schemas.ts";

export interface TrackingAppOptions extends GuardOptions {
  readonly context: TrackingContext;
  /** Where what failed inside is written, a JSON line each; without it nowhere. */
  readonly log?: { write(line: string): void };
}

/** Profiles of data sets may have 16 MB; artifacts are not bodies to this limit. */
const maxBodyBytes = 32 * 1024 * 1024;
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
    schemaController: lazySchemas(),
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
  app.addContentTypeParser(["application/json", "*"], { parseAs: "string" }, (_request, text, done) => {
    try {
      done(null, readBody(text as string));
    } catch (error) {
      done(error as Error);
    }
  });
  for (const api of ["/api/2.0", "/ajax-api/2.0"]) {
    await app.register(
      async (scope) => {
        const typed = scope.withTypeProvider<TypeBoxTypeProvider>();
        registerExperiments(typed, context);
        registerRuns(typed, context);
        registerMetrics(typed, context);
        registerArtifactLists(typed, context);
        registerLoggedModels(typed, context);
        registerRegistry(typed, context);
      },
      { prefix: `${api}/mlflow` },
    );
    await app.register(async (scope) => registerArtifactProxy(scope.withTypeProvider<TypeBoxTypeProvider>(), context), {
      prefix: `${api}/mlflow-artifacts`,
    });
  }
  registerDownloads(app, context);
  registerServerInfo(app);
  // With an error handler of their own.
  await app.register(async (scope) => registerPages(scope.withTypeProvider<TypeBoxTypeProvider>(), context));
  await app.ready();
  return app;
}

/** The one place where an error becomes an answer. */
function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = toProtocolError(toRefusal(error));
  if (failure.status === 500)
    request.log.error({ err: error, method: request.method, url: request.routeOptions.url }, failure.body.message);
  return reply.code(failure.status).type("application/json; charset=utf-8").send(failure.body);
}

function toRefusal(error: unknown): unknown {
  const { statusCode, message } = error as FastifyError;
  const clientsFault = statusCode !== undefined && statusCode < 500 && !(error instanceof ServalError);
  return clientsFault ? refusal("BAD_REQUEST", message, error) : error;
}

function readBody(text: string): unknown {
  if (text.trim() === "") return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw refusal("BAD_REQUEST", `The body is not JSON: ${(error as Error).message}.`, error);
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw invalid("The body: expected a JSON object.");
  return text.includes("null") ? withoutNulls(body) : body;
}

/** protobuf's JSON mapping takes null for a field that is not there. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, child]) => child !== null)
      .map(([key, child]) => [key, withoutNulls(child)]),
  );
}
