import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

/** What is not the public internet (IANA's special-purpose registries): loopback, private and link-local networks, cloud metadata among them. */
const special = {
  ipv4: [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
  ],
  // The first, 64:ff9b:: and 2002:: have IPv4 addresses in them.
  ipv6: ["::/80", "64:ff9b::/16", "2002::/16", "fc00::/7", "fe80::/9", "ff00::/8"],
} as const;

/** True where a host, an address or a name, has public addresses only. A name may have others a moment later. */
export async function isPublicHost(host: string): Promise<boolean> {
  const name = host.replace(/^\[|\]$/g, "");
  const addresses = isIP(name) > 0 ? [name] : (await lookup(name, { all: true }).catch(() => [])).map(({ address }) => address);
  return addresses.length > 0 && !addresses.some(isSpecial);
}

function isSpecial(address: string): boolean {
  // A list each: an IPv4 address in a list of both counts as one of IPv6.
  const family = isIP(address) === 6 ? "ipv6" : "ipv4";
  const list = new BlockList();
  for (const network of special[family]) {
    const [start = "", prefix] = network.split("/");
    list.addSubnet(start, Number(prefix), family);
  }
  return list.check(address, family);
}
