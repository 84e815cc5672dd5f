import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Answered } from "./live-probe-worker.ts";

/** How long the answers to a probe took, in milliseconds. */
export interface Waits {
  readonly n: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Probe {
  /** Without the time in which other programs had the processors: what the server itself made the client wait. */
  readonly waits: Waits;
  /** By the clock. On a machine with nothing else to do it is the same. */
  readonly clock: Waits;
}

const everyMs = 10;

/**
 * Asks `url` (such as http://127.0.0.1:8080/health/live) every 10 ms while `work` runs, on a separate connection and from
 * a separate thread, so that work in the test's thread is not counted. An answer that takes long counts once for each
 * request that was due meanwhile. The server is another process than the test, `pid`: see `startServal`.
 */
export async function probeWhile<Result>(
  { url, pid }: { readonly url: string; readonly pid: number | undefined },
  work: () => Promise<Result>,
): Promise<Probe & { readonly result: Result }> {
  const worker = new Worker(new URL("./live-probe-worker.ts", import.meta.url), { workerData: { url, pid, everyMs } });
  try {
    await once(worker, "message");
    const result = await work();
    worker.postMessage("stop");
    const [answers] = (await once(worker, "message")) as [Answered[]];
    return { waits: summarize(answers.map(({ serverMs }) => serverMs)), clock: summarize(answers.map(({ clockMs }) => clockMs)), result };
  } finally {
    await worker.terminate();
  }
}

function summarize(waitedMs: readonly number[]): Waits {
  const sorted = waitedMs.toSorted((a, b) => a - b);
  const at = (share: number): number => Number((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(1));
  return { n: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** What SECURITY.md promises: nothing that a client sends makes the others wait longer. */
const promisedMs = { p99: 100, max: 250 };

/** The bounds that were not kept; a test expects none. */
export function brokenPromises({ waits }: Probe): string[] {
  return (["p99", "max"] as const).flatMap((bound) =>
    waits[bound] <= promisedMs[bound] ? [] : [`${bound}: ${waits[bound]} ms, promised ${promisedMs[bound]} ms (${waits.n} answers)`],
  );
}
