import { because, each, refused, type Asked, type Behaviour, type Json } from "./behaviour.ts";

async function sends(server: Asked, method: "post" | "patch" | "delete", path: string, bodies: readonly Json[]): Promise<unknown[]> {
  const answers = [];
  for (const body of bodies) answers.push([body, await server[method](path, body)]);
  return answers;
}

const source = "s3://bucket/model";

/** A run, a logged model and the address of their files, for versions. */
async function origin(server: Asked): Promise<{ run: string; root: string; model: string; modelRoot: string }> {
  const experiment = await server.experiment("origin");
  const run = await server.run(experiment);
  const { body } = await server.get("runs/get", { run_id: run });
  const root = (body as { run: { info: { artifact_uri: string } } }).run.info.artifact_uri;
  const made = await server.post("logged-models", { experiment_id: experiment, name: "net", source_run_id: run });
  const { model_id: model, artifact_uri: modelRoot } = (made.body as { model: { info: { model_id: string; artifact_uri: string } } }).model
    .info;
  return { run, root, model, modelRoot };
}

const elsewhere = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

type From = readonly [source: string, rest?: Json];

/** Where a version may come from: RUN, ROOT, MODEL and MODELROOT are those of `origin`, ELSEWHERE a run that this server does not have. */
const sources: readonly From[] = [
  ["s3://bucket/model"],
  ["s3://bucket/model", { run_id: "RUN" }],
  ["s3://bucket/model", { run_id: "ELSEWHERE" }],
  ["s3://bucket/model", { model_id: "MODEL" }],
  ["s3://bucket/../model"],
  ["s3://bucket/%2e%2e/model"],
  ["s3:/bucket/model/../x"],
  ["gs://bucket/model"],
  ["dbfs:/models/a"],
  ["http://host/model"],
  ["https://host/model"],
  ["https://host/model/../x"],
  ["https://host/api/2.0/mlflow-artifacts/artifacts/1/x"],
  ["https://host/api/2.0/mlflow-artifacts/artifacts/../../x"],
  ["bogus://host/model"],
  ["runs:/RUN/model", { run_id: "RUN" }],
  ["runs:/RUN/model"],
  ["runs:/RUN/model", { run_id: "ELSEWHERE" }],
  ["runs:/ELSEWHERE/model", { run_id: "ELSEWHERE" }],
  ["runs:/ELSEWHERE/model"],
  ["runs:/RUN/../model", { run_id: "RUN" }],
  ["runs:/RUN", { run_id: "RUN" }],
  ["runs://host/RUN/model", { run_id: "RUN" }],
  ["runs:/RUN/model", { model_id: "MODEL" }],
  ["ROOT/model", { run_id: "RUN" }],
  ["ROOT/model"],
  ["ROOT/model", { run_id: "ELSEWHERE" }],
  ["ROOT/../model", { run_id: "RUN" }],
  ["ROOT/%2e%2e/model", { run_id: "RUN" }],
  ["mlflow-artifacts:/", { run_id: "RUN" }],
  ["mlflow-artifacts://host:5000/a/b", { run_id: "RUN" }],
  ["mlflow-artifacts:/other/place", { run_id: "RUN" }],
  ["MODELROOT", { model_id: "MODEL" }],
  ["MODELROOT", { model_id: "MODEL", run_id: "RUN" }],
  ["MODELROOT", { run_id: "RUN" }],
  ["models:/MODEL", { model_id: "MODEL" }],
  ["models:/MODEL", { model_id: "MODEL", run_id: "RUN" }],
  ["models:/MODEL"],
  ["models:/nothing/1"],
  ["models:/nothing@alias"],
  ["models://host/nothing/1"],
  ["/etc/passwd"],
  ["/etc/passwd", { run_id: "RUN" }],
  ["relative/path"],
  ["file:///etc/passwd"],
  ["file:///etc/passwd", { run_id: "RUN" }],
  ["C:\\models"],
  ["123"],
  [""],
];

