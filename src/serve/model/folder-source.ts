import { join } from "node:path";
import { sha256File } from "../../files.ts";
import { shortDigest } from "../../model/bundle.ts";
import { manifestFile } from "../../model/manifest.ts";
import type { ModelSource } from "./model-slot.ts";
import { polledSource } from "./polled-source.ts";
import { readServable } from "./served-model.ts";

/** Looks every `everyMs` whether the bundle in a folder was replaced, as `serval models release` does. */
export function followFolder(dir: string, everyMs: number): ModelSource {
  return polledSource(everyMs, async (offer) => {
    // While the folder is replaced there may be none for a moment.
    const digest = await sha256File(join(dir, manifestFile)).catch(() => undefined);
    if (digest !== undefined) await offer({ version: shortDigest({ digest }), load: async () => await readServable(dir) });
  });
}
