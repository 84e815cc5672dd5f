import Type from "typebox";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { invalid } from "../refusal.ts";
import { checkMaxResults } from "../search/page-token.ts";
import { PageToken, Required, Whole } from "../schemas.ts";
import { sendHistory, sendRead } from "./read-answer.ts";

const maxRuns = 100;
const maxPointsPerRun = 2500;

/** Histories of metrics: all points of one run, or those of several for a chart. */
export function registerMetrics(app: TrackingApp, { reader }: TrackingContext): void {
  const History = Type.Object({ run_id: Required, metric_key: Required, max_results: Whole, page_token: PageToken });
  app.get("/metrics/get-history", { schema: { querystring: History } }, async ({ query }, reply) => {
    const { run_id: runId, metric_key: key, max_results: maxResults, page_token: pageToken } = query;
    if (maxResults === undefined) return await sendHistory(reply, reader, runId, key);
    checkMaxResults(maxResults, Number.MAX_SAFE_INTEGER - 1);
    return await sendRead(reply, reader, { kind: "history", runId, key, maxResults, pageToken });
  });
  const Bulk = Type.Object({ run_id: Type.Array(Type.String({ maxLength: 300 })), metric_key: Required, max_results: Whole });
  app.get("/metrics/get-history-bulk", { schema: { querystring: Bulk } }, async ({ query }, reply) => {
    checkRuns("run_id", query.run_id);
    const { run_id: runIds, metric_key: key, max_results: maxResults } = query;
    if (maxResults !== undefined) checkMaxResults(maxResults, Number.MAX_SAFE_INTEGER);
    return await sendRead(reply, reader, { kind: "histories", runIds, key, maxResults });
  });
  const Interval = Type.Object({
    run_ids: Type.Array(Type.String({ maxLength: 300 })),
    metric_key: Required,
    start_step: Whole,
    end_step: Whole,
    max_results: Type.Integer({ default: maxPointsPerRun, minimum: 1, maximum: maxPointsPerRun }),
  });
  app.get("/metrics/get-history-bulk-interval", { schema: { querystring: Interval } }, async ({ query }, reply) => {
    const { run_ids: runIds, metric_key: key, start_step: from, end_step: to, max_results: maxResults } = query;
    checkRuns("run_ids", runIds);
    if ((from === undefined) !== (to === undefined)) throw invalid("start_step and end_step: expected both or none.");
    if (from !== undefined && to !== undefined && from > to) throw invalid(`end_step ${to} is before start_step ${from}.`);
    const steps = from === undefined || to === undefined ? undefined : ([from, to] as const);
    return await sendRead(reply, reader, { kind: "sampled histories", runIds, key, maxResults, steps });
  });
}

function checkRuns(name: string, runIds: readonly string[]): void {
  if (runIds.length === 0 || runIds.length > maxRuns) throw invalid(`${name}: expected 1 to ${maxRuns}, got ${runIds.length}.`);
}
