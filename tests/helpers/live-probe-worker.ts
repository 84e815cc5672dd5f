import { readFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { parentPort, workerData } from "node:worker_threads";

/** What an answer took: by the clock, and without the time that the server's main thread and this one waited for a processor. */
export interface Answered {
  readonly clockMs: number;
  readonly serverMs: number;
}

/** Asks the address until it is told to stop, then sends how long each answer took. */
const { url, pid, everyMs } = workerData as { readonly url: string; readonly pid: number; readonly everyMs: number };
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
let stopped = false;

async function ask(): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const request = get(url, { agent }, (response) => {
    if (response.statusCode !== 200) reject(new Error(`${url} answered ${response.statusCode}.`));
    response.resume().once("end", resolve).once("error", reject);
  });
  request.once("error", reject);
  return await promise;
}

/** How long the two threads could have run but other programs did: the second number, in nanoseconds. Linux only. */
function waitedForProcessorMs(): number {
  if (process.platform !== "linux") return 0;
  return ["/proc/thread-self/schedstat", `/proc/${pid}/task/${pid}/schedstat`].reduce(
    (sum, path) => sum + Number(readFileSync(path, "utf8").split(" ")[1]) / 1e6,
    0,
  );
}

async function probe(): Promise<Answered[]> {
  const answers: Answered[] = [];
  let next = performance.now();
  for (;;) {
    const waitedBefore = waitedForProcessorMs();
    const sentAt = performance.now();
    await ask();
    const answeredAt = performance.now();
    const othersMs = waitedForProcessorMs() - waitedBefore;
    const add = (clockMs: number): void => void answers.push({ clockMs, serverMs: Math.max(0, clockMs - othersMs) });
    add(answeredAt - sentAt);
    // Requests that were due while this one waited would have waited too, each a little less.
    for (next += everyMs; next < answeredAt; next += everyMs) if (next > sentAt) add(answeredAt - next);
    if (stopped) return answers;
    await new Promise((resolve) => setTimeout(resolve, next - performance.now()));
  }
}

parentPort?.once("message", () => (stopped = true));
// The first request opens the connection.
await ask();
parentPort?.postMessage("started");
parentPort?.postMessage(await probe());
agent.destroy();
