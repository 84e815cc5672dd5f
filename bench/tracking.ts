/**
 * The embedded tracking server against a real `mlflow server` on SQLite, over HTTP and in turn: logging a batch of 100
 * metrics, searching 1,000 runs, and reading a metric's 100,000 points. Then our server alone with 10,000 runs of 100 metrics.
 * Both servers are filled through the same requests and run as separate processes; this process only sends requests.
 *
 *     npm run bench:tracking -- [--seconds N] [--runs N] [--points N] [--many N]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { startMlflowServer } from "../tests/interop/mlflow-server.ts";
import { openTrackingStore } from "../src/tracking/server/store/tracking-store.ts";
import { printReport, summarize, type Samples } from "./report.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    runs: { type: "string", default: "1000" },
    points: { type: "string", default: "100000" },
    many: { type: "string", default: "10000" },
  },
});
const [seconds, runCount, pointCount, many] = [values.seconds, values.runs, values.points, values.many].map(Number) as [
  number,
  number,
  number,
  number,
];
const root = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "serval-bench-tracking-"));

interface Server {
  readonly name: "serval" | "mlflow";
  readonly url: string;
  stop(): Promise<void>;
}

async function startServal(dir: string): Promise<Server> {
  const child = spawn(process.execPath, [join(root, "src/cli/main.ts"), "track", "--port", "0", "--store", dir], {
    stdio: ["ignore", "inherit", "pipe"],
  });
  const lines = createInterface(child.stderr);
  const [line] = (await once(lines, "line")) as [string];
  lines.on("line", () => undefined);
  const url = /^Tracking at (http:\/\/[^,]+),/.exec(line)?.[1];
  if (url === undefined) throw new Error(`serval track said: ${line}`);
  return {
    name: "serval",
    url,
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    },
  };
}

async function call(server: Server, method: "GET" | "POST", path: string, content: Record<string, unknown>): Promise<string> {
  const query = method === "GET" ? `?${new URLSearchParams(content as Record<string, string>).toString()}` : "";
  const init = method === "GET" ? {} : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(content) };
  const response = await fetch(`${server.url}/api/2.0/mlflow/${path}${query}`, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${server.name} answered ${path} with ${response.status}: ${text.slice(0, 300)}`);
  return text;
}

async function createRun(server: Server, i: number): Promise<string> {
  const content = {
    experiment_id: "0",
    run_name: `run-${i}`,
    start_time: 1_700_000_000_000 + i,
    tags: [{ key: "kind", value: i % 2 === 0 ? "even" : "odd" }],
  };
  return (JSON.parse(await call(server, "POST", "runs/create", content)) as { run: { info: { run_id: string } } }).run.info.run_id;
}

/** 1,000 runs with ten metrics and five params each, and one of them with a long history. */
async function fill(server: Server): Promise<string> {
  let first = "";
  for (let i = 0; i < runCount; i++) {
    const run = await createRun(server, i);
    first ||= run;
    const metrics = Array.from({ length: 10 }, (_, m) => ({
      key: `metric_${m}`,
      value: Math.sin(i + m),
      timestamp: 1_700_000_000_000,
      step: 1,
    }));
    const params = Array.from({ length: 5 }, (_, p) => ({ key: `param_${p}`, value: String((i * 7 + p) % 10) }));
    await call(server, "POST", "runs/log-batch", { run_id: run, metrics, params });
  }
  for (let from = 0; from < pointCount; from += 1000) {
    const metrics = Array.from({ length: Math.min(1000, pointCount - from) }, (_, i) => ({
      key: "long",
      value: Math.sin(from + i),
      timestamp: 1_700_000_000_000 + from + i,
      step: from + i,
    }));
    await call(server, "POST", "runs/log-batch", { run_id: first, metrics });
  }
  return first;
}

interface Operation {
  readonly name: string;
  /** Requests under way at the same time. */
  readonly clients: number;
  readonly ask: (server: Server, run: string, i: number) => Promise<unknown>;
}

const search = {
  experiment_ids: ["0"],
  filter: "metrics.metric_3 > 0 AND params.param_1 != '4' AND tags.kind = 'even'",
  order_by: ["metrics.metric_5 DESC"],
  max_results: 100,
};
const logBatch = async (server: Server, run: string, i: number): Promise<unknown> => {
  const metrics = Array.from({ length: 100 }, (_, m) => ({ key: `batch_${m}`, value: i + m, timestamp: 1_700_000_000_000 + i, step: i }));
  return await call(server, "POST", "runs/log-batch", { run_id: run, metrics });
};
const operations: readonly Operation[] = [
  { name: "log-batch, 100 metrics", clients: 1, ask: logBatch },
  { name: "log-batch, 100 metrics, 8 clients", clients: 8, ask: logBatch },
  { name: `search of ${runCount} runs, 100 found`, clients: 1, ask: async (server) => call(server, "POST", "runs/search", search) },
  {
    name: `search of ${runCount} runs, all found`,
    clients: 1,
    ask: async (server) => call(server, "POST", "runs/search", { experiment_ids: ["0"], max_results: runCount }),
  },
  {
    name: `history of ${pointCount} points`,
    clients: 1,
    ask: async (server, run) => call(server, "GET", "metrics/get-history", { run_id: run, metric_key: "long" }),
  },
];

