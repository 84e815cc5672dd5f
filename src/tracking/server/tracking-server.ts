import { mkdir, realpath } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { watchConnections } from "../../http/connections.ts";
import { buildTrackingApp } from "./app.ts";
import { ArtifactFolder } from "./artifact-folder.ts";
import type { ArtifactLimits } from "./artifact-quota.ts";
import { ArtifactStore } from "./artifacts.ts";
import type { TrackingApp } from "./context.ts";
import type { GuardOptions } from "./guard.ts";
import { openTrackingStore } from "./store/tracking-store.ts";
import { StoreReader } from "./store-reader.ts";

export interface TrackingServerOptions extends GuardOptions {
  /** Folder of the store, such as .serval/tracking: `mlflow.db` and `artifacts/`. Made when it is not there. */
  readonly dir: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** What uploads may take of the disk; the defaults of docs/configuration.md where it says nothing. */
  readonly artifactLimits?: Partial<ArtifactLimits>;
  /** Folder below which experiments may have their files by `file:` addresses. Clients write there, and the server reads. */
  readonly localArtifacts?: string | undefined;
  /** Where what failed inside is written, a JSON line each; without it nowhere. */
  readonly log?: { write(line: string): void };
  /** Reads everything in the caller's thread: for a server with one client, which waits for each answer. */
  readonly oneThread?: boolean;
}

export interface TrackingServer {
  /** Such as http://127.0.0.1:5001, what MLFLOW_TRACKING_URI is set to. */
  readonly url: string;
  readonly app: TrackingApp;
  /** Answers what came before, then closes the store. */
  close(): Promise<void>;
}

/** Name of the store's folder in the state folder, shared by `serval track` and the trainings of a working folder. */
export const trackingFolder = "tracking";

/** How long an upload may continue after the server was told to stop. */
const graceMs = 10_000;

/**
 * Starts a server on a store. Several may use one store at the same time, in one process or many: each write is one
 * transaction, and files get their names when they are whole. Throws E_TRACKING_STORE, E_PORT_IN_USE.
 */
export async function startTrackingServer({
  dir,
  host,
  port,
  artifactLimits,
  localArtifacts,
  oneThread = false,
  ...options
}: TrackingServerOptions): Promise<TrackingServer> {
  const path = join(dir, "mlflow.db");
  const store = openTrackingStore(path);
  const reader = new StoreReader(store, oneThread ? undefined : path);
  try {
    const artifacts = await ArtifactStore.open(dir, artifactLimits);
    const local = localArtifacts === undefined ? undefined : await openLocalArtifacts(localArtifacts);
    const app = await buildTrackingApp({ ...options, context: { store, reader, artifacts, localArtifacts: local } });
    const endConnections = watchConnections(app.server, graceMs);
    await app.listen({ host, port }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") throw error;
      throw new ServalError("E_PORT_IN_USE", `Port ${port} of ${host} is taken.`, { cause: error });
    });
    const actual = (app.server.address() as AddressInfo).port;
    return {
      url: `http://${urlHost(host)}:${actual}`,
      app,
      async close() {
        endConnections();
        await app.close();
        reader.close();
        store.close();
      },
    };
  } catch (error) {
    store.close();
    throw error;
  }
}

async function openLocalArtifacts(dir: string): Promise<ArtifactFolder> {
  await mkdir(dir, { recursive: true });
  return new ArtifactFolder(await realpath(dir));
}

/** The server for a process that only needs one for itself, on a free port that only it knows. The process may end without closing it. */
export async function openEmbeddedTracking(dir: string): Promise<TrackingServer> {
  const server = await startTrackingServer({ dir, host: "127.0.0.1", port: 0, oneThread: true });
  server.app.server.unref();
  // Nor does a connection that is only kept for the next request.
  server.app.server.on("connection", (socket) => socket.unref());
  return server;
}

function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}
