import type { Transferable } from "node:worker_threads";
import type { FromThread, NumberedCall, Protocol, ToThread } from "./messages.ts";
import { packError, packPlainError, type SentError } from "./sent-error.ts";

/** The channel to the side that asks: a thread's `parentPort`, or `processPort`. */
export interface Port {
  postMessage(message: unknown, transfer?: readonly Transferable[]): void;
  on(event: "message", listener: (message: unknown) => void): unknown;
  close(): void;
}

/** What a thread does with what it is sent. */
export interface Listener<P extends Protocol> {
  /** Calls that came together. */
  readonly calls: (calls: readonly NumberedCall<P>[]) => void;
  readonly note?: (note: P["note"]) => void;
  /** Nothing more comes: when all is answered, the port is to be closed, and the thread ends. */
  readonly close: () => void;
}

/** The side that answers. Threads that work on one call at a time need `answerCalls` only. */
export class CallPort<P extends Protocol> {
  readonly #port: Port;

  constructor(port: Port) {
    this.#port = port;
  }

  listen({ calls, note, close }: Listener<P>): void {
    this.#port.on("message", (sent) => {
      const message = sent as ToThread<P>;
      if (message.kind === "calls") calls(message.calls);
      else if (message.kind === "note") note?.(message.note);
      else close();
    });
  }

  ready(): void {
    this.#post({ kind: "ready" });
  }

  /** It cannot work: the side that asks ends it. */
  refused(error: unknown): void {
    this.#postError((sent) => ({ kind: "refused", error: sent }), error);
  }

  /** `transfer` moves instead of being copied. */
  done(id: number, answer: P["answer"], transfer: readonly Transferable[] = []): void {
    this.#post({ kind: "done", id, answer }, transfer);
  }

  failed(id: number, error: unknown): void {
    this.#postError((sent) => ({ kind: "failed", id, error: sent }), error);
  }

  event(event: P["event"]): void {
    this.#post({ kind: "event", event });
  }

  close(): void {
    this.#port.close();
  }

  #postError(message: (sent: SentError) => FromThread<P>, error: unknown): void {
    try {
      this.#post(message(packError(error)));
    } catch {
      // Something in its details or its cause cannot be cloned.
      this.#post(message(packPlainError(error)));
    }
  }

  #post(message: FromThread<P>, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}
