import { ServalError } from "../../../errors/serval-error.ts";
import { hostName, isListedHost, isLoopbackHost, isPrivateAddress } from "../../../http/host.ts";
import type { ServeApp } from "../context.ts";

/** Load balancers ask these under any name, and a page that reads them learns little. */
const healthRoute = /^(?:\/v2)?\/health(?:\/|$)/;

/**
 * Keeps web pages away from a service that only this machine can reach. An attacker can point a name at 127.0.0.1 (DNS
 * rebinding), and a browser that shows a page of that name would then let it read our answers: it sends the name as Host.
 * A service that listens on loopback takes this machine's own names and those on the list. One that listens elsewhere checks
 * only where there is a list, and takes addresses of private networks too: replicas and Prometheus use them, and a page cannot.
 */
export function registerHostCheck(app: ServeApp, host: string, allowedHosts: readonly string[]): void {
  const onLoopback = isLoopbackHost(host);
  const isKnown = (header: string): boolean =>
    isLoopbackHost(header) || isListedHost(header, allowedHosts) || (!onLoopback && isPrivateAddress(hostName(header) ?? ""));
  const checks = onLoopback || allowedHosts.length > 0;
  app.addHook("onRequest", ({ raw, routeOptions }, _reply, done) => {
    const { host: header } = raw.headers;
    if (raw.rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === "host").length > 1) {
      done(new ServalError("E_REQUEST", "The request has more than one Host header; expected one."));
    } else if (header === undefined && raw.httpVersion === "1.1") {
      done(new ServalError("E_REQUEST", "The request has no Host header, which HTTP/1.1 requires."));
    } else if (!checks || header === undefined || isKnown(header) || healthRoute.test(routeOptions.url ?? "")) {
      // No browser leaves the header out.
      done();
    } else {
      done(
        new ServalError("E_FORBIDDEN", `The service does not know the host ${JSON.stringify(header.slice(0, 200))}.`, {
          hint: "If clients reach the service by that name, add it to SERVAL_HOSTS.",
        }),
      );
    }
  });
}
