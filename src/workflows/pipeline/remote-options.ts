import { loadSettings } from "../../config/settings.ts";
import type { RemoteOptions } from "../../pipeline/remote/by-remote.ts";
import type { OnTransfer } from "../../pipeline/remote/push.ts";
import { formatBytes } from "../format-bytes.ts";
import type { Progress, Reporter } from "../reporter.ts";

/** Which remote to use, and how. */
export interface RemoteChoice {
  /** A remote of .dvc/config. Default: its default one. */
  readonly remote?: string | undefined;
  /** Requests at once. Default: 4 a core, at most 16. */
  readonly jobs?: number | undefined;
}

/** The choice, with what the environment says of S3. */
export function remoteOptions({ remote, jobs }: RemoteChoice, signal: AbortSignal = new AbortController().signal): RemoteOptions {
  const { s3EndpointUrl, awsEndpointUrl, awsRegion, awsDefaultRegion } = loadSettings();
  return {
    remote,
    jobs,
    signal,
    env: { endpointUrl: s3EndpointUrl ?? awsEndpointUrl, region: awsRegion ?? awsDefaultRegion },
  };
}

/** A progress bar for objects, with the bytes behind it. */
export function transferBar(reporter: Reporter, label: string): { readonly onTransfer: OnTransfer; end(): void } {
  let bar: Progress | undefined;
  return {
    onTransfer: (done, total, bytes) => {
      bar ??= reporter.progress(label, total, "files");
      bar.update(done, formatBytes(bytes));
    },
    end: () => bar?.end(),
  };
}
