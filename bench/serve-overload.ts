/**
 * What five times too much does to the service: server on one core, generator on the other, requests due at equal distances
 * whatever becomes of those before, latency from when each was due. Linux with `taskset`.
 *
 *     taskset -c 1 npm run bench:overload -- [--photos ZIP] [--seconds 60] [--times 5]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { closedLoop, formRequest, openLoop, type Load } from "./load.ts";
import { printReport } from "./report.ts";
import { readImages, startServer } from "./servers.ts";

const root = join(import.meta.dirname, "..");
const { values } = parseArgs({
  options: {
    photos: { type: "string", default: process.env["SERVAL_TEST_PHOTOS"] ?? "sample" },
    model: { type: "string", default: join(root, "models/cats-dogs") },
    seconds: { type: "string", default: "60" },
    times: { type: "string", default: "5" },
  },
});
const [seconds, times] = [Number(values.seconds), Number(values.times)];
const { enlarged } = await readImages(values.photos, 64);
const requests = enlarged.map((image) => formRequest("/predict", image));
const state = mkdtempSync(join(tmpdir(), "serval-bench-overload-"));
const server = await startServer("serval", values.model, state, enlarged[0] as Buffer, {
  prefix: ["taskset", "-c", "0"],
  env: { SERVAL_LOG_LEVEL: "error" },
});
try {
  await closedLoop(server.port, requests, 4, 2000);
  // What it answers when it always has something to do, and never too much.
  const capacity = (await closedLoop(server.port, requests, 8, 5000)).perSecond;
  const memory: number[] = [server.memoryMb()];
  const rows: string[][] = [];
  const figures: Record<string, object> = {};
  const at = (values: readonly number[], share: number): number => {
    const sorted = [...values].sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  };
  const measure = async (name: string, perSecond: number, durationMs: number): Promise<Load> => {
    const load = await openLoop(server.port, requests, perSecond, durationMs);
    memory.push(server.memoryMb());
    const figure = {
      sentPerSecond: perSecond,
      answeredPerSecond: load.perSecond,
      p50: at(load.latenciesMs, 0.5),
      p99: at(load.latenciesMs, 0.99),
      refusedP50: at(load.refusedMs, 0.5),
      refusedP99: at(load.refusedMs, 0.99),
      refusedMost: Math.max(...load.refusedMs),
      statuses: load.statuses,
      memoryMb: memory.at(-1),
    };
    figures[name] = figure;
    const cells = [
      perSecond,
      load.perSecond,
      figure.p50,
      figure.p99,
      load.refusedMs.length,
      figure.refusedP50,
      figure.refusedP99,
      figure.refusedMost,
    ];
    rows.push([name, ...cells.map((value) => (Number.isFinite(value) ? value.toFixed(0) : "-")), (memory.at(-1) ?? 0).toFixed(0)]);
    return load;
  };
  await measure("at capacity", capacity, (seconds / 2) * 1000);
  await measure(`${times}x`, times * capacity, seconds * 1000);
  await measure("half, at once after", capacity / 2, 5000);
  const statuses = Object.values(figures).map((figure) => JSON.stringify((figure as { statuses: object }).statuses));
  console.log(`Statuses: ${statuses.join(", ")}`);
  printReport(
    `Overload; capacity ${capacity.toFixed(0)} requests/s on one core`,
    ["load", "sent/s", "answered/s", "p50 ms", "p99 ms", "refused", "p50 ms", "p99 ms", "most ms", "MB"],
    rows,
    { capacity, figures },
  );
} finally {
  await server.stop();
  rmSync(state, { recursive: true, force: true });
}
