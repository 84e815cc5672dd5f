import type { AddressInfo } from "node:net";
import { ServalError } from "../errors.ts";
import type { LogLevel } from "./app.ts";
import type { ServeApp } from "./context.ts";
import type { ServeLimits } from "./limits.ts";
import type { ServiceLog } from "./log-stream.ts";
import { loadServedModel, type ServedModel } from "./served-model.ts";

export interface ServiceOptions {
  /** Bundle folder, as `resolveModel` finds it. */
  readonly modelDir: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly limits: ServeLimits;
  readonly log?: { readonly level: LogLevel; readonly stream: ServiceLog };
  /** Threads inside one operator of the model; default: all cores. */
  readonly threads?: number;
}

export interface Service {
  /** Such as http://127.0.0.1:8000, fit for a browser on this machine. */
  readonly url: string;
  readonly port: number;
  readonly model: ServedModel;
  readonly app: ServeApp;
  /** Stops accepting, answers what came before, ends the model's thread and the log. */
  close(): Promise<void>;
}

/**
 * Loads and checks the model, builds the app and listens. Throws what `loadServedModel` throws, and E_PORT_IN_USE.
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { host, port, limits, log, threads } = options;
  // The model loads in its own thread while this one imports the web framework.
  const loading = loadServedModel(options.modelDir, threads === undefined ? {} : { threads });
  const importing = import("./app.ts");
  const [loaded, imported] = await Promise.allSettled([loading, importing]);
  if (loaded.status === "rejected") throw loaded.reason;
  const model = loaded.value;
  try {
    if (imported.status === "rejected") throw imported.reason;
    const app = await imported.value.buildApp({ model, limits, ...(log ? { log } : {}) });
    await app.listen({ host, port });
    const actual = (app.server.address() as AddressInfo).port;
    return {
      url: `http://${urlHost(host)}:${actual}`,
      port: actual,
      model,
      app,
      async close() {
        await app.close();
        await model.close();
        await log?.stream.close();
      },
    };
  } catch (error) {
    await model.close();
    throw listenError(error, host, port);
  }
}

function listenError(error: unknown, host: string, port: number): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE") return new ServalError("E_PORT_IN_USE", `Port ${port} of ${host} is taken.`, { cause: error });
  if (code === "EACCES") {
    return new ServalError("E_PORT_IN_USE", `Port ${port} of ${host} may not be used.`, {
      cause: error,
      hint: "Ports under 1024 need rights that a service should not have: choose another with --port.",
    });
  }
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new ServalError("E_USAGE", `${host} is no address of this machine.`, {
      cause: error,
      hint: "Use 127.0.0.1 for this machine only, or 0.0.0.0 for every network that it is on.",
    });
  }
  return error;
}

/** An address to listen on as an address to open: 0.0.0.0 is every one of this machine's, so also the local one. */
function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}
