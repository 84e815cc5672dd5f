import { InvalidArgumentError, type Command } from "commander";
import { loadSettings } from "../config/settings.ts";
import type { RemoteOptions } from "../pipeline/remote/by-remote.ts";
import type { OnTransfer } from "../pipeline/remote/push.ts";
import type { Output, Progress } from "./output.ts";

/** What the verbs that speak to a remote share. */
export interface RemoteFlags {
  readonly remote?: string;
  readonly jobs?: number;
}

export function addRemoteFlags(command: Command): Command {
  return command
    .option("-r, --remote <NAME>", "remote of .dvc/config (default: its default one)")
    .option("-j, --jobs <N>", "requests at once (default: 4 a core, at most 16)", readJobs);
}

function readJobs(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError("expected a whole number from 1 to 999.");
  return Number(text);
}

export function remoteOptions(flags: RemoteFlags, signal: AbortSignal): RemoteOptions {
  const { s3EndpointUrl, awsEndpointUrl, awsRegion, awsDefaultRegion } = loadSettings();
  return {
    remote: flags.remote,
    jobs: flags.jobs,
    signal,
    env: { endpointUrl: s3EndpointUrl ?? awsEndpointUrl, region: awsRegion ?? awsDefaultRegion },
  };
}

/** A progress bar for objects, with the bytes behind it. */
export function transferBar(output: Output, label: string): { readonly onTransfer: OnTransfer; end(): void } {
  let bar: Progress | undefined;
  return {
    onTransfer: (done, total, bytes) => {
      bar ??= output.progress(label, total, "files");
      bar.update(done, formatBytes(bytes));
    },
    end: () => bar?.end(),
  };
}

export function formatBytes(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
