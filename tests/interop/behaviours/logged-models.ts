import { because, each, type Answer, type Asked, type Behaviour, type Json } from "./behaviour.ts";

/** Logged models with params, tags and metrics on two data sets, for searches. */
async function gallery(server: Asked): Promise<{ experiment: string; run: string }> {
  const experiment = await server.experiment("gallery");
  const run = await server.run(experiment);
  for (const [name, type, depth, scores] of [
    ["oak", "tree", "3", [0.5, 0.9]],
    ["elm", "tree", "10", [0.7]],
    ["rock", "stone", "", []],
  ] as const) {
    const params = depth === "" ? [] : [{ key: "depth", value: depth }];
    const tags = [{ key: "kind", value: type }];
    const id = idOf(
      await server.post("logged-models", { experiment_id: experiment, name, model_type: type, source_run_id: run, params, tags }),
    );
    for (const [i, value] of scores.entries()) {
      const dataset = { dataset_name: `set${i}`, dataset_digest: `d${i}` };
      await server.post("runs/log-metric", { run_id: run, key: "score", value, timestamp: 1, step: i, model_id: id, ...dataset });
    }
  }
  return { experiment, run };
}

function idOf(answer: Answer): string {
  return (answer.body as { model: { info: { model_id: string } } }).model.info.model_id;
}

const searches: readonly Json[] = [
  {},
  { filter: "name = 'oak'" },
  { filter: "name LIKE '%k'" },
  { filter: "name ILIKE 'O%'" },
  { filter: "name IN ('oak', 'elm')" },
  { filter: "name NOT IN ('oak')" },
  { filter: "name != 'oak'" },
  { filter: "attributes.name = 'oak'" },
  { filter: "model_type = 'tree'" },
  { filter: "status = 'PENDING'" },
  { filter: "status = 'READY'" },
  { filter: "status = 'LOGGED_MODEL_PENDING'" },
  { filter: "source_run_id = 'none'" },
  { filter: "params.depth = '3'" },
  { filter: "params.depth LIKE '1%'" },
  { filter: "params.depth > '2'" },
  { filter: "tags.kind = 'stone'" },
  { filter: "tags.kind != 'stone'" },
  { filter: "metrics.score > 0.6" },
  { filter: "metrics.score > 0.6 AND metrics.score < 0.8" },
  { filter: "metrics.score > 0.6", datasets: [{ dataset_name: "set1", dataset_digest: "d1" }] },
  { filter: "metrics.score > 0.6", datasets: [{ dataset_name: "set1", dataset_digest: "other" }] },
  { filter: "metrics.score > 0.6", datasets: [{ dataset_digest: "d1" }] },
  { filter: "metrics.score > 0.6", datasets: [{}] },
  { filter: "creation_timestamp > 0" },
  { filter: "creation_timestamp < 0" },
  { filter: "name > 'a'" },
  { filter: "name = 'a' OR name = 'b'" },
  { filter: "nonsense" },
  { filter: 5 },
  { order_by: [{ field_name: "name" }] },
  { order_by: [{ field_name: "name", ascending: false }] },
  { order_by: [{ field_name: "metrics.score", ascending: false }] },
  { order_by: [{ field_name: "metrics.score", dataset_name: "set0", ascending: false }] },
  { order_by: [{ field_name: "metrics.score", dataset_digest: "d0" }] },
  { order_by: [{ field_name: "params.depth" }] },
  { order_by: [{ field_name: "bogus" }] },
  { order_by: [{}] },
  { order_by: ["name"] },
  { max_results: 2 },
  { max_results: 0 },
  { max_results: "abc" },
  { experiment_ids: [] },
  { experiment_ids: ["987654"] },
  { experiment_ids: "0" },
];

async function find(server: Asked, search: Json): Promise<unknown> {
  const { experiment } = await server.shared("gallery", gallery);
  const order = [{ field_name: "name", ascending: true }];
  const answer = await server.post("logged-models/search", { experiment_ids: [experiment], order_by: order, ...search });
  if (answer.status !== 200) return answer;
  const { models, next_page_token: token } = answer.body as { models?: { info: { name: string } }[]; next_page_token?: string };
  return [(models ?? []).map(({ info }) => info.name), token !== undefined];
}

