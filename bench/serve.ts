/**
 * Requests per second and latency of the service against FastAPI + uvicorn + PyTorch + PIL, plain and tuned, with the same
 * network and weights, in turn on the same cores as the load generator. Measures the released model and the default
 * network, which is trained for an epoch on the drawn sample: how fast it is does not depend on its weights.
 *
 *     npm run bench:serve -- [--photos ZIP] [--model BUNDLE] [--rounds N] [--seconds S]
 *
 * The peers need bench/peers/requirements.txt. Without --photos or SERVAL_TEST_PHOTOS the pictures are the drawn sample's.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadBundle, type Bundle } from "../src/model/bundle.ts";
import { preprocessImage } from "../src/image/preprocess-image.ts";
import { closedLoop, Connection, formRequest, rawRequest } from "./load.ts";
import { printReport, summarize } from "./report.ts";
import { readImages, startServer, type Server } from "./servers.ts";

const root = join(import.meta.dirname, "..");
const { values } = parseArgs({
  options: {
    photos: { type: "string", default: process.env["SERVAL_TEST_PHOTOS"] ?? "sample" },
    model: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2.5" },
  },
});
const [rounds, durationMs] = [Number(values.rounds), Number(values.seconds) * 1000];
const { native, enlarged } = await readImages(values.photos, 64);
const state = mkdtempSync(join(tmpdir(), "serval-bench-serve-"));
const kinds = ["serval", "plain", "tuned"] as const;
const first = enlarged[0] as Buffer;
const say = (text: string): void => void process.stderr.write(`${(performance.now() / 1000).toFixed(0).padStart(4)} s  ${text}\n`);
try {
  const dirs = values.model === undefined ? [trainDefaultNetwork(), join(root, "models/cats-dogs")] : [values.model];
  for (const dir of dirs) await measure(await loadBundle(dir));
} finally {
  rmSync(state, { recursive: true, force: true });
}

/** A bundle of the network of params.yaml. */
function trainDefaultNetwork(): string {
  const folder = join(state, "default-network");
  mkdirSync(folder);
  for (const verb of ["data import sample", "prepare", "train --set train.epochs=1 model.name=default-network"]) {
    execFileSync(process.execPath, [join(root, "src/cli/main.ts"), ...verb.split(" ")], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
    });
  }
  return join(folder, "artifacts/best");
}

/** The largest difference of one probability between Serval and a peer, on equal pixels and on the pictures themselves. */
async function compare(
  bundle: Bundle,
  servers: readonly Server[],
): Promise<Record<string, { pixels: number; pictures: number; labels: number }>> {
  const { preprocess, name, labels } = bundle.manifest;
  const { width, height } = preprocess.crop ?? preprocess;
  const differences: Record<string, { pixels: number; pictures: number; labels: number }> = {};
  const ask = async (server: Server, request: Buffer): Promise<Record<string, unknown>> => {
    const connection = new Connection(server.port);
    const { body } = await connection.ask(request);
    connection.end();
    return JSON.parse(body) as Record<string, unknown>;
  };
  for (const picture of enlarged.slice(0, 16)) {
    const pixels = await preprocessImage(picture, preprocess, { maxBytes: 1e8, maxPixels: 1e8 });
    const inputs = [{ name: "images", datatype: "UINT8", shape: [1, height, width, 3], data: [...pixels] }];
    const tensor = Buffer.from(JSON.stringify({ inputs, outputs: [{ name: "probabilities" }] }));
    const ours = await ask(servers[0] as Server, rawRequest("POST", `/v2/models/${name}/infer`, "application/json", tensor));
    const expected = (ours["outputs"] as { data: number[] }[])[0]?.data ?? [];
    const answer = await ask(servers[0] as Server, formRequest("/predict", picture));
    const largest = (probabilities: unknown, reference: readonly number[]): number =>
      Math.max(...labels.map((label, k) => Math.abs((probabilities as Record<string, number>)[label]! - reference[k]!)));
    for (const server of servers.slice(1)) {
      const seen = (differences[server.name] ??= { pixels: 0, pictures: 0, labels: 0 });
      const byPixels = await ask(server, rawRequest("POST", "/pixels", "application/octet-stream", pixels));
      const byPicture = await ask(server, formRequest("/predict", picture));
      seen.pixels = Math.max(seen.pixels, largest(byPixels["probabilities"], expected));
      seen.pictures = Math.max(
        seen.pictures,
        largest(byPicture["probabilities"], Object.values(answer["probabilities"] as object) as number[]),
      );
      if (byPicture["label"] === answer["label"]) seen.labels++;
    }
  }
  return differences;
}

/** Seconds that the service spent in each phase so far, by its own metrics. */
async function phases(server: Server): Promise<Record<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
  const sum = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  return {
    preprocess: sum(/inference_duration_seconds_sum\{phase="preprocess"\} (\S+)/),
    queue: sum(/inference_duration_seconds_sum\{phase="queue"\} (\S+)/),
    model: sum(/inference_duration_seconds_sum\{phase="model"\} (\S+)/),
    request: sum(/http_request_duration_seconds_sum\{route="\/predict",method="POST"\} (\S+)/),
  };
}

async function measure(bundle: Bundle): Promise<void> {
  const servers: Server[] = [];
  try {
    await measureServers(bundle, servers);
  } finally {
    for (const server of servers) await server.stop();
  }
}