async function createFrom(server: Asked, [text, more = {}]: From): Promise<unknown> {
  const made = await server.shared("origin", origin);
  const name = await server.shared("versions", async (asked) => await asked.model("versions"));
  const fill = (value: string): string =>
    value
      .replaceAll("MODELROOT", made.modelRoot)
      .replaceAll("MODEL", made.model)
      .replaceAll("ROOT", made.root)
      .replaceAll("RUN", made.run)
      .replaceAll("ELSEWHERE", elsewhere);
  const filled = Object.fromEntries(Object.entries(more).map(([key, value]) => [key, fill(String(value))]));
  const answer = await server.post("model-versions/create", { name, source: fill(text), ...filled });
  if (answer.status !== 200) return answer;
  const { version, ...rest } = (answer.body as { model_version: Json }).model_version;
  return [rest, await server.get("model-versions/get-download-uri", { name, version: String(version) })];
}

const registered: readonly Json[] = [
  {},
  { name: "" },
  { name: " " },
  { name: 123 },
  { name: ["a"] },
  { name: "a/b" },
  { name: "a:b" },
  { name: ".." },
  { name: "refused", tags: [{ value: "a" }] },
  { name: "tags as a text", tags: "abc" },
  { name: "refused", description: 5 },
  { name: "ünï cödé" },
  { name: "described", description: "for tests", tags: [{ key: "a", value: "b" }, { key: "empty" }] },
  { name: "described" },
];

/** Versions of two models, for searches. */
async function library(server: Asked): Promise<void> {
  await server.model("lib_A", { tags: [{ key: "task", value: "images" }], description: "first" });
  await server.model("lib b", { tags: [{ key: "task", value: "Text" }] });
  await server.model("libxA");
  const { run } = await server.shared("origin", origin);
  for (const [name, from, more] of [
    ["lib_A", "s3://bucket/one", { tags: [{ key: "state", value: "ok" }] }],
    ["lib_A", "s3://bucket/two", { tags: [{ key: "state", value: "bad" }], run_id: run }],
    ["lib_A", "s3://other/three", {}],
    ["lib b", "s3://bucket/one", { run_id: run }],
  ] as const)
    await server.post("model-versions/create", { name, source: from, ...more });
}

const modelFilters: readonly string[] = [
  "name = 'lib_A'",
  "name != 'lib_A' AND name LIKE 'lib%'",
  "name LIKE 'lib_A'",
  "name ILIKE 'LIB%'",
  "name IN ('lib_A', 'lib b')",
  "name NOT IN ('lib_A')",
  "tags.task = 'images'",
  "tags.task != 'images'",
  "tags.task ILIKE 't%'",
  "tags.task IN ('images')",
  "tag.task = 'images' AND name = 'lib_A'",
  "tags.`task` = 'images'",
  "name = lib_A",
  "name > 'a'",
  "attribute.name = 'lib_A'",
  "description = 'first'",
  "last_updated_timestamp > 0",
  "creation_timestamp > 0",
  "run_id = 'a'",
  "name = 'a' OR name = 'b'",
  "name =",
  "nonsense",
];
const modelSearches: readonly Record<string, string | number | readonly string[]>[] = [
  ...modelFilters.map((filter) => ({ filter })),
  { order_by: "name DESC" },
  { order_by: ["name ASC", "last_updated_timestamp DESC"] },
  { order_by: "timestamp" },
  { order_by: "creation_timestamp" },
  { order_by: "tags.task" },
  { order_by: "name UP" },
  { max_results: 2 },
  { max_results: 1000 },
  { max_results: 1001 },
  { max_results: "abc" },
  { page_token: "bogus" },
];
const versionSearches: readonly Record<string, string | number | readonly string[]>[] = [
  ...[
    "name = 'lib_A'",
    "name LIKE 'lib_A'",
    "name ILIKE 'LIB_a'",
    "name IN ('lib_A', 'libxA')",
    "name != 'lib_A'",
    "name = 'lib_A' AND version_number > 1",
    "version_number = 2",
    "version_number != 2",
    "version_number IN (1, 2)",
    "version_number LIKE '2'",
    "version = 2",
    "run_id = 'RUN'",
    "run_id IN ('RUN')",
    "run_id IN ('RUN', '')",
    "run_id IN ()",
    "run_id NOT IN ('RUN')",
    "run_id != 'RUN'",
    "run_id LIKE 'R%'",
    "source_path = 's3://bucket/one'",
    "source_path LIKE 's3://bucket/%'",
    "source_path ILIKE 'S3://BUCKET/%'",
    "source_path != 's3://bucket/one'",
    "source_path IN ('s3://bucket/one')",
    "tags.state = 'ok'",
    "tags.state != 'ok'",
    "tags.state LIKE '%' AND name = 'lib_A'",
    "name = 'nothing'",
    "current_stage = 'None'",
    "status = 'READY'",
    "description = 'a'",
    "creation_timestamp > 0",
    "name = 'a' OR name = 'b'",
    "nonsense",
  ].map((filter) => ({ filter })),
  { order_by: "name DESC" },
  { order_by: ["name", "version_number DESC"] },
  { order_by: "creation_timestamp" },
  { order_by: "last_updated_timestamp DESC" },
  { order_by: "run_id" },
  { order_by: "tags.state" },
  { order_by: "bogus" },
  { max_results: 2 },
  { max_results: 0 },
  { max_results: 200_000 },
  { max_results: 200_001 },
  { max_results: "abc" },
  { page_token: "bogus" },
];

