import { because, each, refused, type Asked, type Behaviour } from "./behaviour.ts";

const create = "experiments/create";

/** Three experiments with tags, one of them deleted, for searches. */
async function shelf(server: Asked): Promise<string[]> {
  const ids: string[] = [];
  for (const [name, team] of [
    ["shelf Alpha", "red"],
    ["shelf beta", "blue"],
    ["shelf_gamma", "red"],
  ] as const) {
    ids.push(await server.experiment(name, { tags: [{ key: "team", value: team }] }));
  }
  await server.post("experiments/delete", { experiment_id: ids[2] });
  return ids;
}

/** The names that a search finds. */
async function find(server: Asked, search: Record<string, unknown>): Promise<unknown> {
  await server.shared("shelf", shelf);
  const { filter = "name ILIKE 'shelf%'", ...rest } = search;
  const answer = await server.post("experiments/search", { max_results: 10, filter, ...rest });
  const { experiments, next_page_token: token } = (answer.body ?? {}) as { experiments?: { name: string }[]; next_page_token?: string };
  return answer.status === 200 ? { names: (experiments ?? []).map(({ name }) => name), more: token !== undefined } : answer;
}

const searches: readonly Record<string, unknown>[] = [
  { filter: "name = 'shelf beta'" },
  { filter: "name != 'shelf beta' AND name LIKE 'shelf%'" },
  { filter: "name LIKE 'Shelf%'" },
  { filter: "name ILIKE 'SHELF%'" },
  { filter: "name LIKE 'shelf_gamma'" },
  { filter: "tags.team = 'red'" },
  { filter: "tags.team != 'red'" },
  { filter: "tags.team ILIKE 'R%' AND name LIKE '%Alpha'" },
  { filter: "tags.nothing IS NULL AND name LIKE 'shelf%'" },
  { filter: "tags.team IS NOT NULL" },
  { filter: "tags.team IN ('red')" },
  { filter: "attribute.name = 'shelf beta'" },
  { filter: "attributes.name = 'shelf beta'" },
  { filter: "name = shelf" },
  { filter: 'name = "shelf beta"' },
  { filter: "name > 'a'" },
  { filter: "creation_time > 0 AND name LIKE 'shelf%'" },
  { filter: "creation_time > 'x'" },
  { filter: "lifecycle_stage = 'active'" },
  { filter: "name = 'a' OR name = 'b'" },
  { filter: "name = 'a" },
  { filter: "nonsense" },
  { filter: 123 },
  { view_type: "DELETED_ONLY" },
  { view_type: "ALL", order_by: ["name DESC"] },
  { view_type: 3, order_by: ["name"] },
  { order_by: ["name"] },
  { order_by: ["name ASC", "creation_time DESC"] },
  { order_by: ["experiment_id DESC"] },
  { order_by: ["tags.team"] },
  { order_by: ["bogus"] },
  { order_by: ["name UP"] },
  { order_by: ["name", "name"] },
  { order_by: "name" },
  { max_results: 1 },
  { max_results: 0 },
  { max_results: -1 },
  { max_results: 50_001 },
  { max_results: "1" },
  { max_results: "many" },
  { max_results: 1.5 },
  { page_token: "bogus" },
];

const creations: readonly (readonly [name: string, body: Record<string, unknown>])[] = [
  ["no name", {}],
  ["an empty name", { name: "" }],
  ["a number as its name", { name: 123 }],
  ["a list as its name", { name: ["a"] }],
  ["a number as its location", { name: "refused", artifact_location: 1 }],
  ["a number for its tags", { name: "refused", tags: 5 }],
  ["a text in its tags", { name: "refused", tags: ["a"] }],
  ["a tag without a key", { name: "refused", tags: [{ value: "a" }] }],
  ["a name of 500 characters", { name: "n".repeat(500) }],
  ["a name of 501 characters", { name: "n".repeat(501) }],
  ["a field that is not known", { name: "unknown field", colour: "red" }],
  ["a location on S3", { name: "on s3", artifact_location: "s3://bucket/folder" }],
  ["a location with a fragment", { name: "refused", artifact_location: "s3://bucket/a#b" }],
  ["a location with a query", { name: "with query", artifact_location: "s3://bucket/a?endpoint=b" }],
  ["a location with a query that climbs", { name: "refused", artifact_location: "s3://bucket/a?b=../c" }],
];

