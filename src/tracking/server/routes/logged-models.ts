import Type from "typebox";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { Filter, maxOrders, maxResultsOr, PageToken, Pairs, Required, Text } from "../schemas.ts";
import { maxSearchResults } from "../store/experiments.ts";
import { modelStatuses, type ModelStatus } from "../store/logged-models.ts";
import { sendRead } from "./read-answer.ts";

/** Data sets that a search may name; each is asked for once for each clause on a metric. */
const maxDatasets = 100;
const defaultResults = 50;
const ModelId = Type.Object({ model_id: Required });

/** Everything below /mlflow/logged-models. */
export function registerLoggedModels(app: TrackingApp, { store, reader }: TrackingContext): void {
  const { loggedModels } = store;
  const Create = Type.Object({ experiment_id: Required, name: Text, model_type: Text, source_run_id: Text, params: Pairs, tags: Pairs });
  app.post("/logged-models", { schema: { body: Create } }, ({ body }) => ({
    model: loggedModels.create({
      experimentId: body.experiment_id,
      name: body.name ?? "",
      modelType: body.model_type ?? "",
      sourceRunId: body.source_run_id ?? "",
      params: body.params ?? [],
      tags: body.tags ?? [],
    }),
  }));
  const Deleted = Type.Object({ allow_deleted: Type.Boolean({ default: false }) });
  app.get("/logged-models/:model_id", { schema: { params: ModelId, querystring: Deleted } }, async ({ params, query }, reply) => {
    return await sendRead(reply, reader, { kind: "logged model", modelId: params.model_id, allowDeleted: query.allow_deleted });
  });
  const Status = Type.Object({
    status: Type.Union([...modelStatuses.map((name) => Type.Literal(name)), Type.Integer({ minimum: 1, maximum: 3 })]),
  });
  app.patch("/logged-models/:model_id", { schema: { params: ModelId, body: Status } }, async ({ params, body }, reply) => {
    const status = typeof body.status === "number" ? modelStatuses[body.status] : (body.status as ModelStatus);
    loggedModels.finalize(params.model_id, status ?? "LOGGED_MODEL_STATUS_UNSPECIFIED");
    return await sendRead(reply, reader, { kind: "logged model", modelId: params.model_id, allowDeleted: true });
  });
  app.delete("/logged-models/:model_id", { schema: { params: ModelId } }, ({ params }) => {
    loggedModels.delete(params.model_id);
    return {};
  });
  app.post("/logged-models/:model_id/params", { schema: { params: ModelId, body: Type.Object({ params: Pairs }) } }, ({ params, body }) => {
    loggedModels.logParams(params.model_id, body.params ?? []);
    return {};
  });
  app.patch("/logged-models/:model_id/tags", { schema: { params: ModelId, body: Type.Object({ tags: Pairs }) } }, ({ params, body }) => {
    loggedModels.setTags(params.model_id, body.tags ?? []);
    return {};
  });
  app.delete(
    "/logged-models/:model_id/tags/:tag_key",
    { schema: { params: Type.Object({ model_id: Required, tag_key: Required }) } },
    ({ params }) => {
      loggedModels.deleteTag(params.model_id, params.tag_key);
      return {};
    },
  );
  const Search = Type.Object({
    experiment_ids: Type.Array(Type.String({ maxLength: 300 }), { maxItems: maxSearchResults }),
    filter: Filter,
    datasets: Type.Optional(
      Type.Array(Type.Object({ dataset_name: Type.String({ default: "", maxLength: 1000 }), dataset_digest: Text }), {
        maxItems: maxDatasets,
      }),
    ),
    max_results: maxResultsOr(defaultResults),
    order_by: Type.Optional(
      Type.Array(
        Type.Object({ field_name: Required, ascending: Type.Optional(Type.Boolean()), dataset_name: Text, dataset_digest: Text }),
        { maxItems: maxOrders },
      ),
    ),
    page_token: PageToken,
  });
  app.post("/logged-models/search", { schema: { body: Search } }, async ({ body }, reply) => {
    const search = {
      experimentIds: body.experiment_ids,
      filter: body.filter,
      datasets: body.datasets,
      orderBy: body.order_by,
      // protobuf has no way to tell 0 from nothing.
      maxResults: body.max_results === 0 ? defaultResults : body.max_results,
      pageToken: body.page_token,
    };
    return await sendRead(reply, reader, { kind: "logged models", search });
  });
}
