import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyBaseLogger, FastifyInstance } from "fastify";
import type { ServiceMetrics } from "../../monitor/metrics.ts";
import type { ServiceMonitor } from "../../monitor/service-monitor.ts";
import type { PredictionLog } from "../../predictions/prediction-log.ts";
import type { BodyBudget } from "./body-budget.ts";
import type { ModelSlot } from "../model/model-slot.ts";
import type { Predictor } from "../model/predictor.ts";
import type { ServeRules } from "./rules.ts";

/** The server with requests and answers typed by the schemas that validate them. */
export type ServeApp = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

/** What every route may use. */
export interface ServeContext extends ServeRules {
  readonly slot: ModelSlot;
  readonly predictor: Predictor;
  readonly metrics: ServiceMetrics;
  readonly bodies: BodyBudget;
  /** Without it predictions are not stored, and there is nothing that feedback could refer to. */
  readonly predictionLog: PredictionLog | undefined;
  /** Without it there is nothing to say about stored predictions. */
  readonly monitor: ServiceMonitor | undefined;
  /** True from the moment that the service is asked to stop. */
  readonly draining: () => boolean;
}

/** What the request log and the metrics say about a request besides method, route and status. Never the image, its name or an address. */
export interface RequestOutcome {
  label?: string | null;
  confidence?: number;
  /** Error code of the answer. */
  code?: string;
}

declare module "fastify" {
  interface FastifyRequest {
    outcome: RequestOutcome;
  }
}
