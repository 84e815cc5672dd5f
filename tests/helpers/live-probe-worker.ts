import { Agent, get } from "node:http";
import { parentPort, workerData } from "node:worker_threads";

/** Asks the address it was given until it is told to stop, then sends how long each answer took, in milliseconds. */
const { url, everyMs } = workerData as { readonly url: string; readonly everyMs: number };
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const waitedMs: number[] = [];
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

async function probe(): Promise<void> {
  // The first request opens the connection.
  await ask();
  parentPort?.postMessage("started");
  let next = performance.now();
  for (;;) {
    const sentAt = performance.now();
    await ask();
    const answeredAt = performance.now();
    waitedMs.push(answeredAt - sentAt);
    // Requests that were due while this one waited would have waited too, each a little less.
    for (next += everyMs; next < answeredAt; next += everyMs) if (next > sentAt) waitedMs.push(answeredAt - next);
    if (stopped) break;
    await new Promise((resolve) => setTimeout(resolve, next - performance.now()));
  }
}

parentPort?.once("message", () => (stopped = true));
await probe();
agent.destroy();
parentPort?.postMessage(waitedMs);
