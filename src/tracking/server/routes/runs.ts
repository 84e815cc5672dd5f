import Type from "typebox";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { parseWithin } from "../json-body.ts";
import { invalid, quote, refusal } from "../refusal.ts";
import {
  Double,
  Filter,
  Integer,
  maxBatch,
  maxResultsOr,
  Orders,
  PageToken,
  Pairs,
  Required,
  RunQuery,
  Step,
  Text,
  Texts,
  Whole,
} from "../schemas.ts";
import { runStatuses, type RunStatus } from "../store/runs.ts";
import { sendRead } from "./read-answer.ts";
import { readView, View } from "./view-type.ts";

const Metric = Type.Object({
  key: Required,
  value: Double,
  timestamp: Integer,
  step: Step,
  model_id: Text,
  dataset_name: Text,
  dataset_digest: Text,
});

type WireMetric = Type.Static<typeof Metric>;

const DatasetInput = Type.Object({
  tags: Pairs,
  dataset: Type.Object({
    name: Required,
    digest: Required,
    source_type: Type.String({ default: "" }),
    source: Type.String({ default: "" }),
    schema: Type.Optional(Type.String()),
    profile: Type.Optional(Type.String()),
  }),
});

/** Everything below /mlflow/runs. */
export function registerRuns(app: TrackingApp, context: TrackingContext): void {
  registerLives(app, context);
  registerValues(app, context);
  registerLinks(app, context);
  registerSearch(app, context);
}

/** From its beginning to its end, and its deletion. */
function registerLives(app: TrackingApp, { store: { runs }, reader }: TrackingContext): void {
  const Create = Type.Object({ experiment_id: Text, user_id: Text, run_name: Text, start_time: Whole, tags: Pairs });
  app.post("/runs/create", { schema: { body: Create } }, ({ body }) => {
    const { experiment_id: experimentId = "", user_id: userId = "", run_name: name = "", start_time: startTime = 0, tags = [] } = body;
    if (experimentId === "") throw refusal("BAD_REQUEST", "Missing value for required parameter 'experiment_id'.");
    return { run: runs.create({ experimentId, userId, name, startTime, tags }) };
  });
  app.get(
    "/runs/get",
    { schema: { querystring: RunQuery } },
    async ({ query }, reply) => await sendRead(reply, reader, { kind: "run", runId: query.run_id }),
  );
  const Update = Type.Object({
    run_id: Required,
    status: Type.Optional(Type.Union([...runStatuses.map((name) => Type.Literal(name)), Type.Integer({ minimum: 1, maximum: 5 })])),
    end_time: Whole,
    run_name: Text,
  });
  app.post("/runs/update", { schema: { body: Update } }, ({ body }) => {
    const status = typeof body.status === "number" ? runStatuses[body.status - 1] : (body.status as RunStatus | undefined);
    return { run_info: runs.update(body.run_id, { status, endTime: body.end_time, name: body.run_name }) };
  });
  app.post("/runs/delete", { schema: { body: RunQuery } }, ({ body }) => {
    runs.setStage(body.run_id, "deleted");
    return {};
  });
  app.post("/runs/restore", { schema: { body: RunQuery } }, ({ body }) => {
    runs.setStage(body.run_id, "active");
    return {};
  });
}

/** Metrics, params and tags. */
function registerValues(app: TrackingApp, { store: { runs } }: TrackingContext): void {
  app.post("/runs/log-metric", { schema: { body: Type.Intersect([RunQuery, Metric]) } }, ({ body }) => {
    runs.logMetric(body.run_id, toPoint(body));
    return {};
  });
  app.post(
    "/runs/log-parameter",
    { schema: { body: Type.Object({ run_id: Required, key: Required, value: Type.String({ default: "" }) }) } },
    ({ body }) => {
      runs.logParam(body.run_id, { key: body.key, value: body.value });
      return {};
    },
  );
  const Batch = Type.Object({ run_id: Required, metrics: Type.Optional(Type.Array(Metric)), params: Pairs, tags: Pairs });
  app.post("/runs/log-batch", { schema: { body: Batch } }, ({ body }) => {
    runs.logBatch(body.run_id, { metrics: (body.metrics ?? []).map(toPoint), params: body.params ?? [], tags: body.tags ?? [] });
    return {};
  });
  app.post(
    "/runs/set-tag",
    { schema: { body: Type.Object({ run_id: Required, key: Required, value: Type.String({ default: "" }) }) } },
    ({ body }) => {
      runs.setTag(body.run_id, body.key, body.value);
      return {};
    },
  );
  app.post("/runs/delete-tag", { schema: { body: Type.Object({ run_id: Required, key: Required }) } }, ({ body }) => {
    runs.deleteTag(body.run_id, body.key);
    return {};
  });
}

