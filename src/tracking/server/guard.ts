import { hostName, isListedHost, isPrivateAddress, matchesEntry } from "../../http/host.ts";
import type { TrackingApp } from "./context.ts";

export interface GuardOptions {
  /** Hosts besides this machine and private networks: `mlflow.example.com`, `proxy:8443`, `*.internal`, `*` for all. */
  readonly allowedHosts?: readonly string[];
  /** Origins of pages elsewhere that may change things: `https://dashboard.example.com`. */
  readonly allowedOrigins?: readonly string[];
}

const changing = new Set(["POST", "PUT", "PATCH", "DELETE"]);
const local = new Set(["localhost", "127.0.0.1", "[::1]", "0.0.0.0"]);

/**
 * Keeps pages on the web away from a server that only listens here. A name that an attacker points at 127.0.0.1 (DNS
 * rebinding) is not a host that we know; a page of another site sends its origin when it changes something. As in MLflow, both
 * are answered with 403; /health and /version are for every client. Unlike there an address counts as private only when it
 * is one (10.evil.example is not), and an entry without a port holds for every port.
 */
export function registerGuard(app: TrackingApp, { allowedHosts = [], allowedOrigins = [] }: GuardOptions): void {
  app.addHook("onRequest", (request, reply, done) => {
    const path = request.url.split("?")[0] ?? "";
    const host = request.headers.host ?? "";
    const origin = request.headers.origin;
    void reply.header("x-content-type-options", "nosniff").header("x-frame-options", "SAMEORIGIN");
    if (path !== "/health" && path !== "/version" && !isAllowedHost(host, allowedHosts)) {
      const text = `Serval's tracking server does not know the host ${JSON.stringify(host.slice(0, 200))}. Add it with --allowed-hosts if it is yours.`;
      void reply.code(403).type("text/plain; charset=utf-8").send(text);
      return;
    }
    if (origin !== undefined && changing.has(request.method) && !isAllowedOrigin(origin, allowedOrigins)) {
      const text = `A page of ${JSON.stringify(origin.slice(0, 200))} may change nothing on Serval's tracking server.`;
      void reply.code(403).type("text/plain; charset=utf-8").send(text);
      return;
    }
    done();
  });
}

function isAllowedHost(header: string, allowed: readonly string[]): boolean {
  const name = hostName(header);
  if (name === undefined) return false;
  return local.has(name) || isPrivateAddress(name) || isListedHost(header, allowed);
}

function isAllowedOrigin(origin: string, allowed: readonly string[]): boolean {
  const name = URL.parse(origin)?.hostname;
  return (name !== undefined && local.has(name)) || allowed.some((entry) => matchesEntry(entry, origin.toLowerCase()));
}
