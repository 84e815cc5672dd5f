import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyBaseLogger, FastifyInstance } from "fastify";
import type { ServiceMetrics } from "../monitor/metrics.ts";
import type { Predictor } from "./predictor.ts";
import type { ServedModel } from "./served-model.ts";

/** The server with requests and answers typed by the schemas that validate them. */
export type ServeApp = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

export interface ServeLimits {
  /** Largest image file. */
  readonly maxBodyBytes: number;
  /** Largest image, width times height. */
  readonly maxPixels: number;
  /** Predictions that may be waiting or running before the service answers 503. */
  readonly queueLimit: number;
  /** Time for one prediction once its image has arrived. */
  readonly requestTimeoutMs: number;
  /** Time for a request to arrive; default one minute, for a phone on a slow network. */
  readonly uploadTimeoutMs?: number;
}

/** The defaults that docs/configuration.md gives for the SERVAL_ variables behind them. */
export const defaultLimits: ServeLimits = {
  maxBodyBytes: 16 * 1024 * 1024,
  maxPixels: 64_000_000,
  queueLimit: 64,
  requestTimeoutMs: 10_000,
};

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
