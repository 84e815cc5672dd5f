import { once } from "node:events";
import { Worker } from "node:worker_threads";

/** How long the answers to a probe took, in milliseconds. */
export interface Waits {
  readonly n: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const everyMs = 10;

/**
 * Asks `url` (such as http://127.0.0.1:8080/health/live) every 10 ms while `work` runs, on a connection of its own and from
 * a thread of its own, so that work in the test's thread is not counted. An answer that takes long counts once for each
 * request that was due meanwhile. The server must be another process than the test: `startServal`.
 */
export async function probeWhile<Result>(
  url: string,
  work: () => Promise<Result>,
): Promise<{ readonly waits: Waits; readonly result: Result }> {
  const worker = new Worker(new URL("./live-probe-worker.ts", import.meta.url), { workerData: { url, everyMs } });
  try {
    await once(worker, "message");
    const result = await work();
    worker.postMessage("stop");
    const [waitedMs] = (await once(worker, "message")) as [number[]];
    return { waits: summarize(waitedMs), result };
  } finally {
    await worker.terminate();
  }
}

function summarize(waitedMs: readonly number[]): Waits {
  const sorted = waitedMs.toSorted((a, b) => a - b);
  const at = (share: number): number => Number((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(1));
  return { n: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}
