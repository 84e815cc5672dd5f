import type { FastifyReply } from "fastify";
import { ServalError } from "../../errors/serval-error.ts";
import type { ServeContext } from "./context.ts";

/** Milliseconds between the signs of life: what the first meets is often noticed only with the second. */
const signsAfterMs = [0, 50, 200, 800, 3200];

/**
 * Aborted when the client hangs up before it has its answer, so that nothing is done for it. A client that closed only its own
 * side and waits for the answer looks the same as one that is gone, until something is sent: where others wait for the work,
 * it is sent `100 Continue`, which clients pass over and which breaks a connection whose other end is gone.
 */
export function clientGone({ raw, request }: FastifyReply, othersWait: () => boolean = () => false): AbortSignal {
  const controller = new AbortController();
  const { socket, httpVersion } = request.raw;
  let timer: NodeJS.Timeout | undefined;
  const sendSign = (turn: number): void => {
    const afterMs = signsAfterMs[turn];
    if (afterMs === undefined || httpVersion !== "1.1") return;
    timer = setTimeout(() => {
      if (raw.headersSent || raw.closed) return;
      raw.writeContinue();
      sendSign(turn + 1);
    }, afterMs);
  };
  const onSideClosed = (): void => {
    if (othersWait()) sendSign(0);
  };
  if (socket.readableEnded) onSideClosed();
  else socket.once("end", onSideClosed);
  raw.once("close", () => {
    clearTimeout(timer);
    socket.off("end", onSideClosed);
    if (!raw.writableFinished) controller.abort(new ServalError("E_CLIENT_GONE", "The client hung up before it had its answer."));
  });
  return controller.signal;
}

/** Whether more is asked than the threads have in hand. */
export function someWait({ slot }: ServeContext): boolean {
  const { depth, workers } = slot.current.pool;
  return depth > workers;
}
