import { join, relative, resolve } from "node:path";
import { stateDirectory, trackingUri } from "../config/env.ts";
import type { Settings } from "../config/settings.ts";
import { toServalError } from "../errors/serval-error.ts";
import { createTrackingClient, type TrackingClient } from "../tracking/client/tracking-client.ts";
import type { RunInfo } from "../tracking/client/wire.ts";
import { createRegistryClient, type RegistryClient } from "../tracking/client/registry-client.ts";
import type { TrackingServer } from "../tracking/server/tracking-server.ts";
import type { Reporter } from "./reporter.ts";

export interface TrackingConnection {
  readonly tracking: TrackingClient;
  readonly registry: RegistryClient;
}

/** Where `serval track` and `serval up` show what is kept in the embedded store. */
const pagesOfEmbedded = "http://127.0.0.1:5001";

/** One embedded server for a store and process: it ends with the process, and keeps no process from ending. */
const embedded = new Map<string, Promise<TrackingServer>>();

/**
 * The MLflow server at `uri`, which MLFLOW_TRACKING_URI names; without one, the store in the state folder, by a server of
 * this process. Throws E_ENV, E_TRACKING_STORE.
 */
export async function connectTracking(
  cwd: string,
  uri: string | null = trackingUri(),
  stateDir: string = stateDirectory(),
): Promise<TrackingConnection> {
  if (uri !== null) return { tracking: createTrackingClient(uri), registry: createRegistryClient(uri) };
  // Loaded here: the embedded server is not needed where there is another one.
  const { openEmbeddedTracking, trackingFolder } = await import("../tracking/server/tracking-server.ts");
  const dir = resolve(cwd, join(stateDir, trackingFolder));
  let opening = embedded.get(dir);
  if (opening === undefined) {
    opening = openEmbeddedTracking(dir);
    embedded.set(dir, opening);
    // At the next try the disk may work again.
    opening.catch(() => embedded.delete(dir));
  }
  const { url } = await opening;
  // The port is another one each time: what was kept for this store is known by its folder.
  const server = relative(cwd, dir);
  const [tracking, registry] = [createTrackingClient(url), createRegistryClient(url)];
  const shown = (page: string): string => page.replace(url, pagesOfEmbedded);
  return {
    tracking: { ...tracking, server, pageOf: (run: RunInfo) => shown(tracking.pageOf(run)) },
    registry: { ...registry, server, pageOfVersion: (name, version) => shown(registry.pageOfVersion(name, version)) },
  };
}

/** The server that runs are logged to; null, with a remark, where the store in the state folder cannot be opened. */
export async function openTracking(
  cwd: string,
  { mlflowTrackingUri, stateDir }: Pick<Settings, "mlflowTrackingUri" | "stateDir">,
  reporter: Reporter,
): Promise<TrackingClient | null> {
  try {
    return (await connectTracking(cwd, mlflowTrackingUri, stateDir)).tracking;
  } catch (error) {
    const { code, message } = toServalError(error);
    if (code === "E_ENV") throw error;
    reporter.warn(`${code}: ${message}\n  This run is kept in its folder only.`);
    return null;
  }
}
