import type { ModelSource } from "./model-slot.ts";

type Offer = Parameters<ModelSource["follow"]>[0];

/** A source that has to be asked: looks every `everyMs`, and never twice at the same time. */
export function polledSource(everyMs: number, look: (offer: Offer, signal: AbortSignal) => Promise<void>): ModelSource {
  return {
    follow(offer, signal) {
      let looking = false;
      const timer = setInterval(() => {
        if (looking) return;
        looking = true;
        void look(offer, signal).finally(() => (looking = false));
      }, everyMs).unref();
      signal.addEventListener("abort", () => clearInterval(timer));
    },
  };
}