export const loggedModelBehaviours: readonly Behaviour[] = [
  ...each("logged models by", searches, { fails: [{ filter: "bogus = 'a'" }, { page_token: "bogus" }] }, find),
  {
    name: "logged models by a metric on a data set without its digest",
    ask: async (server) => await find(server, { filter: "metrics.score > 0.6", datasets: [{ dataset_name: "set0" }] }),
    differs: { why: because.digest, serval: [["elm"], false] },
  },
  ...each<Json>(
    "a new logged model",
    [
      {},
      { name: "a", experiment_id: "" },
      { name: "a/b" },
      { name: "a.b" },
      { name: 5 },
      { experiment_id: "987654", name: "a" },
      { name: "a", params: "x" },
      { name: "a", model_type: 5 },
      { name: "full", model_type: "t", source_run_id: "r", params: [{ key: "p", value: "1" }], tags: [{ key: "t", value: "1" }] },
    ],
    {
      drops: [
        { name: "a", params: [{ value: "x" }] },
        { name: "a", tags: [{ value: "x" }] },
      ],
    },
    async (server, body) => {
      const experiment = await server.shared("new logged models", async (asked) => await asked.experiment());
      const answer = await server.post("logged-models", { experiment_id: experiment, ...body });
      // A name is drawn where there is none.
      return "name" in body ? answer : answer.status;
    },
  ),
  {
    name: "the life of a logged model",
    ask: async (server) => {
      const experiment = await server.experiment();
      const id = idOf(await server.post("logged-models", { experiment_id: experiment, name: "net" }));
      const path = `logged-models/${id}`;
      const answers: unknown[] = [await server.get(path), await server.get("logged-models/m-none")];
      for (const tags of [[{ key: "a", value: "b" }], [{ key: "a" }], "x"])
        answers.push(await server.patch(`${path}/tags`, { model_id: id, tags }));
      for (const params of [[{ key: "a", value: "b" }], [{ key: "b" }], "x"])
        answers.push(await server.post(`${path}/params`, { model_id: id, params }));
      for (const key of ["a", "a", "nothing"]) answers.push(await server.send("DELETE", `/api/2.0/mlflow/${path}/tags/${key}`));
      for (const status of ["LOGGED_MODEL_READY", 3]) answers.push(await server.patch(path, { model_id: id, status }));
      answers.push(
        await server.get(path),
        await server.get(`${path}/artifacts/directories`),
        await server.get(`${path}/artifacts/directories`, { artifact_directory_path: "../x" }),
      );
      answers.push(
        await server.send("DELETE", `/api/2.0/mlflow/${path}`),
        await server.get(path),
        await server.get(path, { allow_deleted: "true" }),
      );
      answers.push(
        await server.send("DELETE", `/api/2.0/mlflow/${path}`),
        await server.patch(path, { model_id: id, status: "LOGGED_MODEL_READY" }),
      );
      return answers;
    },
  },
  ...each<Json>(
    "a logged model's status",
    [{ status: 2 }, { status: "" }],
    { drops: [{ status: "READY" }, { status: 9 }] },
    async (server, body) => {
      const id = await server.shared("a model for its status", async (asked) =>
        idOf(await asked.post("logged-models", { experiment_id: await asked.experiment(), name: "zz" })),
      );
      return await server.patch(`logged-models/${id}`, { model_id: id, ...body });
    },
  ),
  {
    name: "outputs of a run",
    ask: async (server) => {
      const experiment = await server.experiment();
      const run = await server.run(experiment);
      const id = idOf(await server.post("logged-models", { experiment_id: experiment, name: "net" }));
      const answers = [];
      for (const body of [{ models: [{ model_id: id, step: 3 }] }, { models: "x" }, { models: [] }, {}])
        answers.push(await server.post("runs/outputs", { run_id: run, ...body }));
      return [answers, (await server.get("runs/get", { run_id: run })).body];
    },
  },
];
