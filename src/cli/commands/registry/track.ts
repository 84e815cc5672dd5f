import { once } from "node:events";
import { join, resolve } from "node:path";
import { describeVariables, loadSettings, type Settings } from "../../../config/settings.ts";
import { ServalError, toServalError } from "../../../errors/serval-error.ts";
import type { ArtifactLimits } from "../../../tracking/server/artifact-quota.ts";
import { startTrackingServer, trackingFolder, type TrackingServer } from "../../../tracking/server/tracking-server.ts";
import type { Configure } from "../../command.ts";
import type { Output } from "../../output.ts";

export interface TrackCommandOptions {
  readonly dir: string;
  readonly host: string;
  readonly port: number;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly artifactLimits: ArtifactLimits;
}

const defaultPort = 5001;
const trackSettings: readonly (keyof Settings)[] = ["trackMaxFileBytes", "trackMaxRunBytes", "trackMinFreeBytes"];

export const configure: Configure = (command, context) => {
  command
    .option("--port <PORT>", "port to listen on; 0 takes a free one", String(defaultPort))
    .option("--host <HOST>", "address to listen on (default: SERVAL_HOST or 127.0.0.1)")
    .option("--store <DIR>", "folder of the runs, models and their files (default: tracking/ in SERVAL_STATE_DIR)")
    .option("--allowed-hosts <LIST>", "host names that requests may ask for besides local ones, such as ml.example.com,proxy:8443")
    .option("--allowed-origins <LIST>", "origins of pages elsewhere that may change things, such as https://ml.example.com")
    .addHelpText("after", () => `\nThe environment sets how much clients may upload:\n${describeVariables(trackSettings)}`)
    .action(async (options: { port: string; host?: string; store?: string; allowedHosts?: string; allowedOrigins?: string }) => {
      const settings = loadSettings();
      const track: TrackCommandOptions = {
        dir: resolve(context.cwd, options.store ?? join(settings.stateDir, trackingFolder)),
        host: options.host ?? settings.host,
        port: parsePort(options.port),
        allowedHosts: splitList(options.allowedHosts),
        allowedOrigins: splitList(options.allowedOrigins),
        artifactLimits: artifactLimits(settings),
      };
      await serve(track, context.output(), context.signal);
    });
};

/** Serves until `signal` is aborted; then answers what came before and returns. */
async function serve(options: TrackCommandOptions, output: Output, signal: AbortSignal): Promise<void> {
  const server = await startTrackingServer({ ...options, log: process.stdout });
  try {
    output.warn(`Tracking at ${server.url}, kept in ${options.dir}\n  use it:  export MLFLOW_TRACKING_URI=${server.url}`);
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    await server.close();
  }
}

/**
 * The server beside another command: on the usual port, or a free one where that is taken, and for this machine only. What
 * keeps it from starting is told, and is no reason for the other command not to run.
 */
export async function trackBeside(cwd: string, settings: Settings, output: Output): Promise<TrackingServer | undefined> {
  const options = {
    dir: resolve(cwd, settings.stateDir, trackingFolder),
    host: "127.0.0.1",
    artifactLimits: artifactLimits(settings),
    log: process.stdout,
  };
  const isTaken = (error: unknown): boolean => error instanceof ServalError && error.code === "E_PORT_IN_USE";
  try {
    const server = await startTrackingServer({ ...options, port: defaultPort }).catch(async (error: unknown) => {
      if (!isTaken(error)) throw error;
      return await startTrackingServer({ ...options, port: 0 });
    });
    output.warn(`Runs and registered models: ${server.url}`);
    return server;
  } catch (error) {
    const { code, message } = toServalError(error);
    output.warn(`${code}: ${message}\n  Runs and registered models are not shown; the rest goes on.`);
    return undefined;
  }
}

/** What the environment says of the room for files. */
function artifactLimits(settings: Settings): ArtifactLimits {
  const { trackMaxFileBytes: maxFileBytes, trackMaxRunBytes: maxRunBytes, trackMinFreeBytes: minFreeBytes } = settings;
  return { maxFileBytes, maxRunBytes, minFreeBytes };
}

function splitList(text: string | undefined): string[] {
  return (text ?? "")
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new ServalError("E_USAGE", `--port: expected a number from 0 to 65535, got ${JSON.stringify(text)}.`);
}
