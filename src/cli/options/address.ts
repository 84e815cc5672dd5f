import type { Command } from "commander";
import { loadSettings, type Settings } from "../../config/settings.ts";
import { parsePort } from "./parse-port.ts";

/** Where to listen, as given on the command line. */
export interface AddressOptions {
  readonly port?: string;
  readonly host?: string;
}

/** Adds --port and --host. */
export function addressOptions(command: Command): Command {
  return command
    .option("--port <PORT>", "port to listen on; 0 takes a free one (default: SERVAL_PORT or 8000)")
    .option("--host <HOST>", "address to listen on (default: SERVAL_HOST or 127.0.0.1)");
}

/** The environment's settings, with what the command line says put over them. */
export function settingsWith({ port, host }: AddressOptions): Settings {
  const environment = loadSettings();
  return { ...environment, port: port === undefined ? environment.port : parsePort(port), host: host ?? environment.host };
}
