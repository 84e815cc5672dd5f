import Type from "typebox";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { showTime } from "./format.ts";
import { html, type Html } from "./html.ts";
import { sendPage, table } from "./layout.ts";

/** `/models`: registered models. `/models/NAME`: the versions of one with their aliases. */
export function registerModelPages(app: TrackingApp, { store }: TrackingContext): void {
  const { registeredModels, modelVersions, runs } = store;
  app.get("/models", (_request, reply) => {
    const { items } = registeredModels.search({ maxResults: 1000 });
    const rows = items.map(
      (model) =>
        html`<tr>
          <td class="wide"><a href="${`/models/${encodeURIComponent(model.name)}`}">${model.name}</a></td>
          <td>${(model.latest_versions ?? []).map(({ version }) => version).at(-1)}</td>
          <td>${(model.aliases ?? []).map(({ alias, version }) => html`<span class="badge alias">${alias} → ${version}</span> `)}</td>
          <td>${showTime(model.last_updated_timestamp)}</td>
        </tr>`,
    );
    const list = table(
      html`<tr>
        <th>name</th>
        <th>newest version</th>
        <th>aliases</th>
        <th>changed (UTC)</th>
      </tr>`,
      rows,
    );
    return sendPage(
      reply,
      "Models",
      html`<h1>Registered models</h1>
        ${rows.length > 0 ? list : html`<p class="soft">None yet.</p>`}`,
    );
  });

  app.get("/models/:name", { schema: { params: Type.Object({ name: Type.String() }) } }, ({ params }, reply) => {
    const model = registeredModels.get(params.name);
    const filter = `name = '${params.name}'`;
    // A name with a quote in it cannot be searched for; MLflow's filters have no escapes.
    const { items } = params.name.includes("'")
      ? { items: model.latest_versions ?? [] }
      : modelVersions.search({ filter, maxResults: 1000, orderBy: ["version_number DESC"] });
    const rows = items.map(({ version, creation_timestamp: made, current_stage: stage, description, source, run_id: runId, tags = [] }) => {
      const aliases = (model.aliases ?? []).filter((alias) => alias.version === version);
      return html`<tr>
        <td class="number">${version}</td>
        <td>
          ${aliases.map(({ alias }) => html`<span class="badge alias">${alias}</span> `)}${stage !== "None" && html`<span class="badge">${stage}</span>`}
        </td>
        <td>${runLink(runId)}</td>
        <td>${showTime(made)}</td>
        <td class="wide">${description}${tags.map(({ key, value }) => html` <span class="badge">${key}: ${value}</span>`)}</td>
        <td class="wide soft">${source}</td>
      </tr>`;
    });
    const head = html`<tr>
      <th>version</th>
      <th>aliases</th>
      <th>run</th>
      <th>created (UTC)</th>
      <th class="wide">about</th>
      <th class="wide">source</th>
    </tr>`;
    return sendPage(
      reply,
      model.name,
      html`<h1>${model.name}</h1>
        ${model.description !== undefined && html`<p>${model.description}</p>`}${table(head, rows)}`,
    );
  });

  function runLink(runId: string): Html | string {
    try {
      return html`<a href="${`/runs/${runId}`}">${runs.info(runId).run_name}</a>`;
    } catch {
      // A version may be of another server's run, or of none.
      return runId;
    }
  }
}
