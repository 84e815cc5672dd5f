import { resolve } from "node:path";
import type { Settings } from "../../config/settings.ts";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import type { ArtifactLimits } from "../../tracking/server/artifact-quota.ts";
import { startTrackingServer, trackingFolder, type TrackingServer } from "../../tracking/server/tracking-server.ts";
import type { Reporter } from "../reporter.ts";

/** Where `serval track` listens, and where links to its pages lead. */
export const usualTrackingPort = 5001;

/**
 * The server beside another command: on the usual port, or a free one where that is taken, and for this machine only. What
 * keeps it from starting is a remark: the other command runs without it.
 */
export async function trackBeside(cwd: string, settings: Settings, reporter: Reporter): Promise<TrackingServer | undefined> {
  const options = {
    dir: resolve(cwd, settings.stateDir, trackingFolder),
    host: "127.0.0.1",
    artifactLimits: artifactLimits(settings),
    log: process.stdout,
  };
  const isTaken = (error: unknown): boolean => error instanceof ServalError && error.code === "E_PORT_IN_USE";
  try {
    const server = await startTrackingServer({ ...options, port: usualTrackingPort }).catch(async (error: unknown) => {
      if (!isTaken(error)) throw error;
      return await startTrackingServer({ ...options, port: 0 });
    });
    reporter.warn(`Runs and registered models: ${server.url}`);
    return server;
  } catch (error) {
    const { code, message } = toServalError(error);
    reporter.warn(`${code}: ${message}\n  Runs and registered models are not shown; everything else works.`);
    return undefined;
  }
}

/** What the environment says of the room for files. */
export function artifactLimits(settings: Settings): ArtifactLimits {
  const { trackMaxFileBytes: maxFileBytes, trackMaxRunBytes: maxRunBytes, trackMinFreeBytes: minFreeBytes } = settings;
  return { maxFileBytes, maxRunBytes, minFreeBytes };
}
