import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A proxy in front of a real server, which can drop the connection instead of passing a request on. */
export interface UnreliableProxy {
  readonly uri: string;
  /** `METHOD path` of each request so far, dropped ones as well. */
  readonly requests: string[];
  /** Asked before each request is passed on; true drops it. */
  drops: (request: IncomingMessage) => boolean;
  close(): Promise<void>;
}

export async function startProxy(target: string): Promise<UnreliableProxy> {
  const requests: string[] = [];
  const server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
    requests.push(`${incoming.method} ${incoming.url}`);
    if (proxy.drops(incoming)) {
      incoming.socket.destroy();
      return;
    }
    const headers = { ...incoming.headers, host: new URL(target).host };
    const onward = forward(`${target}${incoming.url}`, { method: incoming.method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.once("error", () => incoming.socket.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: UnreliableProxy = {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    drops: () => false,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
