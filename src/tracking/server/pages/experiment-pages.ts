import type { FastifyReply } from "fastify";
import Type from "typebox";
import { ServalError } from "../../../errors/serval-error.ts";
import type { TrackingApp, TrackingContext } from "../context.ts";
import type { Page } from "../search/page-token.ts";
import type { Run } from "../store/runs.ts";
import { showDuration, showNumber, showTime } from "./format.ts";
import { html, link, type Html } from "./html.ts";
import { sendPage, table } from "./layout.ts";

const runsPerPage = 50;
/** Metrics and params of a run, among which the columns of the table are chosen. */
const valuesPerRun = 500;
/** Columns that fit; the page of a run has all. */
const maxMetricColumns = 6;
const maxParamColumns = 4;

interface TableState {
  readonly filter: string;
  readonly order: string;
  readonly page: string;
}

/** `/`: all experiments. `/experiments/ID`: the runs of one, to filter, sort and compare. */
export function registerExperimentPages(app: TrackingApp, { store }: TrackingContext): void {
  app.get("/", (_request, reply) => {
    const { items } = store.experiments.search({ maxResults: 1000, orderBy: ["last_update_time DESC"] });
    const counts = store.db.all(
      "SELECT experiment, count(*) AS runs, max(start_time) AS last FROM runs WHERE lifecycle_stage = 'active' GROUP BY experiment",
    );
    const rows = items.map((experiment) => {
      const count = counts.find((row) => String(row["experiment"]) === experiment.experiment_id);
      return html`<tr>
        <td class="wide"><a href="${`/experiments/${experiment.experiment_id}`}">${experiment.name}</a></td>
        <td class="number">${Number(count?.["runs"] ?? 0)}</td>
        <td>${showTime(Number(count?.["last"] ?? 0))}</td>
      </tr>`;
    });
    return sendPage(
      reply,
      "Experiments",
      html`<h1>Experiments</h1>
        ${table(
          html`<tr>
            <th>name</th>
            <th>runs</th>
            <th>last run (UTC)</th>
          </tr>`,
          rows,
        )}`,
    );
  });

  const Query = Type.Object({
    filter: Type.String({ default: "" }),
    order: Type.String({ default: "" }),
    page: Type.String({ default: "" }),
  });
  app.get(
    "/experiments/:id",
    { schema: { params: Type.Object({ id: Type.String() }), querystring: Query } },
    ({ params, query }, reply): FastifyReply => {
      const experiment = store.experiments.get(params.id);
      let found: Page<Run> = { items: [], token: undefined };
      let problem: string | undefined;
      try {
        const search = {
          experimentIds: [experiment.experiment_id],
          filter: query.filter.trim(),
          orderBy: query.order === "" ? [] : [query.order],
          maxResults: runsPerPage,
          pageToken: query.page,
        };
        found = store.runs.search(search, valuesPerRun);
      } catch (error) {
        if (!(error instanceof ServalError)) throw error;
        problem = error.message;
      }
      const path = `/experiments/${experiment.experiment_id}`;
      return sendPage(
        reply,
        experiment.name,
        html`<h1>${experiment.name}</h1>
          <form class="bar" method="get" action="${path}">
            <input
              type="text"
              name="filter"
              value="${query.filter}"
              aria-label="Filter"
              placeholder="metrics.val_accuracy &gt; 0.9 AND params.\`train.epochs\` = '14'"
            />
            <input type="hidden" name="order" value="${query.order}" /><button>Filter</button>
          </form>
          ${problem !== undefined && html`<p class="error">${problem}</p>`}
          ${found.items.length > 0 ? runsTable(found.items, path, query) : html`<p class="soft">No matching runs.</p>`}
          <p>
            ${query.page !== "" && html`<a href="${link(path, { ...query, page: "" })}">First page</a> `}${
              found.token !== undefined && html`<a href="${link(path, { ...query, page: found.token })}">Next ${runsPerPage} runs</a>`
            }
          </p>`,
      );
    },
  );
}

function runsTable(runs: readonly Run[], path: string, state: TableState): Html {
  const metrics = mostTelling(runs.map(({ data }) => data.metrics)).slice(0, maxMetricColumns);
  const params = mostTelling(runs.map(({ data }) => data.params)).slice(0, maxParamColumns);
  const sorter = (label: string, name: string): Html => {
    const descending = state.order === `${name} DESC`;
    const mark = descending ? " ↓" : state.order === `${name} ASC` ? " ↑" : "";
    return html`<a href="${link(path, { filter: state.filter, order: `${name} ${descending ? "ASC" : "DESC"}` })}">${label}${mark}</a>`;
  };
  const head = html`<tr>
    <th></th>
    <th>${sorter("run", "attributes.run_name")}</th>
    <th>${sorter("status", "attributes.status")}</th>
    <th>${sorter("started (UTC)", "attributes.start_time")}</th>
    <th>took</th>
    ${metrics.map((key) => html`<th>${sorter(key, `metrics.\`${key}\``)}</th>`)}${params.map((key) => html`<th>${sorter(key, `params.\`${key}\``)}</th>`)}
  </tr>`;
  const rows = runs.map(({ info, data }) => {
    const metric = new Map(data.metrics?.map(({ key, value }) => [key, value]));
    const param = new Map(data.params?.map(({ key, value }) => [key, value]));
    return html`<tr>
      <td><input type="checkbox" name="run" value="${info.run_id}" aria-label="${`Compare ${info.run_name}`}" /></td>
      <td><a href="${`/runs/${info.run_id}`}">${info.run_name}</a></td>
      <td><span class="badge ${info.status}">${info.status}</span></td>
      <td>${showTime(info.start_time)}</td>
      <td>${showDuration(info.start_time, info.end_time)}</td>
      ${metrics.map((key) => html`<td class="number">${showNumber(metric.get(key))}</td>`)}${params.map((key) => html`<td>${shorten(param.get(key) ?? "")}</td>`)}
    </tr>`;
  });
  return html`<form method="get" action="/compare">
    ${table(head, rows)}
    <p><button>Compare selected runs</button></p>
  </form>`;
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}

/** Names whose values differ between the runs come first, because the others tell nothing here; then those that more runs have. */
function mostTelling(runs: readonly (readonly { readonly key: string; readonly value: unknown }[] | undefined)[]): string[] {
  const found = new Map<string, unknown[]>();
  for (const { key, value } of runs.flatMap((pairs) => pairs ?? [])) found.set(key, [...(found.get(key) ?? []), value]);
  const differs = (values: readonly unknown[]): number => Number(new Set(values).size > 1);
  return [...found].sort(([, a], [, b]) => differs(b) - differs(a) || b.length - a.length).map(([key]) => key);
}
