import { ServalError } from "../../errors/serval-error.ts";
import type { OutputCache } from "../cache/output-cache.ts";
import type { TrackedOut } from "../dvc-files/tracked-outs.ts";
import { fetchOuts, type Fetched, type WantedOut } from "./fetch.ts";
import type { RemoteLink } from "./link.ts";
import type { OnTransfer } from "./push.ts";

export interface Pulled extends Fetched {
  readonly restored: readonly string[];
}

/**
 * Fetches what the cache lacks, and makes the workspace hold the outs. An object of the cache that proves to be damaged on its
 * way into the workspace is fetched as well. What the remote cannot deliver stays as it is and is in the result.
 */
export async function pullOuts(
  cache: OutputCache,
  link: RemoteLink,
  outs: readonly (WantedOut & Pick<TrackedOut, "isexec">)[],
  options: { readonly force?: boolean | undefined; readonly onTransfer?: OnTransfer | undefined } = {},
): Promise<Pulled> {
  const fetched = await fetchOuts(cache, link, outs, options.onTransfer);
  const { remote, url, present } = fetched;
  const missing = new Set(fetched.missing);
  const corrupt = [...fetched.corrupt];
  const restored: string[] = [];
  let { objects, bytes } = fetched;
  for (const out of outs) {
    if (missing.has(out.path)) continue;
    let done = false;
    try {
      done = await cache.restore(out, options);
    } catch (error) {
      if (!(error instanceof ServalError && error.code === "E_CACHE_CORRUPT")) throw error;
      // What is damaged was set aside, so it is fetched now. A second time means that the disk itself is broken.
      const again = await fetchOuts(cache, link, [out], options.onTransfer);
      objects += again.objects;
      bytes += again.bytes;
      corrupt.push(...again.corrupt);
      done = again.missing.length === 0 && (await cache.restore(out, options));
    }
    if (done) restored.push(out.path);
    else missing.add(out.path);
  }
  return { remote, url, objects, bytes, present, missing: [...missing], corrupt, restored };
}
