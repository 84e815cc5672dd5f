import { join, relative, resolve } from "node:path";
import { stateDirectory, trackingUri } from "../config/env.ts";
import { createTrackingClient, type TrackingClient } from "../tracking/client/tracking-client.ts";
import type { RunInfo } from "../tracking/client/wire.ts";
import { createRegistryClient, type RegistryClient } from "../tracking/client/registry-client.ts";
import type { TrackingServer } from "../tracking/server/tracking-server.ts";

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
  // Loaded here: a server of one's own is not needed by whoever has another.
  const { openEmbeddedTracking, trackingFolder } = await import("../tracking/server/tracking-server.ts");
  const dir = resolve(cwd, join(stateDir, trackingFolder));
  let opening = embedded.get(dir);
  if (opening === undefined) {
    opening = openEmbeddedTracking(dir);
    embedded.set(dir, opening);
    // Whoever asks next may find the disk mended.
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
