import { ServalError } from "../../errors/serval-error.ts";
import type { FetchedModel } from "../../registry/fetch.ts";
import type { ModelSource } from "./model-slot.ts";
import { polledSource } from "./polled-source.ts";
import { readServable } from "./served-model.ts";

/**
 * Asks every `everyMs` which version an address of the registry points to now; `fetchModel` brings it to this disk. While the
 * registry does not answer nothing changes. A version that cannot be fetched completely is still offered: the slot
 * refuses it, and tells so.
 */
export function followRegistry(fetchModel: (signal: AbortSignal) => Promise<FetchedModel>, everyMs: number): ModelSource {
  return polledSource(everyMs, async (offer, signal) => {
    try {
      const { dir, version } = await fetchModel(signal);
      await offer({ version, load: async () => await readServable(dir, version) });
    } catch (error) {
      const known = error instanceof ServalError ? error : undefined;
      if (signal.aborted || known?.code === "E_TRACKING_UNREACHABLE") return;
      const named = known?.details["version"];
      const version = typeof named === "string" ? named : "unknown";
      await offer({ version, load: async () => await Promise.reject(error) });
    }
  });
}
