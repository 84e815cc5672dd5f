import { BlockList, isIP } from "node:net";

type Network = readonly [address: string, prefix: number, family: "ipv4" | "ipv6"];

const loopbackNetworks: readonly Network[] = [
  ["127.0.0.0", 8, "ipv4"],
  ["::1", 128, "ipv6"],
];
/** RFC 1918, RFC 4193 and the loopback network of IPv4. */
const privateNetworks: readonly Network[] = [
  ["127.0.0.0", 8, "ipv4"],
  ["10.0.0.0", 8, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["fc00::", 7, "ipv6"],
];

/** 127.0.0.0/8 and ::1, also where the first is written as an IPv6 address. */
export const isLoopbackAddress: (address: string) => boolean = inNetworks(loopbackNetworks);

/** An address of a private network or of this machine. */
export const isPrivateAddress: (address: string) => boolean = inNetworks(privateNetworks);

/** A DNS name has at most 253 characters; a colon and a port follow. */
const longestHost = 260;

/** The name in a Host header, in lower case and without the port; an IPv6 address keeps its brackets. Undefined where it is not valid. */
export function hostName(header: string): string | undefined {
  if (header.length > longestHost) return undefined;
  return /^(\[[0-9a-f:.%]+\]|[^:[\]\s/]+)(?::\d+)?$/i.exec(header)?.[1]?.toLowerCase();
}

/** Whether a Host header, or the address that a server listens on, names this machine and no other. */
export function isLoopbackHost(header: string): boolean {
  const name = hostName(header) ?? header;
  return name === "localhost" || isLoopbackAddress(name);
}

/**
 * Whether a Host header is on a list of names that an operator wrote: `ml.example.com` (with any port), `proxy:8443`,
 * `*.internal`, `*` for all.
 */
export function isListedHost(header: string, entries: readonly string[]): boolean {
  const name = hostName(header);
  return name !== undefined && entries.some((entry) => matchesEntry(entry, header.toLowerCase()) || matchesEntry(entry, name));
}

/** `*` matches any text. */
export function matchesEntry(entry: string, text: string): boolean {
  return new RegExp(
    `^${entry
      .trim()
      .toLowerCase()
      .split("*")
      .map((part) => RegExp.escape(part))
      .join(".*")}$`,
  ).test(text);
}

function inNetworks(networks: readonly Network[]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of networks) list.addSubnet(...network);
  return (host) => {
    const address = host.replace(/^\[|\]$/g, "");
    const family = isIP(address);
    return family !== 0 && list.check(address, family === 6 ? "ipv6" : "ipv4");
  };
}
