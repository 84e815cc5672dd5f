import type { DvcConfig } from "../dvc-files/dvc-config.ts";
import { createLink, type LinkOptions, type RemoteLink } from "./link.ts";
import { findRemote, openRemote } from "./open-remote.ts";
import type { S3Environment } from "./s3-settings.ts";

export interface RemoteOptions extends LinkOptions {
  /** The remote that was named; else the default one. */
  readonly remote?: string | undefined;
  readonly env: S3Environment;
}

/** Opens a remote for as long as `use` runs. Throws E_DVC_CONFIG. */
export async function withRemote<T>(config: DvcConfig, options: RemoteOptions, use: (link: RemoteLink) => Promise<T>): Promise<T> {
  const remote = await openRemote(findRemote(config, options.remote), options.env);
  try {
    return await use(createLink(remote, options));
  } finally {
    remote.close();
  }
}

/** One call for each remote that the outs belong to. As with DVC, a remote that is named leaves out what belongs to another. */
export async function forEachRemote<T extends { readonly remote?: string | undefined }>(
  config: DvcConfig,
  outs: readonly T[],
  options: RemoteOptions,
  use: (link: RemoteLink, outs: readonly T[]) => Promise<void>,
): Promise<void> {
  const groups = new Map<string, T[]>();
  for (const out of outs) {
    if (options.remote !== undefined && out.remote !== undefined && out.remote !== options.remote) continue;
    const name = out.remote ?? options.remote ?? findRemote(config, undefined).name;
    groups.set(name, [...(groups.get(name) ?? []), out]);
  }
  for (const [remote, group] of groups) await withRemote(config, { ...options, remote }, (link) => use(link, group));
}
