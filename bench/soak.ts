/**
 * The service under a steady load for ten minutes, or with --swaps N while its model is swapped N times: memory and latency
 * over time as a picture and as figures. Fails when a request was lost.
 *
 *     npm run long:soak -- [--minutes 10] [--swaps 0] [--photos ZIP] [--out .serval/soak]
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { lineChart } from "../src/charts/line-chart.ts";
import { chartSvg } from "../src/charts/svg.ts";
import { renderSvg } from "../src/image/render.ts";
import { closedLoop, formRequest, openLoop } from "./load.ts";
import { printReport, summarize } from "./report.ts";
import { readImages, startServer } from "./servers.ts";

const root = join(import.meta.dirname, "..");
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    swaps: { type: "string", default: "0" },
    photos: { type: "string", default: process.env["SERVAL_TEST_PHOTOS"] ?? "sample" },
    model: { type: "string", default: join(root, "models/cats-dogs") },
    out: { type: "string", default: ".serval/soak" },
  },
});
const [minutes, swaps] = [Number(values.minutes), Number(values.swaps)];
const windowMs = 5000;
const { enlarged } = await readImages(values.photos, 64);
const requests = enlarged.map((image) => formRequest("/predict", image));
const folder = mkdtempSync(join(tmpdir(), "serval-soak-"));
// Two versions of one model: the same answers, another digest.
const [live, other] = [join(folder, "live"), join(folder, "other")];
cpSync(values.model, live, { recursive: true });
cpSync(values.model, other, { recursive: true });
const manifest = readFileSync(join(live, "bundle.json"), "utf8");
const otherManifest = manifest.replace(/"seed": (\d+)/, (_text, seed: string) => `"seed": ${Number(seed) + 1}`);

const server = await startServer("serval", live, join(folder, "state"), enlarged[0] as Buffer, {
  env: { SERVAL_LOG_LEVEL: "error", SERVAL_MODEL_POLL_MS: swaps > 0 ? "20" : "0" },
});
const base = `http://127.0.0.1:${server.port}`;
const versionNow = async (): Promise<string> => ((await (await fetch(`${base}/model`)).json()) as { version: string }).version;

/** Puts the other version into the folder that is served, and waits until it answers. */
async function swap(): Promise<void> {
  const before = await versionNow();
  const next = readFileSync(join(live, "bundle.json"), "utf8") === manifest ? otherManifest : manifest;
  writeFileSync(join(live, "bundle.json"), next);
  while ((await versionNow()) === before) await new Promise((resolve) => setTimeout(resolve, 20));
}

try {
  await closedLoop(server.port, requests, 4, 3000);
  const capacity = (await closedLoop(server.port, requests, 8, 4000)).perSecond;
  const rate = capacity * (swaps > 0 ? 0.2 : 0.6);
  const [memory, p50, p99]: [number, number][][] = [[], [], []];
  const lost: Record<string, number> = {};
  const swapMs: number[] = [];
  let answered = 0;
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  let swapping = swaps > 0;
  const changing = (async () => {
    for (let i = 0; i < swaps; i++) {
      const begun = performance.now();
      await swap();
      swapMs.push(performance.now() - begun);
    }
    swapping = false;
  })();
  while (swaps > 0 ? swapping : seconds() < minutes * 60) {
    const load = await openLoop(server.port, requests, rate, windowMs);
    const sorted = [...load.latenciesMs].sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
    const now = Math.round(seconds());
    memory!.push([now, server.memoryMb()]);
    p50!.push([now, at(0.5)]);
    p99!.push([now, at(0.99)]);
    answered += sorted.length;
    for (const [status, count] of Object.entries(load.statuses)) if (status !== "200") lost[status] = (lost[status] ?? 0) + count;
  }
  await changing;
  mkdirSync(values.out, { recursive: true });
  const name = swaps > 0 ? "swaps" : "soak";
  const xName = "seconds";
  const charts = [
    lineChart({ title: "Resident memory", xName, yName: "MB", series: [{ name: "memory", points: memory!, colour: 0, dashed: false }] }),
    lineChart({
      title: `Latency at ${rate.toFixed(0)} requests/s`,
      xName,
      yName: "ms",
      series: [
        { name: "p50", points: p50!, colour: 1, dashed: false },
        { name: "p99", points: p99!, colour: 2, dashed: false },
      ],
    }),
  ];
  for (const [i, chart] of charts.entries()) {
    const png = await renderSvg(chartSvg(chart), { format: "png", scale: 1.5 });
    writeFileSync(join(values.out, `${name}-${i === 0 ? "memory" : "latency"}.png`), png);
  }
  const half = (points: readonly (readonly [number, number])[], second: boolean): number =>
    summarize(points.slice(second ? points.length / 2 : 0, second ? undefined : points.length / 2).map(([, value]) => value)).median;
  const lostCount = Object.values(lost).reduce((sum, count) => sum + count, 0);
  printReport(
    `${name}: ${seconds().toFixed(0)} s at ${rate.toFixed(0)} requests/s, ${answered} answered, ${lostCount} lost ${JSON.stringify(lost)}; pictures in ${values.out}`,
    ["", "first half", "second half", "last"],
    [
      ["memory MB", half(memory!, false).toFixed(0), half(memory!, true).toFixed(0), (memory!.at(-1)?.[1] ?? 0).toFixed(0)],
      ["p50 ms", half(p50!, false).toFixed(1), half(p50!, true).toFixed(1), (p50!.at(-1)?.[1] ?? 0).toFixed(1)],
      ["p99 ms", half(p99!, false).toFixed(1), half(p99!, true).toFixed(1), (p99!.at(-1)?.[1] ?? 0).toFixed(1)],
    ],
    { answered, lost, swaps: swapMs.length, swapMs: summarize(swapMs), memory, p50, p99 },
  );
  if (lostCount > 0) process.exitCode = 1;
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
