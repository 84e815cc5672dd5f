import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** The answers that each connection waits for, in the order of their requests: a client may send the next before it has the last. */
export class OpenAnswers {
  readonly #bySocket = new WeakMap<Socket, Set<ServerResponse>>();

  add(socket: Socket, response: ServerResponse): void {
    const open = this.#bySocket.get(socket);
    if (open === undefined) this.#bySocket.set(socket, new Set([response]));
    else open.add(response);
  }

  /** The answer is sent, or its client is gone. */
  delete(socket: Socket, response: ServerResponse): void {
    this.#bySocket.get(socket)?.delete(response);
  }

  /** Whether an answer has begun on the connection and is not finished: only the first can, the others wait for it. */
  hasBegun(socket: Socket): boolean {
    return this.#bySocket.get(socket)?.values().next().value?.headersSent === true;
  }
}
