import Type from "typebox";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { Description, Filter, Orders, PageToken, Pairs, Required, Text, Texts } from "../schemas.ts";
import { sendRead } from "./read-answer.ts";
import { registerVersion } from "../register-version.ts";

const Name = Type.Object({ name: Required });
const Version = Type.Object({ name: Required, version: Required });
const Alias = Type.Object({ name: Required, alias: Required });
const value = Type.String({ default: "" });

const searchQuery = (defaultMaxResults: number) =>
  Type.Object({ filter: Filter, max_results: Type.Integer({ default: defaultMaxResults }), order_by: Orders, page_token: PageToken });

/** Everything below /mlflow/registered-models and /mlflow/model-versions. */
export function registerRegistry(app: TrackingApp, context: TrackingContext): void {
  registerModels(app, context);
  registerLatest(app, context);
  registerAliases(app, context);
  registerVersions(app, context);
  registerVersionTags(app, context);
}

function registerModels(app: TrackingApp, { store: { registeredModels: models }, reader }: TrackingContext): void {
  app.post(
    "/registered-models/create",
    { schema: { body: Type.Object({ name: Required, tags: Pairs, description: Description }) } },
    ({ body }) => ({
      registered_model: models.create(body.name, body.description ?? "", body.tags ?? []),
    }),
  );
  app.get("/registered-models/get", { schema: { querystring: Name } }, ({ query }) => ({ registered_model: models.get(query.name) }));
  app.patch("/registered-models/update", { schema: { body: Type.Object({ name: Required, description: Description }) } }, ({ body }) => ({
    registered_model: models.update(body.name, body.description ?? ""),
  }));
  app.post("/registered-models/rename", { schema: { body: Type.Object({ name: Required, new_name: Required }) } }, ({ body }) => ({
    registered_model: models.rename(body.name, body.new_name),
  }));
  app.delete("/registered-models/delete", { schema: { body: Name } }, ({ body }) => {
    models.delete(body.name);
    return {};
  });
  app.get("/registered-models/search", { schema: { querystring: searchQuery(100) } }, async ({ query }, reply) => {
    const { filter, order_by: orderBy, max_results: maxResults, page_token: pageToken } = query;
    return await sendRead(reply, reader, { kind: "registered models", search: { filter, orderBy, maxResults, pageToken } });
  });
  app.post("/registered-models/set-tag", { schema: { body: Type.Object({ name: Required, key: Required, value }) } }, ({ body }) => {
    models.setTag(body.name, body.key, body.value);
    return {};
  });
  app.delete("/registered-models/delete-tag", { schema: { body: Type.Object({ name: Required, key: Required }) } }, ({ body }) => {
    models.deleteTag(body.name, body.key);
    return {};
  });
}

function registerLatest(app: TrackingApp, { store: { modelVersions: versions } }: TrackingContext): void {
  const Latest = Type.Object({ name: Required, stages: Texts });
  const latest = (query: Type.Static<typeof Latest>): object => {
    versions.modelRow(query.name);
    const found = versions.latest(query.name, query.stages);
    return found.length > 0 ? { model_versions: found } : {};
  };
  app.get("/registered-models/get-latest-versions", { schema: { querystring: Latest } }, ({ query }) => latest(query));
  app.post("/registered-models/get-latest-versions", { schema: { body: Latest } }, ({ body }) => latest(body));
}

function registerAliases(app: TrackingApp, { store: { registeredModels: models, modelVersions: versions } }: TrackingContext): void {
  app.post(
    "/registered-models/alias",
    { schema: { body: Type.Object({ name: Required, alias: Required, version: Required }) } },
    ({ body }) => {
      models.setAlias(body.name, body.alias, body.version);
      return {};
    },
  );
  app.delete("/registered-models/alias", { schema: { body: Alias } }, ({ body }) => {
    models.deleteAlias(body.name, body.alias);
    return {};
  });
  app.get("/registered-models/alias", { schema: { querystring: Alias } }, ({ query }) => ({
    model_version: versions.getByAlias(query.name, query.alias),
  }));
}

function registerVersions(app: TrackingApp, { store, reader }: TrackingContext): void {
  const { modelVersions: versions } = store;
  const Create = Type.Object({
    name: Required,
    source: Required,
    run_id: Text,
    tags: Pairs,
    run_link: Text,
    description: Description,
    model_id: Text,
  });
  app.post("/model-versions/create", { schema: { body: Create } }, ({ body }) => ({
    model_version: registerVersion(store, {
      name: body.name,
      source: body.source,
      runId: body.run_id,
      modelId: body.model_id,
      runLink: body.run_link ?? "",
      description: body.description ?? "",
      tags: body.tags ?? [],
    }),
  }));
  app.get("/model-versions/get", { schema: { querystring: Version } }, ({ query }) => ({
    model_version: versions.get(query.name, query.version),
  }));
  app.patch(
    "/model-versions/update",
    { schema: { body: Type.Object({ name: Required, version: Required, description: Description }) } },
    ({ body }) => ({
      model_version: versions.update(body.name, body.version, body.description ?? ""),
    }),
  );
  const Transition = Type.Object({
    name: Required,
    version: Required,
    stage: Required,
    archive_existing_versions: Type.Boolean({ default: false }),
  });
  app.post("/model-versions/transition-stage", { schema: { body: Transition } }, ({ body }) => ({
    model_version: versions.transition(body.name, body.version, body.stage, body.archive_existing_versions),
  }));
  app.delete("/model-versions/delete", { schema: { body: Version } }, ({ body }) => {
    versions.delete(body.name, body.version);
    return {};
  });
  app.get("/model-versions/get-download-uri", { schema: { querystring: Version } }, ({ query }) => ({
    artifact_uri: versions.downloadUri(query.name, query.version),
  }));
  app.get("/model-versions/search", { schema: { querystring: searchQuery(200_000) } }, async ({ query }, reply) => {
    const { filter, order_by: orderBy, max_results: maxResults, page_token: pageToken } = query;
    return await sendRead(reply, reader, { kind: "model versions", search: { filter, orderBy, maxResults, pageToken } });
  });
}

function registerVersionTags(app: TrackingApp, { store: { modelVersions: versions } }: TrackingContext): void {
  app.post(
    "/model-versions/set-tag",
    { schema: { body: Type.Object({ name: Required, version: Required, key: Required, value }) } },
    ({ body }) => {
      versions.setTag(body.name, body.version, body.key, body.value);
      return {};
    },
  );
  app.delete(
    "/model-versions/delete-tag",
    { schema: { body: Type.Object({ name: Required, version: Required, key: Required }) } },
    ({ body }) => {
      versions.deleteTag(body.name, body.version, body.key);
      return {};
    },
  );
}