async function measureServers(bundle: Bundle, servers: Server[]): Promise<void> {
  // Cold starts first, with nothing else running but what was started before.
  const cold: Record<string, number[]> = { serval: [] };
  for (let i = 0; i < 4; i++) {
    const server = await startServer("serval", bundle.dir, state, first);
    cold["serval"]?.push(server.coldStartMs);
    await server.stop();
  }
  for (const kind of kinds) {
    const server = await startServer(kind, bundle.dir, state, first);
    servers.push(server);
    (cold[kind] ??= []).push(server.coldStartMs);
    say(`${kind} started`);
  }
  const differences = await compare(bundle, servers);

  const cases = [
    { images: "500x375", concurrency: 1, requests: enlarged },
    { images: "500x375", concurrency: 8, requests: enlarged },
    { images: "500x375", concurrency: 64, requests: enlarged },
    { images: "native", concurrency: 8, requests: native },
  ].map((item) => ({ ...item, requests: item.requests.map((image) => formRequest("/predict", image)) }));
  const rates = new Map<string, number[]>();
  const latencies = new Map<string, number[]>();
  const cpu = new Map<string, number[]>();
  const shares: Record<string, Record<string, string>> = {};
  const empty: number[] = [];
  for (const server of servers) await closedLoop(server.port, cases[1]!.requests, 8, 500);
  for (let round = 0; round < rounds; round++) {
    for (const { images, concurrency, requests } of cases) {
      for (const server of servers) {
        const key = `${images} ${concurrency} ${server.name}`;
        const before = server.name === "serval" ? await phases(server) : {};
        const cpuBefore = server.cpuMs();
        const load = await closedLoop(server.port, requests, concurrency, durationMs);
        cpu.set(key, [...(cpu.get(key) ?? []), (server.cpuMs() - cpuBefore) / load.latenciesMs.length]);
        const bad = Object.keys(load.statuses).filter((status) => status !== "200");
        if (bad.length > 0) throw new Error(`${key}: got the statuses ${JSON.stringify(load.statuses)}`);
        rates.set(key, [...(rates.get(key) ?? []), load.perSecond]);
        latencies.set(key, [...(latencies.get(key) ?? []), ...load.latenciesMs]);
        say(`round ${round + 1}, ${key}: ${load.perSecond.toFixed(0)}/s`);
        if (server.name !== "serval") continue;
        const after = await phases(server);
        const total = after["request"]! - before["request"]!;
        const spent = Object.entries(after).map(([name, value]) => [name, value - before[name]!] as const);
        const inside = spent.filter(([name]) => name !== "request");
        const rest = total - inside.reduce((sum, [, value]) => sum + value, 0);
        const share = (value: number): string => `${((100 * value) / total).toFixed(0)} %`;
        shares[`${images} at ${concurrency}`] = Object.fromEntries(
          [...inside, ["http", rest] as const].map(([name, value]) => [name, share(value)]),
        );
      }
    }
    empty.push((await closedLoop(servers[0]!.port, [rawRequest("GET", "/health/live")], 8, 1000)).perSecond);
  }

  const rows: string[][] = [];
  const figures: Record<string, unknown> = {};
  for (const { images, concurrency } of cases) {
    const rate = (name: string): number => summarize(rates.get(`${images} ${concurrency} ${name}`) ?? []).median;
    for (const { name } of servers) {
      const times = [...(latencies.get(`${images} ${concurrency} ${name}`) ?? [])].sort((a, b) => a - b);
      const at = (share: number): number => times[Math.max(0, Math.ceil(share * times.length) - 1)] ?? Number.NaN;
      const cpuMs = summarize(cpu.get(`${images} ${concurrency} ${name}`) ?? []).median;
      const ratio = name === "serval" ? 1 : rate("serval") / rate(name);
      rows.push([
        images,
        String(concurrency),
        name,
        rate(name).toFixed(0),
        `${ratio.toFixed(2)}x`,
        at(0.5).toFixed(1),
        at(0.95).toFixed(1),
        at(0.99).toFixed(1),
        cpuMs.toFixed(1),
        String(times.length),
      ]);
      figures[`${images} ${concurrency} ${name}`] = { perSecond: rate(name), servalIs: ratio, p50: at(0.5), p99: at(0.99), cpuMs };
    }
  }
  const meanKb = (images: readonly Buffer[]): string =>
    (images.reduce((sum, { length }) => sum + length, 0) / images.length / 1000).toFixed(1);
  console.log(
    `\nPictures: ${enlarged.length} of ${values.photos === "sample" ? "the drawn sample" : "the zip"}; 500x375: ${meanKb(enlarged)} KB, native: ${meanKb(native)} KB on average`,
  );
  for (const [name, { pixels, pictures, labels }] of Object.entries(differences))
    console.log(
      `Probabilities of ${name}: equal pixels within ${pixels.toExponential(1)}, pictures within ${pictures.toExponential(1)}, ${labels} of 16 labels equal`,
    );
  for (const [name, times] of Object.entries(cold))
    console.log(`Cold start to first answer, ${name}: ${summarize(times).median.toFixed(0)} ms (${times.length} starts)`);
  for (const server of servers) console.log(`Memory after load, ${server.name}: ${server.memoryMb().toFixed(0)} MB`);
  for (const [name, share] of Object.entries(shares)) console.log(`Time of a request, ${name}: ${JSON.stringify(share)}`);
  console.log(`An empty route: ${summarize(empty).median.toFixed(0)} requests/s at 8`);
  const { width, height } = bundle.manifest.preprocess.crop ?? bundle.manifest.preprocess;
  const memory = Object.fromEntries(servers.map((server) => [server.name, server.memoryMb()]));
  printReport(
    `${bundle.manifest.name}, ${width}x${height}: predictions over HTTP; \`ratio\`: requests/s of Serval over it`,
    ["pictures", "clients", "server", "requests/s", "ratio", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "samples"],
    rows,
    {
      figures,
      memory,
      coldStartMs: Object.fromEntries(Object.entries(cold).map(([name, times]) => [name, summarize(times).median])),
      empty: summarize(empty).median,
    },
  );
}
