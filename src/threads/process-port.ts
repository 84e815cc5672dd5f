import type { Port } from "./call-port.ts";

/** The channel of a process that was started by `startProcess`; undefined in any other. It ends when the one that started it is gone. */
export function processPort(): Port | undefined {
  if (process.send === undefined) return undefined;
  // No answer is waited for any more, and the work may be far from its end.
  process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));
  return {
    postMessage: (message) => void process.send?.(message),
    on: (event, listener) => process.on(event, listener),
    close: () => process.disconnect(),
  };
}