/** Asks for a while; the times of the requests in milliseconds and how many there were in a second. */
async function measure(
  operation: Operation,
  server: Server,
  run: string,
  forSeconds: number,
  counter: { next: number },
): Promise<{ times: number[]; perSecond: number }> {
  const times: number[] = [];
  const startedAt = performance.now();
  const client = async (): Promise<void> => {
    while (performance.now() - startedAt < forSeconds * 1000) {
      const askedAt = performance.now();
      await operation.ask(server, run, counter.next++);
      times.push(performance.now() - askedAt);
    }
  };
  await Promise.all(Array.from({ length: operation.clients }, client));
  return { times, perSecond: times.length / ((performance.now() - startedAt) / 1000) };
}

/** 10,000 runs of 100 metrics, written to the store directly: through the API it would take minutes, and is not what is asked. */
function fillMany(dir: string): void {
  const store = openTrackingStore(join(dir, "mlflow.db"));
  store.db.write(() => {
    for (let i = 0; i < many; i++) {
      const { info } = store.runs.create({ experimentId: "0", userId: "", name: `run-${i}`, startTime: 1_700_000_000_000 + i, tags: [] });
      const metrics = Array.from({ length: 100 }, (_, m) => ({ key: `metric_${m}`, value: Math.sin(i * 31 + m), timestamp: 1, step: 1 }));
      store.runs.logBatch(info.run_id, { metrics, params: [{ key: "lr", value: String(i % 20) }], tags: [] });
    }
  });
  store.close();
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const servers: Server[] = [];
try {
  servers.push(await startServal(join(folder, "serval")));
  servers.push({ name: "mlflow", ...(await startMlflowServer(join(folder, "mlflow"))) });
  const runs = new Map<Server, string>();
  for (const server of servers) {
    const startedAt = performance.now();
    runs.set(server, await fill(server));
    say(`filled ${server.name} in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  }
  const rounds = 3;
  const results = [];
  for (const operation of operations) {
    const found = new Map(servers.map((server) => [server.name, { times: [] as number[], rates: [] as number[] }]));
    const counter = { next: 0 };
    for (const server of servers) await operation.ask(server, runs.get(server) as string, counter.next++);
    for (let round = 0; round < rounds; round++) {
      // The order changes from round to round.
      for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
        const { times, perSecond } = await measure(operation, server, runs.get(server) as string, seconds / rounds, counter);
        found.get(server.name)?.times.push(...times);
        found.get(server.name)?.rates.push(perSecond);
      }
    }
    const of = (name: Server["name"]): { perSecond: number; ms: Samples } => {
      const { times = [], rates = [] } = found.get(name) ?? {};
      return { perSecond: summarize(rates).median, ms: summarize(times) };
    };
    const [serval, mlflow] = [of("serval"), of("mlflow")];
    results.push({ what: operation.name, serval, mlflow, ratio: serval.perSecond / mlflow.perSecond });
    say(`${operation.name}: ${(serval.perSecond / mlflow.perSecond).toFixed(1)} times`);
  }
  await Promise.all(servers.splice(0).map(async (server) => server.stop()));

  fillMany(join(folder, "many"));
  const large = await startServal(join(folder, "many"));
  servers.push(large);
  const manySearches: Record<string, Record<string, unknown>> = {
    "by a metric, 100 found": { filter: "metrics.metric_3 > 0.5", order_by: ["metrics.metric_5 DESC"], max_results: 100 },
    "newest 100": { max_results: 100 },
    "by a param and a metric, 20 found": {
      filter: "params.lr = '3' AND metrics.metric_99 < 0",
      order_by: ["metrics.metric_0"],
      max_results: 20,
    },
    "newest 1,000": { max_results: 1000 },
  };
  const manyResults = [];
  for (const [what, content] of Object.entries(manySearches)) {
    const operation: Operation = {
      name: what,
      clients: 1,
      ask: async (server) => call(server, "POST", "runs/search", { experiment_ids: ["0"], ...content }),
    };
    await operation.ask(large, "", 0);
    const { times } = await measure(operation, large, "", Math.max(1, seconds / 3), { next: 0 });
    manyResults.push({ what, ms: summarize(times) });
  }
  const figure = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(value < 100 ? 1 : 0));
  printReport(
    `Serval against mlflow server (SQLite, one worker), in turn; milliseconds and requests a second`,
    ["request", "serval /s", "p50", "p95", "mlflow /s", "p50", "p95", "ratio"],
    results.map(({ what, serval, mlflow, ratio }) => [
      what,
      ...[serval, mlflow].flatMap(({ perSecond, ms }) => [figure(perSecond), figure(ms.median), figure(ms.p95)]),
      ratio.toFixed(1),
    ]),
    { seconds, runs: runCount, points: pointCount, results },
  );
  printReport(
    `Serval with ${many} runs of 100 metrics each: time of a search in milliseconds`,
    ["search", "p50", "p95", "samples"],
    manyResults.map(({ what, ms }) => [what, figure(ms.median), figure(ms.p95), String(ms.count)]),
    { runs: many, results, many: manyResults },
  );
} finally {
  await Promise.all(servers.map(async (server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
}
