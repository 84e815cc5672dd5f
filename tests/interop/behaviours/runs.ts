import { because, each, type Asked, type Behaviour, type Json } from "./behaviour.ts";

interface Requests {
  readonly path: string;
  readonly bodies: readonly Json[];
  /** Answered with 200 by MLflow, which keeps only a part. */
  readonly drops?: readonly Json[];
  /** Answered with 500 by MLflow. */
  readonly fails?: readonly Json[];
}

/** Each body is asked of one run, and then what the run has. Those that differ go to another run. */
function requests(name: string, { path, bodies, drops = [], fails = [] }: Requests): Behaviour[] {
  const differing = new Set([...drops, ...fails]);
  return [
    ...each(name, bodies, { drops, fails }, async (server, body) => {
      const run = await server.shared(`${name} ${differing.has(body)}`, async (asked) => await asked.newRun());
      return await server.post(path, { run_id: run, ...body });
    }),
    {
      name: `${name}: what the run has then`,
      ask: async (server) => await data(server, await server.shared(`${name} false`, async (asked) => await asked.newRun())),
    },
  ];
}

async function data(server: Asked, run: string): Promise<unknown> {
  const { body } = await server.get("runs/get", { run_id: run });
  const { info, data: values, inputs, outputs } = (body as { run: Record<"info" | "data" | "inputs" | "outputs", Json> }).run;
  // Of the models that a run notes: JSON has many forms.
  for (const tag of (values["tags"] ?? []) as { key: string; value: string }[])
    if (tag.key === "mlflow.log-model.history") tag.value = String((JSON.parse(tag.value) as unknown[]).length);
  return { name: info["run_name"], status: info["status"], end: info["end_time"], ...values, inputs, outputs };
}

const point = { key: "m", value: 1, timestamp: 5, step: 0 };

