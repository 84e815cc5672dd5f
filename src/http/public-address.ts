import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

/** What is not the public internet (IANA's special-purpose registries): loopback, private and link-local networks, cloud metadata among them. */
const special: readonly (readonly [network: string, prefix: number, family: "ipv4" | "ipv6"])[] = [
  ["0.0.0.0", 8, "ipv4"],
  ["10.0.0.0", 8, "ipv4"],
  ["100.64.0.0", 10, "ipv4"],
  ["127.0.0.0", 8, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.0.0.0", 24, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["198.18.0.0", 15, "ipv4"],
  ["224.0.0.0", 3, "ipv4"],
  // These hold IPv4 addresses: mapped, compatible, NAT64 and 6to4.
  ["::", 80, "ipv6"],
  ["64:ff9b::", 16, "ipv6"],
  ["2002::", 16, "ipv6"],
  ["fc00::", 7, "ipv6"],
  ["fe80::", 9, "ipv6"],
  ["ff00::", 8, "ipv6"],
];

/** True where a host, an address or a name, has public addresses only. A name may have others a moment later. */
export async function isPublicHost(host: string): Promise<boolean> {
  const list = new BlockList();
  for (const entry of special) list.addSubnet(...entry);
  const name = host.replace(/^\[|\]$/g, "");
  const addresses = isIP(name) > 0 ? [name] : (await lookup(name, { all: true }).catch(() => [])).map(({ address }) => address);
  return addresses.length > 0 && !addresses.some((address) => list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4"));
}
