import { watchConnections } from "../../../http/connections.ts";
import type { ServeApp } from "../context.ts";

/**
 * While the app closes: requests that came before are answered, their connections end after the answer (a kept-alive one
 * would hold the close up until it times out), and what has not ended after `graceMs` is cut off.
 */
export function registerShutdown(app: ServeApp, graceMs: number): void {
  let closing = false;
  const endConnections = watchConnections(app.server, graceMs);
  app.addHook("preClose", (done) => {
    closing = true;
    endConnections();
    done();
  });
  app.addHook("onSend", (_request, reply, _payload, done) => {
    if (closing) void reply.header("connection", "close");
    done();
  });
}
