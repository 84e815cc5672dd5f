import type { TrackingContext } from "../context.ts";
import type { Run } from "../store/runs.ts";
import { html, link, type Html } from "./html.ts";

/** Metrics, params, tags and inputs of a run on a page. */
export const maxRows = 1000;

/** A chart for each metric that is a curve in one of the runs. */
export function curves(runs: readonly Run[], { store }: TrackingContext): Html | false {
  const keys = [...new Set(runs.flatMap(({ info }) => store.runs.metrics.curves(store.runs.idOf(info.run_id), maxRows)))];
  const ids = runs.map(({ info }) => info.run_id);
  if (keys.length === 0) return false;
  return html`<h2>Curves</h2>
    <div class="grid">
      ${keys.map((metric) => html`<img class="chart" loading="lazy" width="640" height="380" src="${link("/chart", { run: ids, metric })}" alt="${`Curve of ${metric}`}" />`)}
    </div>`;
}
