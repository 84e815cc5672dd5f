import type { TrackingContext } from "../context.ts";
import type { Run } from "../store/runs.ts";
import { curves } from "./curves.ts";
import { showDuration, showNumber, showTime } from "./format.ts";
import { html, type Html } from "./html.ts";
import { table } from "./layout.ts";

/** Runs side by side. */
export function comparePage(runs: readonly Run[], context: TrackingContext): Html {
  if (runs.length < 2) {
    return html`<h1>Compare runs</h1>
      <p>Choose at least two runs in the table of an experiment.</p>`;
  }
  const head = html`<tr>
    <th></th>
    ${runs.map(({ info }) => html`<th><a href="${`/runs/${info.run_id}`}">${info.run_name}</a></th>`)}
  </tr>`;
  const metrics = runs.map(({ data }) => new Map((data.metrics ?? []).map(({ key, value }) => [key, showNumber(value)])));
  const params = runs.map(({ data }) => new Map((data.params ?? []).map(({ key, value }) => [key, value])));
  const facts = runs.map(
    ({ info }) =>
      new Map([
        ["status", info.status as string],
        ["started (UTC)", showTime(info.start_time)],
        ["took", showDuration(info.start_time, info.end_time)],
      ]),
  );
  return html`<h1>${runs.length} runs side by side</h1>
    <p class="soft">Differences are highlighted.</p>
    ${table(head, comparedRows(facts))}
    <h2>Metrics</h2>
    ${table(head, comparedRows(metrics))}
    <h2>Parameters</h2>
    ${table(head, comparedRows(params))}${curves(runs, context)}`;
}

function comparedRows(values: readonly ReadonlyMap<string, string>[]): Html[] {
  const keys = [...new Set(values.flatMap((map) => [...map.keys()]))];
  return keys.map((key) => {
    const cells = values.map((map) => map.get(key) ?? "");
    return html`<tr class="${new Set(cells).size > 1 ? "differs" : ""}">
      <td>${key}</td>
      ${cells.map((cell) => html`<td class="wide">${cell}</td>`)}
    </tr>`;
  });
}
