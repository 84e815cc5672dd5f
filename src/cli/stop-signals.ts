import { ServalError } from "../errors/serval-error.ts";

/**
 * What a verb does when it is told to stop (Ctrl-C, SIGTERM):
 * - `end`: nothing. The system ends it at once, whatever it is doing.
 * - `tidy`: it puts away what it was working on. What is not done in time is left: it is no more than after a crash.
 * - `finish`: it takes the time that its own work needs; a second signal ends it at once.
 */
export type OnStop = "end" | "tidy" | "finish";

/** So that a stop takes at most two seconds. */
const tidyMs = 1000;

/** Aborted by the first stop signal, where the verb does something about it. `exit` ends the process. */
export function stopSignal(onStop: OnStop, exit: (code: number) => void): AbortSignal {
  const controller = new AbortController();
  // Without a listener the system itself ends the process, even while it computes and hears nothing. But not the first
  // process of a container.
  if (onStop === "end" && process.pid !== 1) return controller.signal;
  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    // As if there had been no listener: an exit would wait for threads that are computing or reading.
    const end = (): void => {
      process.removeAllListeners(name);
      process.kill(process.pid, name);
      exit(code);
    };
    process.on(name, () => {
      if (controller.signal.aborted || onStop === "end") end();
      controller.abort(new ServalError("E_INTERRUPTED", `Stopped by ${name}.`));
      if (onStop === "tidy") setTimeout(end, tidyMs).unref();
    });
  }
  return controller.signal;
}
