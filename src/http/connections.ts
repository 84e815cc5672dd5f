import type { Server } from "node:http";
import type { Socket } from "node:net";

const idleCheckMs = 25;

/**
 * What Node leaves open when a server closes, and what would hold the close up until it times out: connections on which no
 * request has come yet (browsers open some in advance), and those that become idle after the close began. Call it before the
 * server listens, and the result when it begins to close; what has not ended `graceMs` later is cut off.
 */
export function watchConnections(server: Server, graceMs: number): () => void {
  const unused = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    unused.add(socket);
    socket.once("close", () => unused.delete(socket));
  });
  server.on("request", ({ socket }: { readonly socket: Socket }) => unused.delete(socket));
  return () => {
    for (const socket of unused) socket.destroy();
    const idle = setInterval(() => server.closeIdleConnections(), idleCheckMs);
    const cutOff = setTimeout(() => server.closeAllConnections(), graceMs);
    // Not a reason for the process to stay.
    idle.unref();
    cutOff.unref();
    server.once("close", () => {
      clearInterval(idle);
      clearTimeout(cutOff);
    });
  };
}
