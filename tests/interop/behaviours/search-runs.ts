import { because, each, type Asked, type Behaviour } from "./behaviour.ts";

interface Planted {
  readonly name: string;
  readonly start: number;
  readonly end?: number;
  readonly loss?: number | string;
  readonly acc?: number;
  readonly params?: Record<string, string>;
  readonly tags?: Record<string, string>;
  readonly dataset?: { name: string; digest: string; context: string };
}

/** Runs with ties, NaN, infinities and gaps, so that every order has something to decide. */
const field: readonly Planted[] = [
  { name: "a", start: 100, end: 500, loss: 0.5, acc: 1, params: { lr: "0.1", "my param": "x" }, tags: { team: "red", "dotted.key": "1" } },
  { name: "b", start: 200, end: 400, loss: 0.25, acc: 1, params: { lr: "0.01" }, tags: { team: "Red" } },
  { name: "c", start: 200, loss: "NaN", params: { lr: "0.1" }, tags: { team: "blue" } },
  { name: "d", start: 300, loss: "Infinity", acc: -1, dataset: { name: "photos", digest: "d1", context: "train" } },
  { name: "e", start: 300, loss: "-Infinity", tags: { team: "100%" }, dataset: { name: "photos", digest: "d2", context: "eval" } },
  { name: "F_1", start: 400, params: { lr: "10" }, tags: { team: "" } },
  { name: "fx1", start: 50, end: 60, acc: 0 },
];

async function plant(server: Asked): Promise<{ experiment: string; ids: string[] }> {
  const experiment = await server.experiment("field");
  const ids: string[] = [];
  for (const { name, start, end, loss, acc, params = {}, tags = {}, dataset } of field) {
    const run = await server.run(experiment, { run_name: name, start_time: start, user_id: "gardener" });
    ids.push(run);
    const metrics = Object.entries({ loss, acc, "val loss": acc }).filter(([, value]) => value !== undefined);
    await server.post("runs/log-batch", {
      run_id: run,
      metrics: metrics.map(([key, value]) => ({ key, value, timestamp: 1, step: 0 })),
      params: Object.entries(params).map(([key, value]) => ({ key, value })),
      tags: Object.entries(tags).map(([key, value]) => ({ key, value })),
    });
    if (dataset !== undefined) {
      const { context, ...rest } = dataset;
      const tagged = [{ key: "mlflow.data.context", value: context }];
      await server.post("runs/log-inputs", {
        run_id: run,
        datasets: [{ tags: tagged, dataset: { ...rest, source_type: "local", source: "s" } }],
      });
    }
    if (end !== undefined) await server.post("runs/update", { run_id: run, status: "FINISHED", end_time: end });
  }
  await server.post("runs/delete", { run_id: ids.at(-1) });
  return { experiment, ids };
}

/** The names of the runs that a search finds; `RUN` in its filter is the id of the first. */
async function find(server: Asked, search: Record<string, unknown>): Promise<unknown> {
  const { experiment, ids } = await server.shared("field", plant);
  const { filter, ...rest } = search;
  const asked = typeof filter === "string" ? filter.replaceAll("RUN", ids[0] ?? "") : filter;
  const ties = { order_by: ["attributes.run_name"] };
  const answer = await server.post("runs/search", { experiment_ids: [experiment], filter: asked, ...ties, ...rest });
  if (answer.status !== 200) return answer;
  const { runs, next_page_token: token } = answer.body as { runs?: { info: { run_name: string } }[]; next_page_token?: string };
  return { names: (runs ?? []).map(({ info }) => info.run_name), more: token !== undefined };
}

