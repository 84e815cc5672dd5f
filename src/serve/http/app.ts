import { randomUUID } from "node:crypto";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify, LogController, type FastifyServerOptions } from "fastify";
import { lazySchemas } from "../../http/lazy-schemas.ts";
import type { ServiceMetrics } from "../../monitor/metrics.ts";
import type { ServiceMonitor } from "../../monitor/service-monitor.ts";
import type { PredictionLog } from "../../predictions/prediction-log.ts";
import { BodyBudget } from "./body-budget.ts";
import type { ServeApp, ServeContext } from "./context.ts";
import { createHttpServer } from "./http-server.ts";
import { OpenAnswers } from "./open-answers.ts";
import type { ModelSlot } from "../model/model-slot.ts";
import { registerAccess } from "./plugins/access.ts";
import { answerBrokenConnection, refuseTunnel, registerErrors, sendError } from "./plugins/errors.ts";
import { registerObservation } from "./plugins/observe.ts";
import { registerOpenapi } from "./plugins/openapi.ts";
import { shedRequests } from "./plugins/shed.ts";
import { registerShutdown } from "./plugins/shutdown.ts";
import { Predictor } from "../model/predictor.ts";
import { registerBatch } from "./routes/batch.ts";
import { registerExplain } from "./routes/explain.ts";
import { registerFeedback } from "./routes/feedback.ts";
import { registerHealth } from "./routes/health.ts";
import { registerHome } from "./routes/home.ts";
import { registerInferenceProtocol } from "./routes/inference-protocol.ts";
import { registerMetrics } from "./routes/metrics.ts";
import { registerModel } from "./routes/model.ts";
import { registerMonitor } from "./routes/monitor.ts";
import { registerPredict } from "./routes/predict.ts";
import { registerPredictions } from "./routes/predictions.ts";
import type { ServeRules } from "./rules.ts";
import { registerUploads } from "./upload.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** Where JSON log lines go; each call is one line with its newline. */
export interface LogStream {
  write(line: string): void;
}

export interface AppOptions {
  /** Stays the caller's: closing the app does not close it. */
  readonly slot: ModelSlot;
  readonly rules: ServeRules;
  readonly metrics: ServiceMetrics;
  /** Address that the service listens on. */
  readonly host?: string;
  /** Stays the caller's as well. Without it there is no feedback. */
  readonly predictionLog?: PredictionLog | undefined;
  /** The caller's as well. */
  readonly monitor?: ServiceMonitor | undefined;
  /** True from the moment that the service is asked to stop. */
  readonly draining?: () => boolean;
  /** Version of this program. */
  readonly version?: string | undefined;
  /** Without it nothing is logged. */
  readonly log?: { readonly level: LogLevel; readonly stream: LogStream } | undefined;
}

const defaultUploadTimeoutMs = 60_000;

/** Builds the service: no listening, no environment, no signals. The model must be loaded already. */
export async function buildApp(options: AppOptions): Promise<ServeApp> {
  const { slot, rules, metrics, host = "", log, predictionLog, monitor, draining = () => false, version = "0" } = options;
  const { limits, access, basePath } = rules;
  const { proxies = 0 } = access;
  const predictor = new Predictor(slot, limits, metrics);
  const answers = new OpenAnswers();
  const app: ServeApp = fastify({
    serverFactory: (handle) =>
      createHttpServer(shedRequests(handle, { predictor, metrics, log: () => app.log }), {
        uploadTimeoutMs: limits.uploadTimeoutMs ?? defaultUploadTimeoutMs,
        basePath,
        onTunnel: refuseTunnel,
      }),
    routerOptions: { ignoreTrailingSlash: true },
    logger: log === undefined ? false : loggerOptions(log),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "request_id" }),
    genReqId: () => randomUUID(),
    // Hop 0 is the connected client or proxy; Fastify takes a number for untrusted, because it cannot know which.
    ...(proxies > 0 && { trustProxy: (_address: string, hop: number) => hop < proxies }),
    clientErrorHandler: (error, socket) => answerBrokenConnection(error, socket, answers),
    schemaController: lazySchemas(),
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
    // A request that got in before the last one was answered is answered too; its connection closes after it.
    return503OnClosing: false,
  }).withTypeProvider<TypeBoxTypeProvider>();

  const context: ServeContext = {
    ...rules,
    slot,
    bodies: new BodyBudget(limits.maxBodyBytes),
    metrics,
    predictor,
    predictionLog,
    monitor,
    draining,
  };
  registerObservation(app, metrics, answers);
  registerErrors(app);
  // A route that takes a body says which: one sent elsewhere is thrown away unread.
  app.removeAllContentTypeParsers();
  registerShutdown(app, limits.requestTimeoutMs);
  await registerAccess(app, access, host);
  await registerOpenapi(app, context);
  registerHome(app, context);
  registerHealth(app, context);
  await registerUploads(app, (scope) => {
    registerPredict(scope, context);
    registerBatch(scope, context);
    registerExplain(scope, context);
  });
  await registerFeedback(app, context);
  registerPredictions(app, context);
  registerModel(app, context);
  registerMetrics(app, context);
  registerMonitor(app, context);
  await registerInferenceProtocol(app, context, version);
  await app.ready();
  return app;
}

function loggerOptions({
  level,
  stream,
}: {
  readonly level: LogLevel;
  readonly stream: LogStream;
}): NonNullable<FastifyServerOptions["logger"]> {
  return {
    level,
    stream,
    // Neither process id nor host name.
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  };
}
