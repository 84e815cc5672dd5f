import { ServalError } from "../../errors/serval-error.ts";
import { request } from "../../http/client.ts";

const mostBytes = 2 ** 20;

/** Addresses (IP:port) of the containers that the proxy sends requests to now, from its statistics at `url`. */
export async function readProxied(url: string, backend = "service"): Promise<readonly string[]> {
  const bounds = { answerMs: 5000, totalMs: 5000, maxBytes: mostBytes };
  const csv = await request(`${url}/;csv`, {}, bounds, async (answer) => await answer.text()).catch((cause: unknown) => {
    throw new ServalError("E_DEPLOY_REFUSED", `The proxy does not answer at ${url}: ${(cause as Error).message}.`, { cause });
  });
  return parseProxied(csv, backend);
}

/** The same from HAProxy's CSV (docs.haproxy.org/3.0/management.html, 9.1). */
export function parseProxied(csv: string, backend: string): readonly string[] {
  const [head = "", ...lines] = csv.replace(/^# /, "").split("\n");
  const names = head.split(",");
  return lines.flatMap((line) => {
    // Texts in quotes may hold commas; none of them is asked for.
    const cells = line.replaceAll(/"(?:[^"]|"")*"/g, "").split(",");
    const cell = (name: string): string => cells[names.indexOf(name)] ?? "";
    return cell("pxname") === backend && cell("addr") !== "" && cell("status").startsWith("UP") ? [cell("addr")] : [];
  });
}