export const runBehaviours: readonly Behaviour[] = [
  {
    name: "a run with nothing said about it",
    ask: async (server) => {
      const { status, code, body } = await server.post("runs/create", {});
      const info = (body as { run?: { info: Json } } | undefined)?.run?.info;
      return [status, code, info?.["experiment_id"], info?.["status"], info?.["start_time"], info?.["user_id"], typeof info?.["run_name"]];
    },
  },
  {
    name: "a run with everything",
    ask: async (server) =>
      await server.post("runs/create", {
        experiment_id: "0",
        user_id: "me",
        run_name: "named",
        start_time: 1234,
        tags: [{ key: "a", value: "b" }, { key: "mlflow.parentRunId", value: "p" }, { key: "empty" }],
      }),
  },
  ...each<Json>(
    "a new run",
    [
      { experiment_id: 0, run_name: "number" },
      { experiment_id: "987654" },
      { experiment_id: "abc" },
      { experiment_id: "0", start_time: "abc" },
      { experiment_id: "0", run_name: 5 },
      { experiment_id: "0", run_name: "a", tags: [{ key: "mlflow.runName", value: "b" }] },
    ],
    {
      drops: [
        { experiment_id: "0", start_time: 1.5 },
        { experiment_id: "0", tags: [{ value: "a" }] },
        { experiment_id: "0", user_id: 5 },
        { experiment_id: "0", tags: "abc" },
        { experiment_id: "0", tags: { a: "b" } },
        { experiment_id: "0", tags: [{ key: "a", value: 1 }] },
      ],
      fails: [{ experiment_id: "0", start_time: [] }],
    },
    async (server, body) => {
      const { status, code } = await server.post("runs/create", body);
      return { status, ...(code !== undefined && { code }) };
    },
  ),
  {
    name: "numbers as text are numbers",
    ask: async (server) => {
      const run = await server.newRun({ start_time: "1234" });
      const metric = { key: "m", value: "1.5", timestamp: "7", step: "3" };
      return [await server.post("runs/log-metric", { run_id: run, ...metric }), await server.get("runs/get", { run_id: run })];
    },
  },
  {
    name: "a run by the name that its id had first",
    ask: async (server) => {
      const run = await server.newRun();
      const answers = [await server.get("runs/get", { run_uuid: run })];
      for (const [path, body] of [
        ["runs/update", { run_name: "by uuid" }],
        ["runs/log-metric", point],
        ["runs/log-parameter", { key: "p", value: "v" }],
        ["runs/set-tag", { key: "t", value: "v" }],
      ] as const)
        answers.push(await server.post(path, { run_uuid: run, ...body }));
      const list = await server.get("artifacts/list", { run_uuid: run });
      const history = await server.get("metrics/get-history", { run_uuid: run, metric_key: "m" });
      return [answers, list.status, history, await data(server, run)];
    },
  },
  {
    name: "a run that is not there",
    ask: async (server) => {
      const answers = [
        await server.get("runs/get"),
        await server.get("runs/get", { run_id: "" }),
        await server.get("runs/get", { run_id: "none" }),
      ];
      for (const [path, body] of [
        ["runs/update", { status: "FINISHED" }],
        ["runs/log-metric", point],
        ["runs/log-parameter", { key: "p", value: "v" }],
        ["runs/set-tag", { key: "t", value: "v" }],
        ["runs/delete-tag", { key: "t" }],
        ["runs/log-batch", {}],
        ["runs/delete", {}],
        ["runs/restore", {}],
      ] as const) {
        for (const id of ["0123456789abcdef", "", 5, undefined]) {
          const { status, code } = await server.post(path, { run_id: id, ...body });
          answers.push({ status, code: `${path} ${String(id)}: ${code}` });
        }
      }
      return answers;
    },
  },
  ...requests("changes of a run: of its status, end and name", {
    path: "runs/update",
    bodies: [
      { status: "FINISHED", end_time: 99 },
      { status: 4 },
      { status: 9 },
      { end_time: "abc" },
      { run_name: "" },
      { run_name: 5 },
      { run_name: "renamed" },
    ],
    drops: [{ status: "DONE" }, { end_time: 1.5 }],
  }),
  {
    name: "a new name leaves status and end as they are",
    ask: async (server) => {
      const run = await server.newRun();
      await server.post("runs/update", { run_id: run, status: "FAILED", end_time: 77 });
      return await server.post("runs/update", { run_id: run, run_name: "again" });
    },
  },
  {
    name: "a deleted run: it is read, but takes nothing",
    ask: async (server) => {
      const run = await server.newRun();
      const answers = [await server.post("runs/delete", { run_id: run }), await server.post("runs/delete", { run_id: run })];
      for (const [path, body] of [
        ["runs/update", { status: "FINISHED" }],
        ["runs/log-metric", point],
        ["runs/log-parameter", { key: "p", value: "v" }],
        ["runs/set-tag", { key: "t", value: "v" }],
        ["runs/log-batch", { tags: [{ key: "b", value: "v" }] }],
        ["runs/log-batch", {}],
      ] as const)
        answers.push(await server.post(path, { run_id: run, ...body }));
      answers.push(await server.get("runs/get", { run_id: run }));
      answers.push(await server.post("runs/restore", { run_id: run }), await server.post("runs/restore", { run_id: run }));
      return answers;
    },
  },
  ...requests("a metric: what may be left out, and what it may be", {
    path: "runs/log-metric",
    bodies: [
      { value: 1, timestamp: 1 },
      { key: "a", timestamp: 1 },
      { key: "a", value: 1 },
      { key: "a", value: "abc", timestamp: 1 },
      { key: "a", value: null, timestamp: 1 },
      { key: "a", value: 1, timestamp: "abc" },
      { key: "a", value: 1, timestamp: -1 },
      { key: "a", value: 1, timestamp: 1, step: "abc" },
      { key: "b", value: 1, timestamp: 1, step: 2.0 },
      { key: "c", value: 1, timestamp: 1, step: -3 },
      { key: 31, value: 1, timestamp: 1 },
      { key: "", value: 1, timestamp: 1 },
      { key: "d", value: "NaN", timestamp: 1 },
      { key: "e", value: "Infinity", timestamp: 1 },
      { key: "f", value: "-Infinity", timestamp: 1 },
      { key: "g", value: 1e-320, timestamp: 1 },
      { key: "h/i j:k", value: -0.5, timestamp: 0 },
      { key: "../l", value: 1, timestamp: 1 },
      { key: "/l", value: 1, timestamp: 1 },
      { key: "l//m", value: 1, timestamp: 1 },
      { key: "m?", value: 1, timestamp: 1 },
      { key: "ä", value: 1, timestamp: 1 },
      { key: "n".repeat(250), value: 1, timestamp: 1 },
      { key: "n".repeat(251), value: 1, timestamp: 1 },
    ],
    drops: [
      { key: "a", value: true, timestamp: 1 },
      { key: "a", value: 1, timestamp: 1.5 },
      { key: "a", value: 1, timestamp: 1, step: 1.5 },
    ],
    fails: [{ key: "a", value: [], timestamp: 1 }],
  }),
  ...requests("a param: what may be left out, and what it may be", {
    path: "runs/log-parameter",
    bodies: [
      { value: "a" },
      { key: "a" },
      { key: "b", value: "" },
      { key: "c", value: 12 },
      { key: "d", value: null },
      { key: "e", value: ["a"] },
      { key: 31, value: "a" },
      { key: "", value: "a" },
      { key: "../f", value: "a" },
      { key: "g", value: "one" },
      { key: "g", value: "one" },
      { key: "g", value: "two" },
      { key: "h", value: "ünï\n" },
      { key: "i".repeat(251), value: "a" },
    ],
  }),
  ...requests("a tag of a run: what may be left out, and what it may be", {
    path: "runs/set-tag",
    bodies: [
      { value: "a" },
      { key: "a" },
      { key: "b", value: "" },
      { key: "c", value: 12 },
      { key: "d", value: "one" },
      { key: "d", value: "two" },
      { key: 31, value: "a" },
      { key: "", value: "a" },
      { key: "../f", value: "a" },
      { key: "mlflow.runName", value: "named by its tag" },
      { key: "mlflow.runName", value: "" },
    ],
  }),
  {
    name: "long params and tags are cut",
    ask: async (server) => {
      const run = await server.newRun();
      const answers = [];
      for (const length of [6000, 6001])
        answers.push(await server.post("runs/log-parameter", { run_id: run, key: `p${length}`, value: "x".repeat(length) }));
      for (const length of [8000, 8001])
        answers.push(await server.post("runs/set-tag", { run_id: run, key: `t${length}`, value: "x".repeat(length) }));
      const { params = [], tags = [] } = (await data(server, run)) as Record<string, { key: string; value: string }[]>;
      return [
        answers,
        [...params, ...tags].map(({ key, value }) => [key, value.length]).sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
      ];
    },
  },
  ...requests("a tag that is deleted", {
    path: "runs/delete-tag",
    bodies: [{}, { key: "" }, { key: "nothing" }, { key: 5 }, { key: "mlflow.runName" }],
  }),
  ...requests("a batch: what its parts may be", {
    path: "runs/log-batch",
    bodies: [
      {},
      { metrics: [], params: [], tags: [] },
      { metrics: "foo" },
      { metrics: [{ value: 1, timestamp: 1 }] },
      { metrics: [{ key: "a", timestamp: 1 }] },
      { metrics: [{ key: "b", value: null, timestamp: 1 }] },
      { metrics: [{ key: "a", value: 1 }] },
      { metrics: [{ key: "c", value: "NaN", timestamp: 1, step: 1 }] },
      { params: [{ value: "a" }] },
      { params: [{ key: "c" }] },
      {
        params: [
          { key: "e", value: "1" },
          { key: "e", value: "1" },
        ],
      },
      {
        params: [
          { key: "f", value: "1" },
          { key: "f", value: "2" },
        ],
      },
      { params: [{ key: "g", value: "" }] },
      { tags: [{ value: "a" }] },
      { tags: [{ key: "h" }] },
      {
        tags: [
          { key: "i", value: "1" },
          { key: "i", value: "2" },
        ],
      },
      { tags: [{ key: "", value: "2" }] },
      { params: [{ key: "j", value: "1" }], metrics: [{ key: "bad?", value: 1, timestamp: 1 }] },
    ],
    fails: [{ metrics: ["foo"] }, { params: ["foo"] }, { tags: ["foo"] }],
    drops: [
      { metrics: [{ key: "a", value: "abc", timestamp: 1 }] },
      { metrics: [{ key: "a", value: 1, timestamp: "x" }] },
      { metrics: [{ key: "a", value: 1, timestamp: 1.5 }] },
      { params: [{ key: "d", value: 1 }] },
    ],
  }),
  {
    name: "a batch that is too large",
    ask: async (server) => {
      const run = await server.newRun();
      const metrics = (count: number): object[] => Array.from({ length: count }, (_, i) => ({ key: `m${i}`, value: 1, timestamp: 1 }));
      const pairs = (count: number): object[] => Array.from({ length: count }, (_, i) => ({ key: `k${i}`, value: "1" }));
      const answers = [];
      for (const batch of [
        { metrics: metrics(1001) },
        { params: pairs(101) },
        { tags: pairs(101) },
        { metrics: metrics(950), params: pairs(51) },
      ])
        answers.push(await server.post("runs/log-batch", { run_id: run, ...batch }));
      return [answers, await data(server, run)];
    },
  },
  {
    name: "a batch with one bad value keeps nothing of the rest that follows it",
    ask: async (server) => {
      const run = await server.newRun();
      await server.post("runs/log-parameter", { run_id: run, key: "p", value: "1" });
      const batch = { params: [{ key: "p", value: "2" }], metrics: [point], tags: [{ key: "t", value: "1" }] };
      return [await server.post("runs/log-batch", { run_id: run, ...batch }), await data(server, run)];
    },
  },
  {
    name: "the newest value of a metric is that of the largest step, then time, then value",
    ask: async (server) => {
      const run = await server.newRun();
      const metrics = [
        { key: "step", value: 1, timestamp: 9, step: 2 },
        { key: "step", value: 5, timestamp: 10, step: 1 },
        { key: "time", value: 1, timestamp: 10, step: 1 },
        { key: "time", value: 5, timestamp: 9, step: 1 },
        { key: "value", value: 5, timestamp: 9, step: 1 },
        { key: "value", value: 1, timestamp: 9, step: 1 },
        { key: "nan", value: "NaN", timestamp: 9, step: 1 },
        { key: "nan", value: 1, timestamp: 9, step: 0 },
        { key: "tie", value: -1, timestamp: 9, step: 1 },
        { key: "tie", value: "NaN", timestamp: 9, step: 1 },
      ];
      for (const metric of metrics) await server.post("runs/log-metric", { run_id: run, ...metric });
      const one = await data(server, run);
      const other = await server.newRun();
      await server.post("runs/log-batch", { run_id: other, metrics });
      return [one, await data(server, other)];
    },
  },
  ...each(
    "a body",
    [
      [JSON.stringify(JSON.stringify({ experiment_id: "0", run_name: "double" })), "application/json"],
      ["{", "application/json"],
      ["[]", "application/json"],
      ["[1]", "application/json"],
      ['{"experiment_id":"0"}', "text/plain"],
      ['{"experiment_id":"0"}', "application/json; charset=utf-8"],
      ['{"experiment_id":"0"}', "application/x-www-form-urlencoded"],
    ],
    {},
    async (server, [text = "", type]) => {
      const { status, code } = await server.send("POST", "runs/create", text, type);
      return { status, code };
    },
  ),
  {
    name: "a body that is a number",
    ask: async (server) => await server.send("POST", "runs/create", "5"),
    differs: { why: because.fails, serval: { status: 400, code: "BAD_REQUEST" } },
  },
  ...requests("data sets and models of a run", {
    path: "runs/log-inputs",
    bodies: [
      {},
      { datasets: "foo" },
      { datasets: [{ dataset: { name: "n", digest: "d" } }] },
      { datasets: [{ dataset: { name: "n", digest: "d", source_type: "t" } }] },
      { datasets: [{ dataset: { name: "n", digest: "d", source_type: "t", source: "s" } }] },
      {
        datasets: [
          { dataset: { name: "x", digest: "y", source_type: "t", source: "s" }, tags: [{ key: "mlflow.data.context", value: "train" }] },
        ],
      },
      { models: [{ model_id: "m-none" }] },
    ],
    drops: [
      { datasets: ["foo"] },
      { datasets: [{ tags: [] }] },
      { datasets: [{ dataset: { name: "n" } }] },
      { datasets: [{ dataset: { name: "n", digest: "d", source_type: "t", source: "s" }, tags: [{ value: "a" }] }] },
      { models: [{}] },
    ],
  }),
  ...requests("a model that a run notes of itself", {
    path: "runs/log-model",
    bodies: [
      {},
      { model_json: 123 },
      { model_json: "" },
      { model_json: "not json" },
      { model_json: "{}" },
      { model_json: JSON.stringify({ artifact_path: "a", flavors: {}, utc_time_created: "t" }) },
      { model_json: JSON.stringify({ artifact_path: "a", flavors: {}, utc_time_created: "t", run_id: "r" }) },
    ],
    fails: [{ model_json: "[]" }],
  }),
];
