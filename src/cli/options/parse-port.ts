import { ServalError } from "../../errors/serval-error.ts";

/** The number of --port; throws E_USAGE for what is not a port. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new ServalError("E_USAGE", `--port: expected a number from 0 to 65535, got ${JSON.stringify(text)}.`);
}
