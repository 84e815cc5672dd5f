import Type from "typebox";
import type { FileInfo } from "../artifacts.ts";
import { storedPath } from "../artifact-path.ts";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { isPicture } from "../routes/media-type.ts";
import type { Run } from "../store/runs.ts";
import { showDuration, showNumber, showSize, showTime } from "./format.ts";
import { html, link, type Html } from "./html.ts";
import { sendPage, table } from "./layout.ts";

const maxCompared = 8;
const maxFiles = 500;
/** Metrics, params, tags and inputs of a run on a page. */
const maxRows = 1000;
const noteTag = "mlflow.note.content";

/** `/runs/ID`: a run with its curves, params, pictures and files. `/compare`: runs side by side. `/chart`: one curve. */
export function registerRunPages(app: TrackingApp, context: TrackingContext): void {
  const { runs } = context.store;
  app.get("/runs/:id", { schema: { params: Type.Object({ id: Type.String() }) } }, async ({ params }, reply) => {
    const run = runs.overview(params.id, maxRows);
    const { info, data } = run;
    const root = storedPath(info.artifact_uri);
    const files = root === undefined ? [] : await listAll(context, root);
    // The same picture is often logged in a form for print as well.
    const drawn = new Set(files.map(({ path }) => path));
    const pictures = files.filter(({ path }) => isPicture(path) && !(path.endsWith(".svg") && drawn.has(path.replace(/svg$/, "png"))));
    const file = (path: string): string => link("/get-artifact", { run_id: info.run_id, path });
    const models = run.outputs.model_outputs ?? [];
    const experiment = context.store.experiments.get(info.experiment_id);
    const note = data.tags?.find(({ key }) => key === noteTag)?.value;
    return sendPage(
      reply,
      info.run_name,
      html`<p class="soft"><a href="${`/experiments/${info.experiment_id}`}">${experiment.name}</a></p>
        <h1>
          ${info.run_name}
          <span class="badge ${info.status}">${info.status}</span
          >${info.lifecycle_stage === "deleted" && html` <span class="badge">deleted</span>`}
        </h1>
        <p class="soft">
          ${info.run_id} · ${showTime(info.start_time)} UTC ·
          ${showDuration(info.start_time, info.end_time) || "not ended"}${info.user_id !== "" && html` · ${info.user_id}`}
        </p>
        ${note !== undefined && html`<p>${note}</p>`} ${curves([run], context)}
        ${
          pictures.length > 0 &&
          html`<h2>Pictures</h2>
            <div class="grid">
              ${pictures.map(
                ({ path }) =>
                  html`<figure>
                    <a href="${file(path)}"><img loading="lazy" src="${file(path)}" alt="${path}" /></a>
                    <figcaption>${path}</figcaption>
                  </figure>`,
              )}
            </div>`
        }
        ${section(
          "Metrics",
          (data.metrics ?? []).map(
            ({ key, value, step }) =>
              html`<tr>
                <td class="wide">${key}</td>
                <td class="number">${showNumber(value)}</td>
                <td class="number">${step}</td>
              </tr>`,
          ),
          html`<tr>
            <th>name</th>
            <th>latest value</th>
            <th>step</th>
          </tr>`,
        )}
        ${section(
          "Parameters",
          (data.params ?? []).map(
            ({ key, value }) =>
              html`<tr>
                <td>${key}</td>
                <td class="wide">${value}</td>
              </tr>`,
          ),
          html`<tr>
            <th>name</th>
            <th class="wide">value</th>
          </tr>`,
        )}
        ${section(
          "Data",
          (run.inputs.dataset_inputs ?? []).map(
            ({ dataset, tags = [] }) =>
              html`<tr>
                <td>${dataset.name}</td>
                <td>${dataset.digest}</td>
                <td>${tags.map(({ value }) => value).join(", ")}</td>
                <td class="wide">${dataset.source}</td>
              </tr>`,
          ),
          html`<tr>
            <th>name</th>
            <th>digest</th>
            <th>used for</th>
            <th class="wide">source</th>
          </tr>`,
        )}
        ${section(
          "Models",
          models.map(
            ({ model_id: id, step }) =>
              html`<tr>
                <td>${modelName(context, id)}</td>
                <td>${id}</td>
                <td class="number">${step}</td>
              </tr>`,
          ),
          html`<tr>
            <th>name</th>
            <th>id</th>
            <th>step</th>
          </tr>`,
        )}
        ${section(
          "Files",
          files.map(
            ({ path, file_size: size = 0 }) =>
              html`<tr>
                <td class="wide"><a href="${file(path)}">${path}</a></td>
                <td class="number">${showSize(size)}</td>
              </tr>`,
          ),
          html`<tr>
            <th class="wide">path</th>
            <th>size</th>
          </tr>`,
        )}
        ${section(
          "Tags",
          (data.tags ?? [])
            .filter(({ key }) => key !== noteTag)
            .map(
              ({ key, value }) =>
                html`<tr>
                  <td>${key}</td>
                  <td class="wide">${value.slice(0, 1000)}</td>
                </tr>`,
            ),
          html`<tr>
            <th>name</th>
            <th class="wide">value</th>
          </tr>`,
        )}`,
    );
  });

  const Runs = Type.Object({ run: Type.Array(Type.String(), { default: [] }) });
  app.get("/compare", { schema: { querystring: Runs } }, ({ query }, reply) => {
    const ids = [...new Set(query.run)].slice(0, maxCompared);
    const chosen = ids.map((id) => runs.overview(id, maxRows));
    if (chosen.length < 2)
      return sendPage(
        reply,
        "Compare",
        html`<h1>Compare runs</h1>
          <p>Choose two runs or more in the table of an experiment.</p>`,
      );
    const head = html`<tr>
      <th></th>
      ${chosen.map(({ info }) => html`<th><a href="${`/runs/${info.run_id}`}">${info.run_name}</a></th>`)}
    </tr>`;
    const rows = (values: readonly ReadonlyMap<string, string>[]): Html[] => {
      const keys = [...new Set(values.flatMap((map) => [...map.keys()]))];
      return keys.map((key) => {
        const cells = values.map((map) => map.get(key) ?? "");
        return html`<tr class="${new Set(cells).size > 1 ? "differs" : ""}">
          <td>${key}</td>
          ${cells.map((cell) => html`<td class="wide">${cell}</td>`)}
        </tr>`;
      });
    };
    const metrics = chosen.map(({ data }) => new Map((data.metrics ?? []).map(({ key, value }) => [key, showNumber(value)])));
    const params = chosen.map(({ data }) => new Map((data.params ?? []).map(({ key, value }) => [key, value])));
    const facts = chosen.map(
      ({ info }) =>
        new Map([
          ["status", info.status as string],
          ["started (UTC)", showTime(info.start_time)],
          ["took", showDuration(info.start_time, info.end_time)],
        ]),
    );
    return sendPage(
      reply,
      "Compare",
      html`<h1>${chosen.length} runs side by side</h1>
        <p class="soft">What differs is marked.</p>
        ${table(head, rows(facts))}
        <h2>Metrics</h2>
        ${table(head, rows(metrics))}
        <h2>Parameters</h2>
        ${table(head, rows(params))}${curves(chosen, context)}`,
    );
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

/** A chart for each metric that is a curve in one of the runs. */
function curves(runs: readonly Run[], { store }: TrackingContext): Html | false {
  const keys = [...new Set(runs.flatMap(({ info }) => store.runs.metrics.curves(store.runs.idOf(info.run_id), maxRows)))];
  const ids = runs.map(({ info }) => info.run_id);
  if (keys.length === 0) return false;
  return html`<h2>Curves</h2>
    <div class="grid">
      ${keys.map((metric) => html`<img class="chart" loading="lazy" width="640" height="380" src="${link("/chart", { run: ids, metric })}" alt="${`Curve of ${metric}`}" />`)}
    </div>`;
}

function section(title: string, rows: readonly Html[], head: Html): Html | false {
  return (
    rows.length > 0 &&
    html`<h2>${title}</h2>
      ${rows.length >= maxRows && html`<p class="soft">The first ${maxRows} are shown; the API has all of them.</p>`} ${table(head, rows)}`
  );
}

function modelName({ store }: TrackingContext, id: string): string {
  try {
    return store.loggedModels.get(id, true).info.name;
  } catch {
    // One that another server made.
    return "";
  }
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
