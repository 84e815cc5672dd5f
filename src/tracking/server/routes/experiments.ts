import Type from "typebox";
import type { FastifyReply } from "fastify";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { pathBelow } from "../artifact-path.ts";
import { invalid, quote } from "../refusal.ts";
import { Filter, maxResultsOr, Orders, PageToken, Pairs, Required, Text, Texts } from "../schemas.ts";
import { sendRead } from "./read-answer.ts";
import { readView, View } from "./view-type.ts";

const maxExperiments = 20;
const Id = Type.Object({ experiment_id: Required });
const Search = Type.Object({
  max_results: maxResultsOr(0),
  page_token: PageToken,
  filter: Filter,
  order_by: Orders,
  view_type: View,
});

/** Everything below /mlflow/experiments. */
export function registerExperiments(app: TrackingApp, { store, reader, localArtifacts }: TrackingContext): void {
  const { experiments } = store;
  const Create = Type.Object({ name: Required, artifact_location: Text, tags: Pairs });
  app.post("/experiments/create", { schema: { body: Create } }, ({ body }) => ({
    experiment_id: experiments.create(body.name, checkLocation(body.artifact_location ?? "", localArtifacts?.root), body.tags ?? []),
  }));
  app.get("/experiments/get", { schema: { querystring: Id } }, ({ query }) => ({ experiment: experiments.get(query.experiment_id) }));
  app.get("/experiments/get-by-name", { schema: { querystring: Type.Object({ experiment_name: Required }) } }, ({ query }) => ({
    experiment: experiments.getByName(query.experiment_name),
  }));
  const search = async (query: Type.Static<typeof Search>, reply: FastifyReply): Promise<FastifyReply> => {
    const search = {
      filter: query.filter,
      orderBy: query.order_by,
      viewType: readView(query.view_type),
      maxResults: query.max_results,
      pageToken: query.page_token,
    };
    return await sendRead(reply, reader, { kind: "experiments", search });
  };
  app.post("/experiments/search", { schema: { body: Search } }, async ({ body }, reply) => await search(body, reply));
  app.get("/experiments/search", { schema: { querystring: Search } }, async ({ query }, reply) => await search(query, reply));
  app.post("/experiments/update", { schema: { body: Type.Object({ experiment_id: Required, new_name: Required }) } }, ({ body }) => {
    experiments.rename(body.experiment_id, body.new_name);
    return {};
  });
  app.post("/experiments/delete", { schema: { body: Id } }, ({ body }) => {
    experiments.setStage(body.experiment_id, "deleted");
    return {};
  });
  app.post("/experiments/restore", { schema: { body: Id } }, ({ body }) => {
    experiments.setStage(body.experiment_id, "active");
    return {};
  });
  const Tag = Type.Object({ experiment_id: Required, key: Required, value: Type.String({ default: "" }) });
  app.post("/experiments/set-experiment-tag", { schema: { body: Tag } }, ({ body }) => {
    experiments.setTag(body.experiment_id, body.key, body.value);
    return {};
  });
  app.post(
    "/experiments/delete-experiment-tag",
    { schema: { body: Type.Object({ experiment_id: Required, key: Required }) } },
    ({ body }) => {
      experiments.deleteTag(body.experiment_id, body.key);
      return {};
    },
  );
  app.post("/experiments/search-datasets", { schema: { body: Type.Object({ experiment_ids: Texts }) } }, async ({ body }, reply) => {
    const ids = body.experiment_ids ?? [];
    if (ids.length === 0 || ids.length > maxExperiments)
      throw invalid(`experiment_ids: expected 1 to ${maxExperiments}, got ${ids.length}.`);
    return await sendRead(reply, reader, { kind: "data sets", experimentIds: ids });
  });
}

/** Clients write to such a location directly. On the disk of this machine it must be below the folder that the operator allows. */
function checkLocation(location: string, localRoot: string | undefined): string {
  if (/^file:/i.test(location)) {
    if (localRoot !== undefined && pathBelow(localRoot, location) !== undefined) return withoutSlashesAtEnd(location);
    const expected =
      localRoot === undefined
        ? "this server keeps no files outside its store. Start it with --local-artifacts DIR to allow file: addresses below a folder"
        : `expected a folder below file://${localRoot}`;
    throw invalid(`artifact_location ${quote(location)}: ${expected}.`);
  }
  if (location === "" || (/^[a-z][a-z0-9+.-]*:/i.test(location) && !/^https?:/i.test(location)))
    if (!location.includes("#") && !location.includes("..")) return withoutSlashesAtEnd(location);
  throw invalid(
    `artifact_location ${quote(location)}: expected an address such as s3://bucket/folder, or nothing for this server's own store.`,
  );
}

/** Those that follow the colon of the scheme stay. */
function withoutSlashesAtEnd(location: string): string {
  let end = location.length;
  while (location[end - 1] === "/" && location[end - 2] !== ":") end--;
  return location.slice(0, end);
}
