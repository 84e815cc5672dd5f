import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import rateLimit from "@fastify/rate-limit";
import type { FastifyRequest } from "fastify";
import { ServalError } from "../../errors.ts";
import type { ApiKeys } from "../api-keys.ts";
import type { ServeApp } from "../context.ts";

export interface AccessOptions {
  /** Without keys everybody may ask, and only this machine may change the model. */
  readonly keys?: ApiKeys | undefined;
  /** Requests a minute for each key, or for each address without keys; 0: as many as they like. */
  readonly rateLimitPerMinute?: number | undefined;
  /** How many proxies stand in front, so that the client's address is the one that the outermost of them saw. */
  readonly proxies?: number | undefined;
  /** Web pages of these origins may ask from a browser; none by default. */
  readonly corsOrigins?: readonly string[] | undefined;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Name of the key's owner. */
    keyOwner: string | null;
  }
  interface FastifyContextConfig {
    /** Answers without a key: health checks, pages, descriptions. */
    open?: boolean;
    /** Changes the model: with a key, or from this machine. */
    changesModel?: boolean;
  }
}

/** Headers that keep browsers careful, keys, limits per key, and whose pages may ask. Before the routes. */
export async function registerAccess(app: ServeApp, { keys, rateLimitPerMinute = 0, corsOrigins = [] }: AccessOptions): Promise<void> {
  await app.register(helmet, {
    // Answers are data: a browser that shows one runs nothing in it. The two pages bring policies of their own.
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Whether there is TLS is known by the proxy that ends it.
    strictTransportSecurity: false,
    // Origins that CORS lets in must be able to read.
    crossOriginResourcePolicy: { policy: corsOrigins.length > 0 ? "cross-origin" : "same-origin" },
  });
  if (corsOrigins.length > 0) await app.register(cors, { origin: [...corsOrigins], methods: ["GET", "POST", "DELETE"] });
  app.decorateRequest("keyOwner", null);
  app.addHook("onRequest", (request, _reply, done) => {
    const { config, url } = request.routeOptions;
    // What browsers ask before a cross-origin request cannot carry a key; unknown addresses have nothing to protect.
    if (keys === undefined || url === undefined || request.method === "OPTIONS" || isOpen(url, config.open)) {
      if (keys === undefined && config.changesModel && !isLocal(request)) {
        done(
          new ServalError("E_FORBIDDEN", "Without API keys the model is changed only from the machine that serves it.", {
            hint: "Ask http://127.0.0.1 on that machine, or set SERVAL_API_KEYS_FILE.",
          }),
        );
        return;
      }
      done();
      return;
    }
    const key = keyOf(request);
    request.keyOwner = (key === undefined ? undefined : keys.owner(key)) ?? null;
    if (request.keyOwner !== null) done();
    else done(new ServalError("E_API_KEY", key === undefined ? "The request has no API key." : "The API key is none of this service's."));
  });
  if (rateLimitPerMinute > 0) {
    await app.register(rateLimit, {
      max: rateLimitPerMinute,
      timeWindow: 60_000,
      keyGenerator: (request) => (request.keyOwner === null ? `address ${request.ip}` : `key ${request.keyOwner}`),
      allowList: (request) => isOpen(request.routeOptions.url ?? "", request.routeOptions.config.open),
      errorResponseBuilder: (_request, { max, ttl }) =>
        new ServalError("E_RATE_LIMIT", `${max} requests a minute are allowed; the next one in ${Math.ceil(ttl / 1000)} s.`),
    });
  }
}

/** The API page's own files are registered by its library, without our mark. */
function isOpen(url: string, open: boolean | undefined): boolean {
  return open === true || url === "/docs" || url.startsWith("/docs/");
}

function keyOf({ headers }: FastifyRequest): string | undefined {
  const bearer = /^Bearer\s+(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  const own = headers["x-api-key"];
  return bearer ?? (typeof own === "string" ? own : undefined);
}

const proxyHeaders = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"] as const;

/**
 * From this machine, and meant for it: a web page that was opened here could send a request to 127.0.0.1 as well, but
 * under the name of its own host (DNS rebinding), or with an Origin. A proxy on this machine asks for somebody else.
 */
function isLocal({ socket, headers }: FastifyRequest): boolean {
  if (proxyHeaders.some((name) => headers[name] !== undefined)) return false;
  const peer = socket.remoteAddress ?? "";
  const host = (headers.host ?? "").replace(/:\d+$/, "");
  const local = (name: string): boolean => ["localhost", "127.0.0.1", "[::1]"].includes(name);
  const origin = headers.origin;
  return /^(127\.|::1$|::ffff:127\.)/.test(peer) && local(host) && (origin === undefined || local(URL.parse(origin)?.hostname ?? ""));
}
