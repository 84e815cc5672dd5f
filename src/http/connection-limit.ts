import { readdir, readFile } from "node:fs/promises";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * Keeps at most `max` connections open. For a new one beyond that, the connection that has been idle for longest is closed:
 * one on which no whole request has come, or whose last answer is sent. Without it, someone who opens connections and says
 * nothing takes every file descriptor of the process, and then neither new clients nor files get one. `onFull` hears of each
 * connection that is closed.
 */
export function limitConnections(server: Server, max: number, onFull: () => void): void {
  // In the order in which they became idle.
  const idle = new Set<Socket>();
  const working = new Map<Socket, number>();
  server.on("connection", (socket: Socket) => {
    idle.add(socket);
    socket.once("close", () => {
      idle.delete(socket);
      working.delete(socket);
    });
    if (idle.size + working.size <= max) return;
    onFull();
    idle.values().next().value?.destroy();
  });
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    idle.delete(socket);
    working.set(socket, (working.get(socket) ?? 0) + 1);
    response.once("close", () => {
      const left = (working.get(socket) ?? 0) - 1;
      // A client may send the next request before it has its answer.
      if (left > 0) working.set(socket, left);
      else if (working.delete(socket) && !socket.destroyed) idle.add(socket);
    });
  });
}

/** File descriptors for what a server opens besides connections: databases, logs, threads that are started again, a new model. */
const reserved = 64;
const fewest = 16;

/** How many connections the limit on file descriptors leaves room for; undefined where there is none, or none can be read. */
export async function connectionBudget(): Promise<number | undefined> {
  try {
    const [limits, open] = await Promise.all([readFile("/proc/self/limits", "utf8"), readdir("/proc/self/fd")]);
    const limit = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
    return limit === undefined ? undefined : Math.max(fewest, Number(limit) - open.length - reserved);
  } catch {
    // macOS and Windows have no /proc, and a container may hide it.
    return undefined;
  }
}
