import Type from "typebox";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { invalid } from "../refusal.ts";
import { checkMaxResults } from "../search/page-token.ts";
import { PageToken, Required, Whole } from "../schemas.ts";

const maxRuns = 100;
const maxPointsPerRun = 2500;

/** Histories of metrics: all points of one run, or those of several for a chart. */
export function registerMetrics(app: TrackingApp, { store }: TrackingContext): void {
  const { runs } = store;
  const History = Type.Object({ run_id: Required, metric_key: Required, max_results: Whole, page_token: PageToken });
  app.get("/metrics/get-history", { schema: { querystring: History } }, ({ query }) => {
    const { max_results: maxResults } = query;
    if (maxResults !== undefined) checkMaxResults(maxResults, Number.MAX_SAFE_INTEGER - 1);
    const { items, token } = runs.metrics.history(query.run_id, query.metric_key, maxResults, query.page_token);
    return { ...(items.length > 0 && { metrics: items }), ...(token !== undefined && { next_page_token: token }) };
  });
  const Bulk = Type.Object({ run_id: Type.Array(Type.String({ maxLength: 300 })), metric_key: Required, max_results: Whole });
  app.get("/metrics/get-history-bulk", { schema: { querystring: Bulk } }, ({ query }) => {
    checkRuns("run_id", query.run_id);
    if (query.max_results !== undefined) checkMaxResults(query.max_results, Number.MAX_SAFE_INTEGER);
    return { metrics: runs.metrics.historyOfRuns(query.run_id, query.metric_key, query.max_results) };
  });
  const Interval = Type.Object({
    run_ids: Type.Array(Type.String({ maxLength: 300 })),
    metric_key: Required,
    start_step: Whole,
    end_step: Whole,
    max_results: Type.Integer({ default: maxPointsPerRun, minimum: 1, maximum: maxPointsPerRun }),
  });
  app.get("/metrics/get-history-bulk-interval", { schema: { querystring: Interval } }, ({ query }) => {
    const { run_ids: runIds, metric_key: key, start_step: from, end_step: to, max_results: maxResults } = query;
    checkRuns("run_ids", runIds);
    if ((from === undefined) !== (to === undefined)) throw invalid("start_step and end_step: expected both or none.");
    if (from !== undefined && to !== undefined && from > to) throw invalid(`end_step ${to} is before start_step ${from}.`);
    const steps = from === undefined || to === undefined ? undefined : ([from, to] as const);
    const ids = runIds.map((runId) => [runId, runs.idOf(runId)] as const);
    const points = ids.flatMap(([runId, id]) =>
      runs.metrics.sample(id, key, maxResults, steps).map((point) => ({ ...point, run_id: runId })),
    );
    return points.length > 0 ? { metrics: points } : {};
  });
}

function checkRuns(name: string, runIds: readonly string[]): void {
  if (runIds.length === 0 || runIds.length > maxRuns) throw invalid(`${name}: expected 1 to ${maxRuns}, got ${runIds.length}.`);
}