const filters: readonly unknown[] = [
  "",
  "metrics.loss < 0.5",
  "metrics.loss <= 0.5",
  "metrics.loss > 0",
  "metrics.loss >= 0.5",
  "metrics.loss = 0.5",
  "metrics.loss != 0.5",
  "metrics.loss <> 0.5",
  "metrics.loss < -1e300",
  "metrics.loss > 1e300",
  "metrics.loss = 1.7976931348623157e308",
  "metrics.acc = 1.0",
  "metrics.acc = '1'",
  "metrics.acc > -.5",
  "metrics.acc > 1e-1",
  "metric.acc = 1",
  "metrics.`val loss` = 1",
  'metrics."val loss" = 1',
  "metrics.val loss = 1",
  "metrics.nothing > 0",
  "metrics.acc LIKE '1'",
  "metrics.acc IS NULL",
  "metrics.acc IN (1)",
  "metrics.loss = NaN",
  "params.lr = '0.1'",
  'params.lr = "0.1"',
  "params.lr != '0.1'",
  "params.lr = 0.1",
  "params.lr > '0.05'",
  "param.lr = '0.1'",
  "parameters.lr = '0.1'",
  "parameter.lr LIKE '0.%'",
  "params.`my param` = 'x'",
  "params.lr IS NULL",
  "params.lr IS NOT NULL",
  "params.lr IN ('0.1', '10')",
  "tags.team = 'red'",
  "tags.team != 'red'",
  "tags.team LIKE 'r%'",
  "tags.team LIKE 'R%'",
  "tags.team ILIKE 'r%'",
  "tags.team LIKE '%'",
  "tags.team LIKE '100%'",
  "tags.team LIKE '____'",
  "tags.team LIKE ''",
  "tags.team = ''",
  "tag.team = 'blue'",
  "tags.`dotted.key` = '1'",
  "tags.dotted.key = '1'",
  "tags.'team' = 'red'",
  "tags.team IS NULL",
  "tags.team is not null",
  "tags.`mlflow.runName` = 'a'",
  "tags.mlflow.runName = 'a'",
  "attributes.run_name = 'a'",
  "attribute.run_name ILIKE 'f%'",
  "run_name LIKE 'F_1'",
  "run_name LIKE 'f_1'",
  "attr.run_name != 'a'",
  "run.run_name = 'a'",
  "`run name` = 'a'",
  "attributes.`run name` = 'a'",
  "attributes.Run_Name = 'a'",
  "attributes.run_id = 'RUN'",
  "run_id IN ('RUN', 'other')",
  "attributes.run_id NOT IN ('RUN')",
  "attributes.run_id LIKE '%'",
  "attributes.run_id IN ()",
  "attributes.run_id IN ('RUN'",
  "attributes.status = 'FINISHED'",
  "attributes.status != 'FINISHED'",
  "attributes.status = 'finished'",
  "attributes.status LIKE 'RUN%'",
  "attributes.status IN ('RUNNING')",
  "attributes.user_id = 'gardener'",
  "attributes.artifact_uri LIKE '%RUN%'",
  "attributes.experiment_id = '1'",
  "attributes.lifecycle_stage = 'active'",
  "attributes.start_time > 200",
  "attributes.start_time = 200",
  "attributes.start_time = '200'",
  "start_time >= 300 AND end_time IS NULL",
  "attributes.end_time > 0",
  "attributes.end_time < 450",
  "attributes.created = 100",
  "datasets.name = 'photos'",
  "dataset.digest = 'd1'",
  "datasets.context = 'eval'",
  "datasets.name LIKE 'PHO%'",
  "datasets.name ILIKE 'PHO%'",
  "datasets.name != 'photos'",
  "datasets.digest IN ('d1', 'd2')",
  "datasets.bogus = 'a'",
  "datasets.name = 'photos' AND datasets.context = 'train' AND metrics.loss > 0",
  "metrics.loss > 0 and params.lr = '0.1'",
  "metrics.loss > 0 AND",
  "metrics.loss > 0 OR params.lr = '0.1'",
  "NOT metrics.loss > 0",
  "(metrics.loss > 0)",
  "metrics.loss > 0; params.lr = '0.1'",
  "metrics.loss",
  "metrics.loss >",
  "metrics.loss > 'abc'",
  "metrics.loss > acc",
  "0 < metrics.loss",
  "bogus.loss = 1",
  "loss = 1",
  "  metrics.acc  =  1  ",
  "metrics.acc=1",
  "metrics.acc =\n1",
  "params.lr = '0.1' -- comment",
  "params.lr = ''",
  'params.lr = "it\'s"',
  "params.lr = ünï",
  "params.ünï = 'x'",
  "trace.name = 'x'",
  "inputs.name = 'x'",
  123,
  ["a"],
];

