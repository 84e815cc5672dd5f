import type { ServeApp } from "../context.ts";

/**
 * While the app closes: requests that came before are answered, their connections end after the answer (a kept-alive one
 * would hold the close up until it times out), and what has not ended after `graceMs` is cut off.
 */
export function registerShutdown(app: ServeApp, graceMs: number): void {
  let closing = false;
  app.addHook("preClose", (done) => {
    closing = true;
    // Not a reason for the process to stay.
    setTimeout(() => app.server.closeAllConnections(), graceMs).unref();
    done();
  });
  app.addHook("onSend", (_request, reply, _payload, done) => {
    if (closing) void reply.header("connection", "close");
    done();
  });
}