async function find(server: Asked, path: string, query: Record<string, string | number | readonly string[]>): Promise<unknown> {
  await server.shared("library", library);
  const { run } = await server.shared("origin", origin);
  const filter = String(query["filter"] ?? "name LIKE 'lib%'").replaceAll("RUN", run);
  const answer = await server.get(path, {
    order_by: path.startsWith("model-versions") ? ["name", "version_number"] : "name",
    max_results: 100,
    ...query,
    filter,
  });
  if (answer.status !== 200) return answer;
  const page = answer.body as Record<string, { name: string; version?: string }[] | undefined>;
  // Not those of other behaviours.
  const found = (page["registered_models"] ?? page["model_versions"] ?? []).filter(({ name }) => name.startsWith("lib"));
  return [found.map(({ name, version }) => (version === undefined ? name : `${name} ${version}`)), page["next_page_token"] !== undefined];
}

export const registryBehaviours: readonly Behaviour[] = [
  ...each(
    "a registered model",
    registered,
    {
      drops: [{ name: "a tag that is a number", tags: [{ key: "a", value: 1 }] }],
    },
    async (server, body) => await server.post("registered-models/create", body),
  ),
  {
    name: "a registered model that is there, and one that is not",
    ask: async (server) => {
      const name = await server.model();
      const answers = [];
      for (const query of [{ name }, { name: "nothing" }, { name: "" }, {}]) answers.push(await server.get("registered-models/get", query));
      answers.push(
        ...(await sends(server, "patch", "registered-models/update", [
          { name, description: "new" },
          { name, description: 5 },
          { name },
          { name: "nothing" },
          {},
        ])),
        ...(await sends(server, "post", "registered-models/rename", [
          { name },
          { name, new_name: "" },
          { name, new_name: 5 },
          { name, new_name: "a/b" },
          { name: "nothing", new_name: "x" },
        ])),
        ...(await sends(server, "delete", "registered-models/delete", [{ name: "nothing" }, {}, { name: 5 }, { name }, { name }])),
      );
      return answers;
    },
  },
  {
    name: "a rename keeps versions, tags and aliases, and takes no name that is taken",
    ask: async (server) => {
      const [name, other, next] = [await server.model(), await server.model(), server.newName("renamed")];
      await server.post("model-versions/create", { name, source });
      await server.post("registered-models/alias", { name, alias: "best", version: "1" });
      await server.post("registered-models/set-tag", { name, key: "a", value: "b" });
      const answers = await sends(server, "post", "registered-models/rename", [
        { name, new_name: other },
        { name, new_name: name },
        { name, new_name: next },
      ]);
      return [
        answers,
        await server.get("registered-models/get", { name: next }),
        await server.get("model-versions/get", { name: next, version: 1 }),
      ];
    },
  },
  {
    name: "tags of the registry",
    ask: async (server) => {
      const name = await server.model();
      await server.post("model-versions/create", { name, source });
      const tags = [
        { key: "a", value: "b" },
        { key: "a" },
        { key: "b", value: "" },
        { value: "c" },
        { key: "", value: "c" },
        { key: 5, value: "c" },
        { key: "d", value: 5 },
        { key: "../e", value: "f" },
        { key: "g".repeat(251), value: "f" },
      ];
      const deleted = [{ key: "a" }, { key: "nothing" }, { key: "" }, {}, { key: 5 }];
      return [
        await sends(server, "post", "registered-models/set-tag", [
          ...tags.map((tag) => ({ name, ...tag })),
          { name: "nothing", key: "a", value: "b" },
        ]),
        await sends(server, "delete", "registered-models/delete-tag", [
          ...deleted.map((tag) => ({ name, ...tag })),
          { name: "nothing", key: "a" },
        ]),
        await sends(server, "post", "model-versions/set-tag", [
          ...tags.map((tag) => ({ name, version: "1", ...tag })),
          { name, version: "9", key: "a", value: "b" },
          { name, version: "x", key: "a", value: "b" },
          { name, version: 1, key: "number", value: "b" },
          { name, key: "a", value: "b" },
        ]),
        await sends(server, "delete", "model-versions/delete-tag", [
          ...deleted.map((tag) => ({ name, version: "1", ...tag })),
          { name, version: "9", key: "a" },
        ]),
        await server.get("registered-models/get", { name }),
      ];
    },
  },
  {
    name: "aliases",
    ask: async (server) => {
      const name = await server.model();
      for (let i = 0; i < 2; i++) await server.post("model-versions/create", { name, source });
      const given = ["best", "latest", "LATEST", "v1", "V12", "v1a", "a b", "", "ä", "a".repeat(255), "a".repeat(256), 5, "best"];
      const answers = await sends(server, "post", "registered-models/alias", [
        ...given.map((alias) => ({ name, alias, version: "1" })),
        { name, alias: "best", version: "2" },
        { name, alias: "x", version: "9" },
        { name, alias: "x", version: "y" },
        { name, alias: "x" },
        { name, version: "1" },
        { name: "nothing", alias: "x", version: "1" },
      ]);
      for (const query of [
        { name, alias: "best" },
        { name, alias: "nothing" },
        { name, alias: "latest" },
        { name, alias: "" },
        { name },
        { name: "nothing", alias: "best" },
      ])
        answers.push(await server.get("registered-models/alias", query));
      const deleted = await sends(server, "delete", "registered-models/alias", [
        { name, alias: "best" },
        { name, alias: "best" },
        { name, alias: "" },
        { name },
        { name: "nothing", alias: "a" },
      ]);
      return [answers, deleted, await server.get("registered-models/get", { name })];
    },
  },
  ...each<From>(
    "a version of",
    sources,
    { fails: [["models:/m-ELSEWHERE", { model_id: "m-ELSEWHERE" }], ["file://host/share"]] },
    createFrom,
  ),
  {
    name: "a version of a model that is not there",
    ask: async (server) => await createFrom(server, ["s3://bucket/model", { model_id: "m-ELSEWHERE" }]),
    differs: { why: because.code, serval: refused },
  },
  ...["hdfs://host/model", "ftp://host/model", "sftp://host/model"].map((from): Behaviour => ({
    name: `a version of ${from}`,
    ask: async (server) => (await server.post("model-versions/create", { name: await server.model(), source: from })).status,
    differs: { why: because.hosts, serval: 200 },
  })),
  {
    name: "versions: what a new one may have",
    ask: async (server) => {
      const name = await server.model();
      const answers = await sends(server, "post", "model-versions/create", [
        { source },
        { name },
        { name: 5, source },
        { name, source: 123 },
        { name: "nothing", source },
        { name, source, run_id: 5 },
        { name, source, tags: [{ value: "a" }] },
        { name, source, run_link: 5 },
        { name, source, description: 5 },
        { name, source, description: "all", run_link: "https://here", tags: [{ key: "a", value: "b" }, { key: "empty" }] },
        { name, source },
      ]);
      return [answers, await server.get("registered-models/get", { name })];
    },
  },
  {
    name: "a version of a version, by number and by alias",
    ask: async (server) => {
      const { run } = await server.shared("origin", origin);
      const [name, copies] = [await server.model("original"), await server.model("copies")];
      await server.post("model-versions/create", { name, source, run_id: run });
      await server.post("registered-models/alias", { name, alias: "best", version: "1" });
      const answers = await sends(server, "post", "model-versions/create", [
        { name: copies, source: "models:/original/1" },
        { name: copies, source: "models:/original@best" },
        { name: copies, source: "models:/original/1", run_id: run },
        { name: copies, source: "models:/original/1", run_id: elsewhere },
        { name: copies, source: "models:/original/9" },
        { name: copies, source: "models:/original/latest" },
        { name: copies, source: "models:/original/None" },
        { name: copies, source: "models:/original" },
      ]);
      return [answers, await server.get("model-versions/get-download-uri", { name: copies, version: 1 })];
    },
  },
  {
    name: "a version that is there, and one that is not",
    ask: async (server) => {
      const name = await server.model();
      await server.post("model-versions/create", { name, source });
      const answers = [];
      for (const query of [
        { name, version: 1 },
        { name, version: "01" },
        { name, version: 9 },
        { name, version: "x" },
        { name, version: "" },
        { name },
        { version: 1 },
        { name: "nothing", version: 1 },
      ]) {
        answers.push(await server.get("model-versions/get", query), await server.get("model-versions/get-download-uri", query));
      }
      answers.push(
        await sends(server, "patch", "model-versions/update", [
          { name, version: "1", description: "new" },
          { name, version: 1, description: "number" },
          { name, version: "1" },
          { name, version: "9" },
          { name },
          { name, version: "1", description: 5 },
        ]),
        await sends(server, "delete", "model-versions/delete", [
          { name, version: "9" },
          { name, version: "x" },
          { name },
          { name, version: "1" },
          { name, version: "1" },
        ]),
        await sends(server, "post", "model-versions/create", [{ name, source }]),
      );
      return answers;
    },
  },
  {
    name: "stages",
    ask: async (server) => {
      const name = await server.model();
      for (let i = 0; i < 3; i++) await server.post("model-versions/create", { name, source });
      const answers = await sends(server, "post", "model-versions/transition-stage", [
        { name, version: "1", stage: "production" },
        { name, version: "2", stage: "Production", archive_existing_versions: true },
        { name, version: "3", stage: "STAGING", archive_existing_versions: "true" },
        { name, version: "3", stage: "Somewhere" },
        { name, version: "3", stage: 5 },
        { name, version: "3" },
        { name, version: "9", stage: "None" },
        { name, stage: "None" },
      ]);
      for (const query of [
        { name },
        { name, stages: ["Production"] },
        { name, stages: ["None", "staging"] },
        { name, stages: ["Nowhere"] },
        { name: "nothing" },
        {},
      ])
        answers.push(await server.get("registered-models/get-latest-versions", query));
      answers.push(
        await server.post("registered-models/get-latest-versions", { name }),
        await server.post("registered-models/get-latest-versions", { name, stages: "None" }),
      );
      return answers;
    },
  },
  ...each(
    "registered models by",
    modelSearches,
    { fails: [{ filter: "tags.task IS NULL" }], drops: [{ max_results: 0 }] },
    async (server, query) => await find(server, "registered-models/search", query),
  ),
  ...each(
    "versions by",
    versionSearches,
    { fails: [{ filter: "tags.state IS NULL" }] },
    async (server, query) => await find(server, "model-versions/search", query),
  ),
  {
    name: "versions by a number in quotes",
    ask: async (server) => await find(server, "model-versions/search", { filter: "version_number = '2'" }),
    differs: { why: because.quoted, serval: refused },
  },
  {
    name: "prompts: kept apart from models, and a refused one leaves nothing behind",
    ask: async (server) => {
      const prompt = [{ key: "mlflow.prompt.is_prompt", value: "true" }];
      const text = [...prompt, { key: "mlflow.prompt.text", value: "Say {{word}}" }];
      const answers = [];
      for (const [name, from, tags] of [
        ["prompt-good", "prompt-template", text],
        ["prompt-dummy", "dummy-source", text],
        ["prompt-bad", "s3://bucket/x", text],
        ["prompt-empty", "", text],
      ] as const) {
        answers.push(await server.post("registered-models/create", { name, tags: prompt }));
        answers.push(await server.post("model-versions/create", { name, source: from, tags }));
        answers.push(await server.get("registered-models/get", { name }));
      }
      for (const filter of ["name LIKE 'prompt-%'", "name LIKE 'prompt-%' AND tags.`mlflow.prompt.is_prompt` = 'true'"]) {
        const models = await server.get("registered-models/search", { filter, order_by: "name" });
        const versions = await server.get("model-versions/search", { filter, order_by: "name" });
        answers.push(models, versions);
      }
      return answers;
    },
  },
];