const orders: readonly unknown[] = [
  [],
  ["metrics.loss"],
  ["metrics.loss DESC"],
  ["metrics.loss ASC", "attributes.start_time DESC"],
  ["metrics.acc DESC"],
  ["metrics.acc ASC", "metrics.loss DESC"],
  ["metrics.`val loss` desc"],
  ["metrics.nothing"],
  ["params.lr"],
  ["params.lr DESC"],
  ["tags.team"],
  ["tag.team DESC"],
  ["tags.`dotted.key`"],
  ["attributes.start_time"],
  ["start_time DESC"],
  ["attributes.end_time"],
  ["attributes.end_time DESC"],
  ["attributes.`Run Name`"],
  ["attributes.run_name DESC"],
  ["run_name"],
  ["param.lr asc", "attributes.run_name DESC"],
  ["Created DESC"],
  ["attributes.status"],
  ["attributes.user_id", "attributes.start_time"],
  ["attributes.lifecycle_stage"],
  ["attributes.bogus"],
  ["metrics.loss SIDEWAYS"],
  ["metrics.loss DESC ASC"],
  ["metrics.loss DESC, metrics.acc"],
  [""],
  ["loss"],
  ["datasets.name"],
  "metrics.loss",
  [5],
];

const rest: readonly Record<string, unknown>[] = [
  { run_view_type: "DELETED_ONLY" },
  { run_view_type: "ALL" },
  { run_view_type: 2 },
  { max_results: 2 },
  { max_results: 6 },
  { max_results: 0 },
  { max_results: -1 },
  { max_results: 50_000 },
  { max_results: 50_001 },
  { max_results: "2" },
  { max_results: "abc" },
  { page_token: "bogus" },
  { page_token: "" },
  { experiment_ids: [] },
  { experiment_ids: ["987654"] },
  { experiment_ids: ["abc"] },
  { experiment_ids: "1" },
];

export const runSearchBehaviours: readonly Behaviour[] = [
  ...each(
    "runs where",
    filters,
    {
      skips: [
        "AND metrics.loss > 0",
        "metrics.loss > 0 AND AND params.lr = '0.1'",
        "metrics.loss > 0 params.lr = '0.1'",
        "metrics. = 1",
        "params.lr = 'it''s'",
      ],
    },
    async (server, filter) => await find(server, { filter }),
  ),
  ...["params.my-param = 'x'", "params.my/param = 'x'"].map((filter): Behaviour => ({
    name: `runs where ${filter}`,
    ask: async (server) => await find(server, { filter }),
    differs: { why: because.plain, serval: { names: [], more: false } },
  })),
  // The last order decides what the others leave open; without one it would be the id, which is drawn.
  ...each(
    "runs ordered by",
    orders,
    {
      fails: [
        ["metrics.loss", "metrics.loss"],
        ["attributes.start_time", "start_time DESC"],
      ],
    },
    async (server, order) => {
      const named = JSON.stringify(order).includes("run_name");
      return await find(server, { order_by: Array.isArray(order) && !named ? [...(order as unknown[]), "attributes.run_name"] : order });
    },
  ),
  ...each<Record<string, unknown>>(
    "search of runs with",
    rest,
    {
      drops: [
        { run_view_type: "active_only" },
        { run_view_type: "5" },
        { run_view_type: 9 },
        { max_results: 1.5 },
        { page_token: 5 },
        { experiment_ids: [987_654] },
      ],
    },
    find,
  ),
  {
    name: "a search of runs that names no experiment",
    ask: async (server) => await server.post("runs/search", {}),
  },
  {
    name: "pages of runs with ties: each once, in the order of one page",
    ask: async (server) => {
      const { experiment } = await server.shared("field", plant);
      const search = { experiment_ids: [experiment], order_by: ["metrics.loss DESC", "attributes.run_name DESC"], run_view_type: "ALL" };
      const names: string[][] = [];
      let token: string | undefined = "";
      while (token !== undefined) {
        const { body } = await server.post("runs/search", { ...search, max_results: 3, page_token: token });
        const page = body as { runs?: { info: { run_name: string } }[]; next_page_token?: string };
        names.push((page.runs ?? []).map(({ info }) => info.run_name));
        token = page.next_page_token;
      }
      return names;
    },
  },
];