/** The data and the models that a run used, and the models that it made. */
function registerLinks(app: TrackingApp, { store: { runs, db } }: TrackingContext): void {
  const Inputs = Type.Object({
    run_id: Required,
    datasets: Type.Optional(Type.Array(DatasetInput, { maxItems: maxBatch })),
    models: Type.Optional(Type.Array(Type.Object({ model_id: Required }), { maxItems: maxBatch })),
  });
  app.post("/runs/log-inputs", { schema: { body: Inputs } }, ({ body }) => {
    db.write(() => {
      const run = runs.activeIdOf(body.run_id);
      runs.links.addDatasets(run, body.datasets ?? []);
      runs.links.addModels(run.id, "input", body.models ?? []);
    });
    return {};
  });
  const Outputs = Type.Object({
    run_id: Required,
    models: Type.Array(Type.Object({ model_id: Required, step: Step }), { maxItems: maxBatch }),
  });
  app.post("/runs/outputs", { schema: { body: Outputs } }, ({ body }) => {
    db.write(() => runs.links.addModels(runs.activeIdOf(body.run_id).id, "output", body.models));
    return {};
  });
  app.post(
    "/runs/log-model",
    { schema: { body: Type.Object({ run_id: Required, model_json: Type.String({ minLength: 1, maxLength: maxModelJson }) }) } },
    ({ body }) => {
      runs.recordModel(body.run_id, readModel(body.model_json));
      return {};
    },
  );
}

function registerSearch(app: TrackingApp, { reader }: TrackingContext): void {
  const Search = Type.Object({
    experiment_ids: Texts,
    filter: Filter,
    run_view_type: View,
    max_results: maxResultsOr(1000),
    order_by: Orders,
    page_token: PageToken,
  });
  app.post("/runs/search", { schema: { body: Search } }, async ({ body }, reply) => {
    const search = {
      experimentIds: body.experiment_ids ?? [],
      filter: body.filter,
      orderBy: body.order_by,
      viewType: readView(body.run_view_type),
      maxResults: body.max_results,
      pageToken: body.page_token,
    };
    return await sendRead(reply, reader, { kind: "runs", search });
  });
}

function toPoint({
  key,
  value,
  timestamp,
  step,
  model_id: modelId,
  dataset_name: datasetName,
  dataset_digest: datasetDigest,
}: WireMetric): {
  key: string;
  value: number;
  timestamp: number;
  step: number;
  modelId: string | undefined;
  datasetName: string | undefined;
  datasetDigest: string | undefined;
} {
  return { key, value: Number(value), timestamp, step, modelId, datasetName, datasetDigest };
}

/** An MLmodel file with the signature of a model of thousands of columns. */
const maxModelJson = 1_000_000;
const modelFields = ["artifact_path", "flavors", "utc_time_created", "run_id"];

/** The JSON text of what MLflow keeps of an MLmodel in the run's tag. */
function readModel(text: string): string {
  const model = parseWithin(Buffer.from(text), "model_json", "INVALID_PARAMETER_VALUE");
  if (!isObject(model)) throw invalid(`model_json: expected a JSON object, got ${quote(text)}.`);
  const lacking = modelFields.filter((field) => !Object.hasOwn(model, field));
  if (lacking.length > 0) throw invalid(`model_json lacks ${lacking.join(", ")}.`);
  const flavors = model["flavors"];
  if (!isObject(flavors) || !Object.values(flavors).every(isObject)) throw invalid("model_json: flavors: expected an object of objects.");
  // The settings of Python's loader are of no use to others, and may be long.
  const withoutConfig = Object.entries(flavors as Record<string, object>).map(([name, flavor]) => [
    name,
    Object.fromEntries(Object.entries(flavor).filter(([key]) => key !== "config")),
  ]);
  return JSON.stringify({ ...model, flavors: Object.fromEntries(withoutConfig) as object });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
