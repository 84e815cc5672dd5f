import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** The answers that each connection is waiting for, in the order of their requests: a client may send the next before it has the last. */
export class OpenAnswers {
  readonly #bySocket = new WeakMap<Socket, Set<ServerResponse>>();

  add({ socket }: IncomingMessage, response: ServerResponse): void {
    let open = this.#bySocket.get(socket);
    if (open === undefined) this.#bySocket.set(socket, (open = new Set()));
    open.add(response);
    response.once("close", () => open.delete(response));
  }

  /** Whether an answer has begun on the connection and is not finished: only the first can, the others wait for it. */
  hasBegun(socket: Socket): boolean {
    return this.#bySocket.get(socket)?.values().next().value?.headersSent === true;
  }
}
