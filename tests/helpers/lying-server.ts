import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** How a server answers one request. */
export type Lie = (request: IncomingMessage, response: ServerResponse) => unknown;

export interface LyingServer {
  readonly url: string;
  readonly host: string;
  /** `METHOD path` of each request. */
  readonly requests: string[];
  /** The headers of each request. */
  readonly headers: IncomingMessage["headers"][];
  answer: Lie;
  close(): Promise<void>;
}

/** A real HTTP server on a free port that answers as a test tells it to. */
export async function startLyingServer(answer: Lie = (_request, response) => response.end("{}")): Promise<LyingServer> {
  const server = createServer((request, response) => {
    request.resume();
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    lying.requests.push(`${request.method} ${request.url}`);
    lying.headers.push(request.headers);
    lying.answer(request, response);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const lying: LyingServer = {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    requests: [],
    headers: [],
    answer,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return lying;
}

export function redirect(location: string, status = 302): Lie {
  return (_request, response) => response.writeHead(status, { location }).end();
}

export function json(value: unknown, status = 200): Lie {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return (_request, response) => response.writeHead(status, { "content-type": "application/json" }).end(text);
}

/** A body without end, as fast as it is taken. `sent` counts its bytes. */
export function endless(status = 200): Lie & { sent: number } {
  const chunk = Buffer.alloc(64 << 10, "x");
  const lie = Object.assign(
    (_request: IncomingMessage, response: ServerResponse): void => {
      response.writeHead(status, { "content-type": "application/json" });
      const more = (): void => {
        if (response.destroyed) return;
        lie.sent += chunk.length;
        if (response.write(chunk)) setImmediate(more);
        else response.once("drain", more);
      };
      more();
    },
    { sent: 0 },
  );
  return lie;
}

/** A body that brings a byte every `everyMs`. */
export function drip(everyMs: number): Lie {
  return async (_request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    while (!response.destroyed) {
      response.write(" ");
      await delay(everyMs);
    }
  };
}

/** Headers that never end, one every `everyMs`; as fast as they are taken for 0. */
export function endlessHeaders(everyMs: number): Lie {
  return async (_request, response) => {
    const { socket } = response;
    socket?.on("error", () => undefined);
    socket?.write("HTTP/1.1 200 OK\r\n");
    for (let i = 0; !response.destroyed; i++) {
      socket?.write(`x-${i}: ${"y".repeat(everyMs === 0 ? 1000 : 1)}\r\n`);
      await delay(everyMs);
    }
  };
}

/** A page as proxies give it, with what a terminal would obey, and the headers that it was sent. */
export function page(status: number): Lie {
  return ({ headers }, response) => {
    const text = `<!doctype html>\u001b]0;owned\u0007\u001b[2J\u009b31m\u202eerror ${headers.authorization ?? ""} ${String(headers["x-api-key"] ?? "")}`;
    response.writeHead(status, { "content-type": "text/html; charset=utf-8" }).end(text);
  };
}
