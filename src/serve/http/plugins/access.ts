import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import rateLimit from "@fastify/rate-limit";
import type { FastifyRequest } from "fastify";
import { ServalError } from "../../../errors/serval-error.ts";
import { clientNetwork } from "../../../http/client-network.ts";
import type { KeyOwner } from "../api-keys.ts";
import type { ServeApp } from "../context.ts";
import { whyNotLocal } from "../local-request.ts";
import type { AccessRules } from "../rules.ts";
import { registerHostCheck } from "./host-check.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Who the request's key belongs to. Null without keys, and on the addresses that answer without one. */
    keyOwner: KeyOwner | null;
  }
  interface FastifyContextConfig {
    /** Answers without a key: health checks, pages, descriptions. */
    open?: boolean;
    /** Changes the model: needs a key, or `admin: "local"` and a request from this machine. */
    changesModel?: boolean;
  }
}

/**
 * Host names, headers that keep browsers careful, keys, limits for each client, and whose pages may ask. Before the routes.
 * `host`: the address that the service listens on.
 */
export async function registerAccess(app: ServeApp, rules: AccessRules, host: string): Promise<void> {
  const { keys, rateLimitPerMinute = 0, corsOrigins = [], allowedHosts = [] } = rules;
  await app.register(helmet, {
    // Answers are data: a browser that shows one runs nothing in it. The two pages have their own policies.
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Only the proxy that ends TLS knows whether there is any.
    strictTransportSecurity: false,
    // Origins that CORS lets in must be able to read.
    crossOriginResourcePolicy: { policy: corsOrigins.length > 0 ? "cross-origin" : "same-origin" },
  });
  registerHostCheck(app, host, allowedHosts);
  if (corsOrigins.length > 0) await app.register(cors, { origin: [...corsOrigins], methods: ["GET", "POST", "DELETE"] });
  app.decorateRequest("keyOwner", null);
  app.addHook("onRequest", (request, _reply, done) => {
    const key = keys && keyOf(request);
    request.keyOwner = (key === undefined ? undefined : keys?.owner(key)) ?? null;
    done();
  });
  // Before the key is asked for, so that wrong keys count; for every request, so that unknown addresses count as well.
  if (rateLimitPerMinute > 0) await limitRequests(app, rateLimitPerMinute);
  app.addHook("onRequest", (request, _reply, done) => done(whyRefused(request, rules)));
}

async function limitRequests(app: ServeApp, max: number): Promise<void> {
  await app.register(rateLimit, {
    global: false,
    max,
    timeWindow: 60_000,
    keyGenerator: ({ keyOwner, ip, socket }) =>
      keyOwner === null ? `address ${clientNetwork(ip) ?? clientNetwork(socket.remoteAddress ?? "")}` : `key ${keyOwner.name}`,
    allowList: isOpen,
    errorResponseBuilder: (_request, { ttl }) =>
      new ServalError("E_RATE_LIMIT", `${max} requests a minute are allowed; the next one in ${Math.ceil(ttl / 1000)} s.`),
  });
  app.addHook("onRequest", app.rateLimit());
}

function whyRefused(request: FastifyRequest, { keys, admin = "off", proxies = 0 }: AccessRules): ServalError | undefined {
  const { config, url } = request.routeOptions;
  // The question that a browser asks before a cross-origin request cannot carry a key; unknown addresses have nothing to protect.
  if (url === undefined || request.method === "OPTIONS" || isOpen(request)) return undefined;
  if (keys !== undefined) {
    if (request.keyOwner !== null) return undefined;
    const message = keyOf(request) === undefined ? "The request has no API key." : "This API key is not known to the service.";
    return new ServalError("E_API_KEY", message);
  }
  if (!config.changesModel) return undefined;
  if (admin === "off") return new ServalError("E_FORBIDDEN", "Changing the model needs an API key, and this service has no keys.");
  const reason = whyNotLocal(request.raw, proxies);
  if (reason === undefined) return undefined;
  return new ServalError(
    "E_FORBIDDEN",
    `Only programs on the service's own machine may change the model. This request is refused: ${reason}.`,
    {
      hint: "Ask http://127.0.0.1 on that machine with no proxy between, or set SERVAL_API_KEYS_FILE and send a key.",
    },
  );
}

/** The API page's own files are registered by its library, without our mark. */
function isOpen({ routeOptions: { url = "", config } }: FastifyRequest): boolean {
  return config?.open === true || url === "/docs" || url.startsWith("/docs/");
}

function keyOf({ headers }: FastifyRequest): string | undefined {
  const bearer = /^Bearer\s+(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  const own = headers["x-api-key"];
  return bearer ?? (typeof own === "string" ? own : undefined);
}
