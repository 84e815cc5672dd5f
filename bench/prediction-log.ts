/**
 * What it costs to store predictions: requests per second of a service that stores them and of one that does not, in turn on
 * the same cores as the load generator.
 *
 *     npm run bench:prediction-log -- [--photos ZIP] [--model BUNDLE] [--rounds N] [--seconds S]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { defaultLimits } from "../src/serve/inference/limits.ts";
import { startService, type Service } from "../src/serve/service.ts";
import { closedLoop, formRequest } from "./load.ts";
import { printReport, summarize } from "./report.ts";
import { readImages } from "./servers.ts";

const { values } = parseArgs({
  options: {
    photos: { type: "string", default: process.env["SERVAL_TEST_PHOTOS"] ?? "sample" },
    model: { type: "string", default: join(import.meta.dirname, "../models/cats-dogs") },
    rounds: { type: "string", default: "7" },
    seconds: { type: "string", default: "2" },
  },
});
const concurrency = 2 * availableParallelism();
const state = mkdtempSync(join(tmpdir(), "serval-bench-log-"));
const start = async (predictionLogFile?: string): Promise<Service> =>
  await startService({ modelDir: values.model, host: "127.0.0.1", port: 0, limits: defaultLimits, predictionLogFile });
const services = { without: await start(), with: await start(join(state, "predictions.db")) };
try {
  const requests = (await readImages(values.photos, 64)).native.map((image) => formRequest("/predict", image));
  const measured: Record<keyof typeof services, number[]> = { without: [], with: [] };
  const ratios: number[] = [];
  for (let round = 0; round <= Number(values.rounds); round++) {
    const order = round % 2 === 0 ? (["without", "with"] as const) : (["with", "without"] as const);
    const now = { without: 0, with: 0 };
    for (const kind of order) {
      now[kind] = (await closedLoop(services[kind].port, requests, concurrency, Number(values.seconds) * 1000)).perSecond;
    }
    // The first one warms up.
    if (round === 0) continue;
    measured.without.push(now.without);
    measured.with.push(now.with);
    ratios.push(now.with / now.without);
  }
  const row = (name: string, samples: readonly number[]): string[] => [name, summarize(samples).median.toFixed(1)];
  const ratio = summarize(ratios).median;
  printReport(
    `Requests a second with ${concurrency} clients, medians of ${values.rounds} rounds`,
    ["", "per second"],
    [row("predictions are not stored", measured.without), row("predictions are stored", measured.with), ["ratio", ratio.toFixed(3)]],
    { ...measured, ratio },
  );
} finally {
  await Promise.all(Object.values(services).map(async (service) => await service.close()));
  rmSync(state, { recursive: true, force: true });
}