export const experimentBehaviours: readonly Behaviour[] = [
  ...creations.map(([name, body]): Behaviour => ({
    name: `an experiment with ${name}`,
    ask: async (server) => {
      const answer = await server.post(create, body);
      if (answer.status !== 200) return answer;
      const read = await server.get("experiments/get-by-name", { experiment_name: String(body["name"]) });
      const { experiment_id: _, ...rest } = (read.body as { experiment: Record<string, unknown> }).experiment;
      return String(rest["artifact_location"]).startsWith("mlflow-artifacts:") ? { ...rest, artifact_location: "here" } : rest;
    },
  })),
  {
    name: "an experiment with a location that climbs",
    ask: async (server) => {
      const { status, code } = await server.post(create, { name: "climbs", artifact_location: "s3://bucket/../other" });
      return { status, code };
    },
    differs: { why: because.climbs, serval: refused },
  },
  {
    name: "the default experiment",
    ask: async (server) => [
      await server.get("experiments/get", { experiment_id: 0 }),
      await server.get("experiments/get", { experiment_id: "" }),
    ],
  },
  {
    name: "an experiment that is not there",
    ask: async (server) => [
      await server.get("experiments/get", { experiment_id: 987_654 }),
      await server.get("experiments/get", { experiment_id: "abc" }),
      await server.get("experiments/get"),
      await server.get("experiments/get-by-name", { experiment_name: "nothing" }),
      await server.get("experiments/get-by-name", { experiment_name: "" }),
      await server.get("experiments/get-by-name"),
    ],
  },
  {
    name: "a name that is taken, also by a deleted experiment",
    ask: async (server) => {
      const name = server.newName("taken");
      const id = await server.experiment(name);
      const twice = await server.post(create, { name });
      await server.post("experiments/delete", { experiment_id: id });
      return [twice, await server.post(create, { name })];
    },
  },
  {
    name: "renaming: to nothing, to a number, to its own name",
    ask: async (server) => {
      const name = server.newName("name");
      const id = await server.experiment(name);
      const answers = [];
      for (const to of ["", 12, name, server.newName("name")])
        answers.push(await server.post("experiments/update", { experiment_id: id, new_name: to }));
      return [...answers, await server.post("experiments/update", { experiment_id: id }), await server.post("experiments/update", {})];
    },
  },
  {
    name: "renaming to a name that is taken",
    ask: async (server) => {
      const name = server.newName("name");
      await server.experiment(name);
      return await server.post("experiments/update", { experiment_id: await server.experiment(), new_name: name });
    },
    differs: { why: because.code, serval: { status: 400, code: "RESOURCE_ALREADY_EXISTS" } },
  },
  {
    name: "deleting and restoring, each twice, and what is not there",
    ask: async (server) => {
      const id = await server.experiment();
      const answers = [];
      for (const verb of ["delete", "delete", "restore", "restore"])
        answers.push(await server.post(`experiments/${verb}`, { experiment_id: id }));
      for (const verb of ["delete", "restore"])
        answers.push(
          await server.post(`experiments/${verb}`, { experiment_id: "987654" }),
          await server.post(`experiments/${verb}`, {}),
          await server.post(`experiments/${verb}`, { experiment_id: 12 }),
        );
      return answers;
    },
  },
  {
    name: "tags of an experiment: empty, without a key or a value, of a wrong type, too long, of no experiment",
    ask: async (server) => {
      const id = await server.experiment();
      const answers = [];
      for (const tag of [
        { key: "a", value: "" },
        { key: "b" },
        { value: "c" },
        { key: "", value: "c" },
        { key: 1, value: "c" },
        { key: "d", value: 1 },
        { key: "e", value: "x".repeat(20_000) },
        { key: "f", value: "x".repeat(20_001) },
        { key: "g h/i.j-k_l:m", value: "x" },
        { key: "../n", value: "x" },
        { key: "o".repeat(251), value: "x" },
        { key: "p?", value: "x" },
      ])
        answers.push(await server.post("experiments/set-experiment-tag", { experiment_id: id, ...tag }));
      answers.push(await server.post("experiments/set-experiment-tag", { experiment_id: "987654", key: "a", value: "b" }));
      for (const key of ["a", "a", "nothing", ""])
        answers.push(await server.post("experiments/delete-experiment-tag", { experiment_id: id, key }));
      const { body } = await server.get("experiments/get", { experiment_id: id });
      const { tags } = (body as { experiment: { tags: { key: string; value: string }[] } }).experiment;
      return [answers, tags.map(({ key, value }) => ({ key, length: value.length }))];
    },
  },
  ...each("search of experiments", searches, { drops: [{ view_type: "NONE" }, { view_type: 7 }] }, find),
  {
    name: "pages of experiments: each once, and none after the last",
    ask: async (server) => {
      await server.shared("shelf", shelf);
      const names: string[] = [];
      let token: string | undefined = "";
      while (token !== undefined) {
        const search = { max_results: 1, filter: "name ILIKE 'shelf%'", view_type: "ALL", page_token: token };
        const { body } = await server.post("experiments/search", search);
        const page = body as { experiments?: { name: string }[]; next_page_token?: string };
        names.push(...(page.experiments ?? []).map(({ name }) => name));
        token = page.next_page_token;
      }
      return names;
    },
  },
  {
    name: "search of experiments by GET",
    ask: async (server) => {
      await server.shared("shelf", shelf);
      const answers = [];
      for (const query of [{ max_results: 2, filter: "name LIKE 'shelf%'" }, { max_results: "x" }, { max_results: 0 }, {}]) {
        const { status, body, code } = await server.get("experiments/search", query);
        const names = ((body as { experiments?: { name: string }[] } | undefined)?.experiments ?? []).map(({ name }) => name);
        answers.push({ status, code, names: "filter" in query ? names : [] });
      }
      return answers;
    },
  },
  {
    name: "data sets of experiments: of none, of too many, of one that is not there",
    ask: async (server) => {
      const answers = [];
      const empty = await server.experiment();
      for (const ids of [undefined, [], Array.from({ length: 21 }, String), ["987654"], [empty], ["abc"], 5])
        answers.push(await server.post("/ajax-api/2.0/mlflow/experiments/search-datasets", { experiment_ids: ids }));
      return answers;
    },
  },
];
