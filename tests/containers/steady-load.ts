import { Connection } from "../../bench/load.ts";

export interface LoadResult {
  readonly sent: number;
  /** With 200. */
  readonly answered: number;
  /** Refused by the service itself, because more came than this machine can answer: not lost, and no matter of a deploy. */
  readonly busy: number;
  /** Of the others: status and error code (`proxy` where the service did not answer itself), or `broken` for a connection that ended without an answer -> how often. */
  readonly failed: Readonly<Record<string, number>>;
  readonly slowestMs: number;
}

export interface SteadyLoad {
  /** Stops sending, waits for what is under way, and says how it went since the start or the last call. */
  stop(): Promise<LoadResult>;
}

const everyMs = 50;

/** Sends a request every 50 ms, whatever becomes of those before, over connections that are kept, as a client's pool does. */
export function startLoad(port: number, request: Buffer): SteadyLoad {
  const idle: Connection[] = [];
  const pending = new Set<Promise<void>>();
  const failed: Record<string, number> = {};
  let [sent, answered, busy, slowestMs] = [0, 0, 0, 0];
  const fail = (how: string): void => void (failed[how] = (failed[how] ?? 0) + 1);
  const ask = async (): Promise<void> => {
    let connection = idle.pop();
    while (connection?.closed) connection = idle.pop();
    connection ??= new Connection(port);
    try {
      const { status, latencyMs, body } = await connection.ask(request);
      slowestMs = Math.max(slowestMs, latencyMs);
      if (status === 200) answered++;
      else if (status === 503 && body.includes('"code":"E_QUEUE_FULL"')) busy++;
      else fail(`${status} ${/"code":"(\w+)"/.exec(body)?.[1] ?? "proxy"}`);
      if (connection.closed) connection.end();
      else idle.push(connection);
    } catch {
      fail("broken");
    }
  };
  const timer = setInterval(() => {
    sent++;
    const asking = ask();
    pending.add(asking);
    void asking.finally(() => pending.delete(asking));
  }, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
      for (const connection of idle) connection.end();
      return { sent, answered, busy, failed, slowestMs: Math.round(slowestMs) };
    },
  };
}
