import type { FileInfo } from "../artifact-folder.ts";
import type { TrackingContext } from "../context.ts";
import { isPicture } from "../routes/media-type.ts";
import type { Run } from "../store/runs.ts";
import { curves, maxRows } from "./curves.ts";
import { showDuration, showNumber, showSize, showTime } from "./format.ts";
import { html, link, type Html } from "./html.ts";
import { table } from "./layout.ts";

const noteTag = "mlflow.note.content";

/** A run with its curves, pictures, values and files. */
export function runPage(run: Run, files: readonly FileInfo[], context: TrackingContext): Html {
  return html`${head(run, context)} ${curves([run], context)} ${pictures(run, files)} ${metrics(run)} ${params(run)} ${data(run)}
  ${models(run, context)} ${fileTable(run, files)} ${tags(run)}`;
}

function head({ info, data: { tags: noted } }: Run, { store }: TrackingContext): Html {
  const note = noted?.find(({ key }) => key === noteTag)?.value;
  return html`<p class="soft"><a href="${`/experiments/${info.experiment_id}`}">${store.experiments.get(info.experiment_id).name}</a></p>
    <h1>
      ${info.run_name}
      <span class="badge ${info.status}">${info.status}</span
      >${info.lifecycle_stage === "deleted" && html` <span class="badge">deleted</span>`}
    </h1>
    <p class="soft">
      ${info.run_id} · ${showTime(info.start_time)} UTC ·
      ${showDuration(info.start_time, info.end_time) || "not ended"}${info.user_id !== "" && html` · ${info.user_id}`}
    </p>
    ${note !== undefined && html`<p>${note}</p>`}`;
}

function fileLink({ info }: Run, path: string): string {
  return link("/get-artifact", { run_id: info.run_id, path });
}

function pictures(run: Run, files: readonly FileInfo[]): Html | false {
  // The same picture is often logged in a form for print as well.
  const drawn = new Set(files.map(({ path }) => path));
  const shown = files.filter(({ path }) => isPicture(path) && !(path.endsWith(".svg") && drawn.has(path.replace(/svg$/, "png"))));
  if (shown.length === 0) return false;
  return html`<h2>Pictures</h2>
    <div class="grid">
      ${shown.map(
        ({ path }) =>
          html`<figure>
            <a href="${fileLink(run, path)}"><img loading="lazy" src="${fileLink(run, path)}" alt="${path}" /></a>
            <figcaption>${path}</figcaption>
          </figure>`,
      )}
    </div>`;
}

function metrics(run: Run): Html | false {
  const rows = (run.data.metrics ?? []).map(
    ({ key, value, step }) =>
      html`<tr>
        <td class="wide">${key}</td>
        <td class="number">${showNumber(value)}</td>
        <td class="number">${step}</td>
      </tr>`,
  );
  return section(
    "Metrics",
    rows,
    html`<tr>
      <th>name</th>
      <th>latest value</th>
      <th>step</th>
    </tr>`,
  );
}

function params(run: Run): Html | false {
  return nameValues("Parameters", run.data.params ?? []);
}

function tags(run: Run): Html | false {
  const shown = (run.data.tags ?? []).filter(({ key }) => key !== noteTag);
  return nameValues(
    "Tags",
    shown.map(({ key, value }) => ({ key, value: value.slice(0, 1000) })),
  );
}

function nameValues(title: string, pairs: readonly { readonly key: string; readonly value: string }[]): Html | false {
  const rows = pairs.map(
    ({ key, value }) =>
      html`<tr>
        <td>${key}</td>
        <td class="wide">${value}</td>
      </tr>`,
  );
  return section(
    title,
    rows,
    html`<tr>
      <th>name</th>
      <th class="wide">value</th>
    </tr>`,
  );
}

function data(run: Run): Html | false {
  const rows = (run.inputs.dataset_inputs ?? []).map(
    ({ dataset, tags: uses = [] }) =>
      html`<tr>
        <td>${dataset.name}</td>
        <td>${dataset.digest}</td>
        <td>${uses.map(({ value }) => value).join(", ")}</td>
        <td class="wide">${dataset.source}</td>
      </tr>`,
  );
  return section(
    "Data",
    rows,
    html`<tr>
      <th>name</th>
      <th>digest</th>
      <th>used for</th>
      <th class="wide">source</th>
    </tr>`,
  );
}

function models(run: Run, context: TrackingContext): Html | false {
  const rows = (run.outputs.model_outputs ?? []).map(
    ({ model_id: id, step }) =>
      html`<tr>
        <td>${modelName(context, id)}</td>
        <td>${id}</td>
        <td class="number">${step}</td>
      </tr>`,
  );
  return section(
    "Models",
    rows,
    html`<tr>
      <th>name</th>
      <th>id</th>
      <th>step</th>
    </tr>`,
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

function fileTable(run: Run, files: readonly FileInfo[]): Html | false {
  const rows = files.map(
    ({ path, file_size: size = 0 }) =>
      html`<tr>
        <td class="wide"><a href="${fileLink(run, path)}">${path}</a></td>
        <td class="number">${showSize(size)}</td>
      </tr>`,
  );
  return section(
    "Files",
    rows,
    html`<tr>
      <th class="wide">path</th>
      <th>size</th>
    </tr>`,
  );
}

function section(title: string, rows: readonly Html[], columns: Html): Html | false {
  return (
    rows.length > 0 &&
    html`<h2>${title}</h2>
      ${rows.length >= maxRows && html`<p class="soft">The first ${maxRows} are shown; the API has all of them.</p>`}
      ${table(columns, rows)}`
  );
}
