import Type from "typebox";
import { storedPath } from "../artifact-path.ts";
import type { FileInfo } from "../artifact-folder.ts";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { comparePage } from "./compare-page.ts";
import { maxRows } from "./curves.ts";
import { sendPage } from "./layout.ts";
import { runPage } from "./run-page.ts";

const maxCompared = 8;
const maxFiles = 500;

/** `/runs/ID`: a run with its curves, params, pictures and files. `/compare`: runs side by side. `/chart`: one curve. */
export function registerRunPages(app: TrackingApp, context: TrackingContext): void {
  const { runs } = context.store;
  app.get("/runs/:id", { schema: { params: Type.Object({ id: Type.String() }) } }, async ({ params }, reply) => {
    const run = runs.overview(params.id, maxRows);
    const root = storedPath(run.info.artifact_uri);
    const files = root === undefined ? [] : await listAll(context, root);
    return sendPage(reply, run.info.run_name, runPage(run, files, context));
  });

  const Runs = Type.Object({ run: Type.Array(Type.String(), { default: [] }) });
  app.get("/compare", { schema: { querystring: Runs } }, ({ query }, reply) => {
    const ids = [...new Set(query.run)].slice(0, maxCompared);
    const chosen = ids.map((id) => runs.overview(id, maxRows));
    return sendPage(reply, "Compare", comparePage(chosen, context));
  });

  const Chart = Type.Object({ run: Type.Array(Type.String(), { minItems: 1, maxItems: maxCompared }), metric: Type.String() });
  app.get("/chart", { schema: { querystring: Chart } }, async ({ query }, reply) => {
    const { body } = await context.reader.read({ kind: "chart", runIds: query.run, key: query.metric });
    return reply
      .type("image/svg+xml")
      .header("content-security-policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
      .send(Buffer.from(body.buffer));
  });
}

/** The files of a folder and those below it. */
async function listAll({ artifacts }: TrackingContext, root: string): Promise<FileInfo[]> {
  const files: FileInfo[] = [];
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined && files.length < maxFiles; folder = folders.pop()) {
    for (const info of await artifacts.list(`${root}/${folder}`)) {
      const path = folder === "" ? info.path : `${folder}/${info.path}`;
      if (info.is_dir) folders.push(path);
      else files.push({ ...info, path });
    }
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}
