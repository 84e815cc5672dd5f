import type { IncomingMessage } from "node:http";
import { isLoopbackAddress, isLoopbackHost } from "../../http/host.ts";

/** Headers that proxies, load balancers and content delivery networks add to what they pass on. */
const forwardingHeader =
  /^(?:(?:forwarded|via|cdn-loop|client-ip|true-client-ip)$|(?:cf|fastly|fly|akamai)-|x-(?:forward|real|client|cluster|original|originating|remote|proxy|envoy|azure|appengine|arr|amz|akamai|cdn))/;

/**
 * Why a request does not count as one of a program on this machine that means this service; undefined where it does. A
 * proxy on this machine sends requests for other people, and a web page that somebody opened here sends them without being
 * asked: under the name of its host (DNS rebinding), or with an Origin. A forwarder of TCP that a client tells to write
 * `Host: localhost` cannot be noticed, which is why nothing relies on this unless the operator says so (SERVAL_ADMIN=local).
 */
export function whyNotLocal({ httpVersion, headers, socket }: IncomingMessage, proxies: number): string | undefined {
  if (proxies > 0) return `SERVAL_PROXIES is ${proxies}, so it may have come through a proxy`;
  if (!isLoopbackAddress(socket.remoteAddress ?? "")) return "it comes from another machine";
  const forwarding = Object.keys(headers).find((name) => forwardingHeader.test(name.replaceAll("_", "-")));
  if (forwarding !== undefined) return `its header ${forwarding} says that a proxy passed it on`;
  // What nginx speaks to the servers behind it unless it is told otherwise; programs of today do not.
  if (httpVersion !== "1.1") return `it uses HTTP ${httpVersion}, as proxies do`;
  const host = headers.host ?? "";
  if (!isLoopbackHost(host)) return `its Host ${quote(host)} is not localhost, 127.0.0.1 or [::1]`;
  const { origin, "sec-fetch-site": site } = headers;
  // A page of another port of this machine is another program's.
  if (origin !== undefined && origin !== `http://${host}`) return `a page of ${quote(origin)} sent it`;
  if (site !== undefined && site !== "same-origin") return "a page of another site sent it";
  return undefined;
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
