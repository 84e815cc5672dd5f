import { once } from "node:events";
import { join, resolve } from "node:path";
import { describeVariables, loadSettings, type Settings } from "../../../config/settings.ts";
import { startTrackingServer, trackingFolder } from "../../../tracking/server/tracking-server.ts";
import { artifactLimits, usualTrackingPort } from "../../../workflows/service/track-beside.ts";
import type { Configure } from "../../command.ts";
import { parsePort } from "../../options/parse-port.ts";

const trackSettings: readonly (keyof Settings)[] = ["trackMaxFileBytes", "trackMaxRunBytes", "trackMinFreeBytes"];

interface TrackFlags {
  readonly port: string;
  readonly host?: string;
  readonly store?: string;
  readonly localArtifacts?: string;
  readonly allowedHosts?: string;
  readonly allowedOrigins?: string;
}

export const configure: Configure = (command, context) => {
  command
    .option("--port <PORT>", "port to listen on; 0 takes a free one", String(usualTrackingPort))
    .option("--host <HOST>", "address to listen on (default: SERVAL_HOST or 127.0.0.1)")
    .option("--store <DIR>", "folder of the runs, models and their files (default: tracking/ in SERVAL_STATE_DIR)")
    .option("--local-artifacts <DIR>", "folder below which experiments may keep their files on this machine, by file: addresses")
    .option("--allowed-hosts <LIST>", "host names that requests may ask for besides local ones, such as ml.example.com,proxy:8443")
    .option("--allowed-origins <LIST>", "origins of pages elsewhere that may change things, such as https://ml.example.com")
    .addHelpText("after", () => `\nThe environment sets how much clients may upload:\n${describeVariables(trackSettings)}`)
    .action(async (options: TrackFlags) => {
      const settings = loadSettings();
      const dir = resolve(context.cwd, options.store ?? join(settings.stateDir, trackingFolder));
      const server = await startTrackingServer({
        dir,
        host: options.host ?? settings.host,
        port: parsePort(options.port),
        allowedHosts: splitList(options.allowedHosts),
        allowedOrigins: splitList(options.allowedOrigins),
        artifactLimits: artifactLimits(settings),
        localArtifacts: options.localArtifacts === undefined ? undefined : resolve(context.cwd, options.localArtifacts),
        log: process.stdout,
      });
      try {
        context.output().warn(`Tracking at ${server.url}, kept in ${dir}\n  use it:  export MLFLOW_TRACKING_URI=${server.url}`);
        if (!context.signal.aborted) await once(context.signal, "abort");
      } finally {
        await server.close();
      }
    });
};

function splitList(text: string | undefined): string[] {
  return (text ?? "")
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}
