import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyBaseLogger, FastifyInstance } from "fastify";
import type { ServiceMetrics } from "../monitor/metrics.ts";
import type { ServeLimits } from "./limits.ts";
import type { Predictor } from "./predictor.ts";
import type { ServedModel } from "./served-model.ts";

/** The server with requests and answers typed by the schemas that validate them. */
export type ServeApp = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

/** What every route may use. */
export interface ServeContext {
  readonly model: ServedModel;
  readonly predictor: Predictor;
  readonly metrics: ServiceMetrics;
  readonly limits: ServeLimits;
}

/** What the request log and the metrics say about a request besides method, route and status. Never the image, its name or an address. */
export interface RequestOutcome {
  label?: string;
  confidence?: number;
  /** Error code of the answer. */
  code?: string;
}

declare module "fastify" {
  interface FastifyRequest {
    outcome: RequestOutcome;
  }
}
