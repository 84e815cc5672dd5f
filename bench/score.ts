/**
 * Pictures per second of `serval score` against those of the service at 8 clients, in turn on the same cores, with the same model and
 * pictures. The time of a job is that of its whole process, its start included; the service runs already.
 *
 *     npm run bench:score -- [--photos ZIP] [--model BUNDLE] [--rounds N] [--seconds S] [--pictures N]
 *
 * Without --photos or SERVAL_TEST_PHOTOS the pictures are the drawn sample's. Ends with 1 where a job has less than 1.1 times the service's rate.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { closedLoop, formRequest } from "./load.ts";
import { printReport, summarize } from "./report.ts";
import { builtProgram, readImages, startServer } from "./servers.ts";

const least = 1.1;
const clients = 8;
const root = join(import.meta.dirname, "..");
const { values } = parseArgs({
  options: {
    photos: { type: "string", default: process.env["SERVAL_TEST_PHOTOS"] ?? "sample" },
    model: { type: "string", default: join(root, "models/cats-dogs") },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "10" },
    pictures: { type: "string", default: "2000" },
  },
});
const [rounds, durationMs, pictures] = [Number(values.rounds), Number(values.seconds) * 1000, Number(values.pictures)];
const { enlarged } = await readImages(values.photos, 64);
const folder = mkdtempSync(join(tmpdir(), "serval-bench-score-"));
mkdirSync(join(folder, "photos"));
for (const [i, bytes] of enlarged.entries()) writeFileSync(join(folder, "photos", `${i}.jpg`), bytes);
writeFileSync(join(folder, "list.txt"), Array.from({ length: pictures }, (_, i) => `photos/${i % enlarged.length}.jpg\n`).join(""));
const requests = enlarged.map((image) => formRequest("/predict", image));
const program = builtProgram();

/** Pictures per second of one job. */
function scoreOnce(out: string): number {
  const startedAt = performance.now();
  execFileSync(process.execPath, [program, "score", "list.txt", "--out", out, "--model", values.model], {
    cwd: folder,
    env: { ...process.env, MALLOC_ARENA_MAX: "2" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  return (1000 * pictures) / (performance.now() - startedAt);
}

const rates: { readonly score: number[]; readonly service: number[] } = { score: [], service: [] };
const server = await startServer("serval", values.model, join(folder, "state"), enlarged[0] as Buffer);
try {
  await closedLoop(server.port, requests, clients, 1000);
  for (let round = 0; round < rounds; round++) {
    rates.service.push((await closedLoop(server.port, requests, clients, durationMs)).perSecond);
    rates.score.push(scoreOnce(`scores-${round}.jsonl`));
  }
} finally {
  await server.stop();
  rmSync(folder, { recursive: true });
}
const [score, service] = [summarize(rates.score).median, summarize(rates.service).median];
const ratio = score / service;
printReport(
  `${pictures} pictures of 500x375 by ${values.model}: medians of ${rounds} rounds`,
  ["", "pictures/s", "ratio"],
  [
    [`the service at ${clients} clients`, service.toFixed(0), "1.00x"],
    ["serval score", score.toFixed(0), `${ratio.toFixed(2)}x`],
  ],
  { score, service, ratio, rates },
);
process.exitCode = ratio < least ? 1 : 0;
