import { isIP } from "node:net";
import { normalizeIP } from "@fastify/rate-limit";

/**
 * What all requests of one client have in common: its IPv4 address, or the /64 network of its IPv6 address, because a
 * provider gives each customer at least that many addresses. A port that a proxy added to the address is left out, so that
 * each new connection does not look like a new client. Undefined where the text is not an address.
 */
export function clientNetwork(text: string): string | undefined {
  const address = /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  // An address of the link itself may name its interface: fe80::1%eth0.
  const bare = address.split("%", 1)[0] ?? "";
  return isIP(bare) === 0 ? undefined : normalizeIP(bare);
}
