import { connect, type Socket } from "node:net";

export interface Answer {
  readonly status: number;
  /** Since the request was sent, or since it should have been. */
  readonly latencyMs: number;
  readonly body: string;
}

/** A POST with one file as a form, as bytes that go onto the connection. */
export function formRequest(path: string, file: Uint8Array): Buffer {
  const boundary = "----------------serval-bench";
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="image.jpg"\r\nContent-Type: image/jpeg\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(head), file, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return rawRequest("POST", path, `multipart/form-data; boundary=${boundary}`, body);
}

export function rawRequest(method: string, path: string, type?: string, body: Uint8Array = Buffer.alloc(0)): Buffer {
  const headers = type === undefined ? "" : `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n`;
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}\r\n`), body]);
}

/**
 * A kept-alive connection, one request at a time. Written on plain sockets, because the load generator shares the cores with
 * what it measures: a client library costs several times as much.
 */
export class Connection {
  readonly #socket: Socket;
  #received = "";
  #waiting: { readonly resolve: (answer: Answer) => void; readonly reject: (error: Error) => void; readonly since: number } | undefined;
  closed = false;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (chunk: string) => this.#receive(chunk));
    const end = (error?: Error): void => {
      this.closed = true;
      this.#waiting?.reject(error ?? new Error("the connection was closed before the answer"));
      this.#waiting = undefined;
    };
    this.#socket.on("error", end).on("close", () => end());
  }

  async ask(request: Buffer, since: number = performance.now()): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject, since };
      this.#socket.write(request);
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  #receive(chunk: string): void {
    this.#received += chunk;
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.#received.slice(0, headEnd))?.[1] ?? 0);
    if (this.#received.length < headEnd + 4 + length) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    const status = Number(this.#received.slice(9, 12));
    if (/\r\nconnection: close/i.test(this.#received.slice(0, headEnd))) this.closed = true;
    const body = this.#received.slice(headEnd + 4, headEnd + 4 + length);
    this.#received = this.#received.slice(headEnd + 4 + length);
    waiting?.resolve({ status, latencyMs: performance.now() - waiting.since, body });
  }
}

export interface Load {
  /** Answers with 200 a second. */
  readonly perSecond: number;
  /** Of the answers with 200. */
  readonly latenciesMs: readonly number[];
  /** Of the other answers. */
  readonly refusedMs: readonly number[];
  readonly statuses: Readonly<Record<string, number>>;
}

class Tally {
  readonly latenciesMs: number[] = [];
  readonly refusedMs: number[] = [];
  readonly statuses: Record<string, number> = {};

  add(status: number | string, latencyMs: number): void {
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
    (status === 200 ? this.latenciesMs : this.refusedMs).push(latencyMs);
  }

  result(seconds: number): Load {
    const { latenciesMs, refusedMs, statuses } = this;
    return { perSecond: latenciesMs.length / seconds, latenciesMs, refusedMs, statuses };
  }
}

/** Closed loop: `concurrency` clients, each sends its next request when it has its answer. */
export async function closedLoop(port: number, requests: readonly Buffer[], concurrency: number, durationMs: number): Promise<Load> {
  const tally = new Tally();
  const startedAt = performance.now();
  let next = 0;
  const client = async (): Promise<void> => {
    const connection = new Connection(port);
    while (performance.now() - startedAt < durationMs) {
      const { status, latencyMs } = await connection.ask(requests[next++ % requests.length] as Buffer);
      tally.add(status, latencyMs);
    }
    connection.end();
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  return tally.result((performance.now() - startedAt) / 1000);
}

/**
 * Open loop: requests are due at equal distances, whatever becomes of those before; latency counts from when each was due
 * (Tene, "How NOT to Measure Latency", 2015).
 */
export async function openLoop(port: number, requests: readonly Buffer[], perSecond: number, durationMs: number): Promise<Load> {
  const tally = new Tally();
  const idle: Connection[] = [];
  const startedAt = performance.now();
  const pending = new Set<Promise<void>>();
  const send = async (request: Buffer, due: number): Promise<void> => {
    let connection = idle.pop();
    while (connection?.closed) connection = idle.pop();
    connection ??= new Connection(port);
    try {
      const { status, latencyMs } = await connection.ask(request, due);
      tally.add(status, latencyMs);
      if (connection.closed) connection.end();
      else idle.push(connection);
    } catch {
      tally.add("broken", performance.now() - due);
    }
  };
  const total = Math.floor((perSecond * durationMs) / 1000);
  for (let sent = 0; sent < total;) {
    const due = startedAt + (sent * 1000) / perSecond;
    if (due > performance.now()) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      continue;
    }
    const work = send(requests[sent++ % requests.length] as Buffer, due);
    pending.add(work);
    void work.finally(() => pending.delete(work));
  }
  await Promise.all(pending);
  for (const connection of idle) connection.end();
  return tally.result(durationMs / 1000);
}
