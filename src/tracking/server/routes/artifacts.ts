import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import Type from "typebox";
import type { ArtifactFile, ArtifactFolder, FileInfo } from "../artifact-folder.ts";
import { pathBelow, storedPath } from "../artifact-path.ts";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { invalid, quote, refusal } from "../refusal.ts";
import { Required, Text } from "../schemas.ts";
import { mediaType } from "./media-type.ts";
import { takeRunUuid } from "./run-uuid.ts";

/** The files of a run or a model, by their ids. */
export function registerArtifactLists(app: TrackingApp, context: TrackingContext): void {
  const { runs, loggedModels } = context.store;
  app.get("/artifacts/list", { schema: { querystring: Type.Object({ run_id: Required, path: Text }) } }, async ({ query }) => {
    const { artifact_uri: uri } = runs.info(query.run_id);
    return { root_uri: uri, ...(await listBelow(context, uri, query.path)) };
  });
  app.get(
    "/logged-models/:model_id/artifacts/directories",
    { schema: { params: Type.Object({ model_id: Required }), querystring: Type.Object({ artifact_directory_path: Text }) } },
    async ({ params, query }) => {
      const { artifact_uri: uri } = loggedModels.get(params.model_id).info;
      return { root_uri: uri, ...(await listBelow(context, uri, query.artifact_directory_path)) };
    },
  );
}

/** The proxy for files: MLflow's clients put and get them here, wherever the server keeps them. */
export async function registerArtifactProxy(app: TrackingApp, { artifacts }: TrackingContext): Promise<void> {
  await app.register(async (scope) => {
    // Bodies are files here, also those that say that they are JSON, and never lie in memory whole.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
    scope.put<{ Params: { "*": string } }>("/artifacts/*", async ({ params, body, headers }) => {
      await artifacts.write(filePath(params["*"]), body as Readable | undefined, Number(headers["content-length"] ?? 0));
      return {};
    });
  });
  app.get<{ Params: { "*": string } }>("/artifacts/*", async ({ params }, reply) =>
    sendFile(reply, await artifacts.find(filePath(params["*"]))),
  );
  app.delete<{ Params: { "*": string } }>("/artifacts/*", async ({ params }) => {
    await artifacts.delete(params["*"]);
    return {};
  });
  app.get("/artifacts", { schema: { querystring: Type.Object({ path: Text }) } }, async ({ query }) =>
    listing(await artifacts.list(query.path ?? "")),
  );
  // Clients ask whether a large file may go in parts, and send it whole when it may not.
  for (const path of ["/mpu/create/*", "/mpu/complete/*", "/mpu/abort/*"]) {
    app.post(path, () => {
      throw refusal("NOT_IMPLEMENTED", "Multipart upload is not supported for the current artifact repository: send the file whole.");
    });
  }
  app.get("/presigned/*", () => {
    throw refusal("NOT_IMPLEMENTED", "This server gives no addresses of another store: download through /mlflow-artifacts/artifacts.");
  });
}

/** As large as MLflow takes it. */
const maxUploadBytes = 10 * 1024 ** 2;

/** Where MLflow's own pages and notebooks send a file of a run, as a body of any type. */
export function registerUploads(app: TrackingApp, { store, artifacts }: TrackingContext): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  const options = { bodyLimit: maxUploadBytes, schema: { querystring: Type.Object({ run_uuid: Required, path: Required }) } };
  app.post("/upload-artifact", options, async ({ query, body }) => {
    if (!(body instanceof Uint8Array) || body.length === 0) throw invalid("The body is empty; expected the bytes of the file.");
    const { artifact_uri: uri } = store.runs.info(query.run_uuid);
    const root = storedPath(uri);
    if (root === undefined) throw invalid(`The files lie in ${uri}, not in this server's store: clients write there themselves.`);
    await artifacts.write(filePath(join(root, query.path)), Readable.from([body]), body.length);
    return {};
  });
}

/** The addresses that MLflow's own pages load pictures from. */
export function registerDownloads(app: TrackingApp, context: TrackingContext): void {
  const { runs, modelVersions } = context.store;
  const OfRun = Type.Object({ run_id: Required, path: Required });
  app.get("/get-artifact", { preValidation: takeRunUuid, schema: { querystring: OfRun } }, async ({ query }, reply) => {
    return sendFile(reply, await findBelow(context, runs.info(query.run_id).artifact_uri, query.path));
  });
  const Version = Type.Object({ name: Required, version: Required, path: Required });
  app.get("/model-versions/get-artifact", { schema: { querystring: Version } }, async ({ query }, reply) => {
    return sendFile(reply, await findBelow(context, modelVersions.downloadUri(query.name, query.version), query.path));
  });
}

async function listBelow(context: TrackingContext, uri: string, path = ""): Promise<{ files?: readonly FileInfo[] }> {
  const [folder, root] = folderOf(context, uri);
  const files = await folder.list(join(root, path));
  return listing(path === "" ? files : files.map((file) => ({ ...file, path: join(path.replace(/(?<!\/)\/+$/, ""), file.path) })));
}

async function findBelow(context: TrackingContext, uri: string, path: string): Promise<ArtifactFile> {
  const [folder, root] = folderOf(context, uri);
  return await folder.find(join(root, path));
}

/** The folder with the files of an address, and their path in it. */
function folderOf({ artifacts, localArtifacts }: TrackingContext, uri: string): readonly [ArtifactFolder, string] {
  const path = storedPath(uri);
  if (path !== undefined) return [artifacts, path];
  const below = localArtifacts === undefined ? undefined : pathBelow(localArtifacts.root, uri);
  if (localArtifacts !== undefined && below !== undefined) return [localArtifacts, below];
  throw invalid(`The files lie in ${uri}, not on this server: clients go there themselves.`);
}

function join(root: string, path: string): string {
  // What is absolute stays so, and is refused.
  return path === "" ? root : /^(?:\/|file:)/i.test(path) ? path : `${root}/${path}`;
}

function listing(files: readonly FileInfo[]): { files?: readonly FileInfo[] } {
  return files.length > 0 ? { files } : {};
}

const sandbox = "sandbox; default-src 'none'; style-src 'unsafe-inline'";

function filePath(path: string): string {
  if (path.endsWith("/")) throw invalid(`The artifact path ${quote(path)} ends with /; expected the name of a file.`);
  return path;
}

/** As an attachment and in a sandbox: a page or drawing that somebody logged must not run as one of ours. */
function sendFile(reply: FastifyReply, file: ArtifactFile): FastifyReply {
  const plain = file.name.replaceAll(/[^\x20-\x7e]|["\\]/g, "_");
  return reply
    .header("content-type", mediaType(file.name))
    .header("content-length", file.sizeBytes)
    .header("content-security-policy", sandbox)
    .header("content-disposition", `attachment; filename="${plain}"; filename*=UTF-8''${encodeURIComponent(file.name)}`)
    .send(file.open());
}
