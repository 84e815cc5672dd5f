import { each, type Answer, type Asked, type Behaviour } from "./behaviour.ts";

/** Two runs with a curve each, and points that came in disorder. */
async function draw(server: Asked): Promise<{ runs: string[] }> {
  const experiment = await server.experiment("curves");
  const runs: string[] = [];
  for (const start of [0, 100]) {
    const run = await server.run(experiment);
    runs.push(run);
    const metrics = Array.from({ length: 10 }, (_, i) => ({
      key: "loss",
      value: start + ((i * 7) % 10),
      timestamp: 50 - i,
      step: (i * 3) % 10,
    }));
    metrics.push({ key: "loss", value: Number.NaN, timestamp: 45, step: 2 });
    const same = Array.from({ length: 5 }, (_, i) => ({ key: "one step", value: i, timestamp: 1, step: 0 }));
    const wire = [...metrics, ...same, ...same].map((point) => ({ ...point, value: Number.isNaN(point.value) ? "NaN" : point.value }));
    await server.post("runs/log-batch", { run_id: run, metrics: wire });
  }
  // Answers are ordered by the ids, which are drawn.
  return { runs: runs.sort() };
}

type Query = Record<string, string | number | readonly string[]>;

/** `RUNS` in a query is both runs, `RUN` the first. */
async function ask(server: Asked, path: string, query: Query): Promise<unknown> {
  const { runs } = await server.shared("curves", draw);
  const filled = Object.entries(query).map(([key, value]): [string, Query[string]] => [
    key,
    value === "RUNS" ? runs : value === "RUN" ? (runs[0] ?? "") : value,
  ]);
  const answer: Answer = await server.get(path, Object.fromEntries(filled));
  const { metrics } = (answer.body ?? {}) as { metrics?: { value: number | string; step?: number; timestamp: number; run_id?: string }[] };
  if (metrics === undefined) return answer;
  // Which of the two has which values is drawn as well.
  const shown = metrics.map(({ value, step, timestamp, run_id: run }) => [
    typeof value === "number" ? value % 100 : value,
    step,
    timestamp,
    run === undefined ? "" : runs.indexOf(run),
  ]);
  return {
    status: answer.status,
    metrics: shown,
    fields: Object.keys(metrics[0] ?? {}).sort(),
    more: "next_page_token" in (answer.body as object),
  };
}

function rows(path: string, queries: readonly Query[], drops: readonly Query[] = []): Behaviour[] {
  return each(path, queries, { drops }, async (server, query) => await ask(server, path, query));
}

const bulk = "/ajax-api/2.0/mlflow/metrics/get-history-bulk";
const interval = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval";
const hundred = Array.from({ length: 101 }, (_, i) => `run${i}`);

export const metricBehaviours: readonly Behaviour[] = [
  ...rows(
    "metrics/get-history",
    [
      { run_id: "RUN", metric_key: "loss" },
      { run_id: "RUN", metric_key: "one step" },
      { run_id: "RUN", metric_key: "nothing" },
      { run_id: "none", metric_key: "loss" },
      { run_id: "RUN" },
      { metric_key: "loss" },
      { run_id: "RUN", metric_key: "" },
      { run_id: "RUN", metric_key: "loss", max_results: 4 },
      { run_id: "RUN", metric_key: "loss", max_results: 0 },
      { run_id: "RUN", metric_key: "loss", max_results: 4, page_token: "bogus" },
    ],
    [{ run_id: "RUN", metric_key: "loss", max_results: "abc" }],
  ),
  ...rows(
    bulk,
    [
      { run_id: "RUNS", metric_key: "loss" },
      { run_id: "RUN", metric_key: "loss" },
      { run_id: "RUN", metric_key: "one step" },
      { run_id: "RUNS", metric_key: "loss", max_results: 3 },
      { run_id: "RUNS", metric_key: "loss", max_results: 13 },
      { run_id: "RUNS", metric_key: "nothing" },
      { run_id: "none", metric_key: "loss" },
      { run_id: hundred, metric_key: "loss" },
      { metric_key: "loss" },
      { run_id: "RUN" },
    ],
    [{ run_id: "RUNS", metric_key: "loss", max_results: 0 }],
  ),
  ...rows(interval, [
    { run_ids: "RUNS", metric_key: "loss" },
    { run_ids: "RUN", metric_key: "one step" },
    { run_ids: "RUNS", metric_key: "loss", max_results: 4 },
    { run_ids: "RUNS", metric_key: "loss", max_results: 3 },
    { run_ids: "RUNS", metric_key: "loss", max_results: 1 },
    { run_ids: "RUNS", metric_key: "one step", max_results: 2 },
    { run_ids: "RUNS", metric_key: "loss", start_step: 2, end_step: 6 },
    { run_ids: "RUNS", metric_key: "loss", start_step: 2, end_step: 6, max_results: 2 },
    { run_ids: "RUNS", metric_key: "loss", start_step: 50, end_step: 60 },
    { run_ids: "RUNS", metric_key: "loss", start_step: 6, end_step: 2 },
    { run_ids: "RUNS", metric_key: "loss", start_step: 2 },
    { run_ids: "RUNS", metric_key: "loss", end_step: 2 },
    { run_ids: "RUNS", metric_key: "loss", start_step: "abc", end_step: 2 },
    { run_ids: "RUNS", metric_key: "loss", max_results: 0 },
    { run_ids: "RUNS", metric_key: "loss", max_results: 2501 },
    { run_ids: "RUNS", metric_key: "loss", max_results: "abc" },
    { run_ids: "RUNS", metric_key: "nothing" },
    { run_ids: "none", metric_key: "loss" },
    { run_ids: hundred, metric_key: "loss" },
    { metric_key: "loss" },
    { run_ids: "RUNS" },
  ]),
  {
    name: "pages of a history: each point once",
    ask: async (server) => {
      const { runs } = await server.shared("curves", draw);
      const pages = [];
      let token: string | undefined = "";
      while (token !== undefined) {
        const query = { run_id: runs[0] ?? "", metric_key: "loss", max_results: 4, page_token: token };
        const page = (await server.get("metrics/get-history", query)).body as { metrics?: { step: number }[]; next_page_token?: string };
        pages.push((page.metrics ?? []).map(({ step }) => step));
        token = page.next_page_token;
      }
      return pages;
    },
  },
];
