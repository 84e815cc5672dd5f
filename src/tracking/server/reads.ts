import type { LineChartSeries } from "../../charts/line-chart.ts";
import { parseExperimentId } from "./names.ts";
import { nextPageToken, readPageToken, type Page } from "./search/page-token.ts";
import type { ExperimentSearch } from "./store/experiments.ts";
import type { LoggedModelSearch } from "./store/logged-models.ts";
import type { PointPlace } from "./store/metrics.ts";
import type { RegistrySearch } from "./store/registry-search.ts";
import type { RunSearch } from "./store/search-runs.ts";
import type { TrackingStore } from "./store/tracking-store.ts";

/** What can be asked of a store whose answer is as large, or takes as long, as clients made it. */
export type Read =
  | { readonly kind: "run"; readonly runId: string }
  | { readonly kind: "logged model"; readonly modelId: string; readonly allowDeleted: boolean }
  | { readonly kind: "experiments"; readonly search: ExperimentSearch }
  | { readonly kind: "data sets"; readonly experimentIds: readonly string[] }
  | { readonly kind: "runs"; readonly search: RunSearch }
  | { readonly kind: "logged models"; readonly search: LoggedModelSearch }
  | { readonly kind: "registered models"; readonly search: RegistrySearch }
  | { readonly kind: "model versions"; readonly search: RegistrySearch }
  | {
      readonly kind: "history";
      readonly runId: string;
      readonly key: string;
      readonly maxResults: number;
      readonly pageToken?: string | undefined;
    }
  | { readonly kind: "whole history"; readonly runId: string; readonly key: string; readonly after?: PointPlace | undefined }
  | { readonly kind: "histories"; readonly runIds: readonly string[]; readonly key: string; readonly maxResults?: number | undefined }
  | {
      readonly kind: "sampled histories";
      readonly runIds: readonly string[];
      readonly key: string;
      readonly maxResults: number;
      readonly steps?: readonly [from: number, to: number] | undefined;
    }
  /** Drawn as SVG: the drawing library takes longer to load than a request may wait for others. */
  | { readonly kind: "chart"; readonly runIds: readonly string[]; readonly key: string };

export interface ReadAnswer {
  /** JSON, or SVG; of a part of a whole history only its points, with commas between them. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** The last point of a part that is not the last one. */
  readonly after?: PointPlace;
}

/** A page ends before this size is exceeded, and its token says where the next one begins. */
const maxPageBytes = 16 * 1024 * 1024;
/** Points of a page of a history. */
const maxPagePoints = 100_000;
/** Points of a line of a chart. */
const pointsPerChart = 600;
/** Points of one part of a whole history: a tenth of a second, and two megabytes. */
const pointsPerPart = 25_000;

/** Answers from one state of the store, also while others write to it. Throws what the store throws. */
export function answerRead(store: TrackingStore, read: Read): ReadAnswer | Promise<ReadAnswer> {
  return store.db.read(() => answer(store, read));
}

function answer(store: TrackingStore, read: Read): ReadAnswer | Promise<ReadAnswer> {
  const { runs, experiments, loggedModels, registeredModels, modelVersions } = store;
  switch (read.kind) {
    case "run":
      return whole({ run: runs.get(read.runId) });
    case "logged model":
      return whole({ model: loggedModels.get(read.modelId, read.allowDeleted) });
    case "experiments":
      return page("experiments", experiments.search(read.search), read.search.pageToken);
    case "data sets": {
      const summaries = read.experimentIds.flatMap((id) => runs.links.summaries(parseExperimentId(id)));
      return whole(summaries.length > 0 ? { dataset_summaries: summaries } : {});
    }
    case "runs":
      return page("runs", runs.searchJson(read.search), read.search.pageToken);
    case "logged models":
      return page("models", loggedModels.search(read.search), read.search.pageToken);
    case "registered models":
      return page("registered_models", registeredModels.search(read.search), read.search.pageToken);
    case "model versions":
      return page("model_versions", modelVersions.search(read.search), read.search.pageToken);
    case "history": {
      const { runId, key, maxResults, pageToken } = read;
      return page("metrics", runs.metrics.history(runId, key, Math.min(maxResults, maxPagePoints), pageToken), pageToken);
    }
    case "whole history": {
      const points = runs.metrics.historyAfter(read.runId, read.key, read.after, pointsPerPart);
      const json = Buffer.from(points.map((point) => JSON.stringify(point)).join());
      const last = points.length === pointsPerPart ? points.at(-1) : undefined;
      return { body: own(json), ...(last !== undefined && { after: last }) };
    }
    case "histories":
      return whole({ metrics: runs.metrics.historyOfRuns(read.runIds, read.key, read.maxResults) });
    case "sampled histories": {
      const { runIds, key, maxResults, steps } = read;
      const points = [...new Set(runIds)].flatMap((runId) =>
        runs.metrics.sample(runId, key, maxResults, steps).map((point) => ({ ...point, run_id: runId })),
      );
      return whole(points.length > 0 ? { metrics: points } : {});
    }
    default:
      return drawChart(read.key, chartSeries(store, read.runIds, read.key));
  }
}

function chartSeries({ runs }: TrackingStore, runIds: readonly string[], key: string): LineChartSeries[] {
  return runIds.map((id, colour) => ({
    name: runs.info(id).run_name,
    points: runs.metrics
      .sample(id, key, pointsPerChart)
      .flatMap(({ step, value }) => (value === "NaN" || Math.abs(value) === Number.MAX_VALUE ? [] : [[step, value] as const])),
    colour,
    dashed: false,
  }));
}

async function drawChart(title: string, series: readonly LineChartSeries[]): Promise<ReadAnswer> {
  const [{ chartSvg }, { lineChart }] = await Promise.all([import("../../charts/svg.ts"), import("../../charts/line-chart.ts")]);
  return { body: own(Buffer.from(chartSvg(lineChart({ title, xName: "step", yName: "", series })))) };
}

function whole(answer: object): ReadAnswer {
  return { body: own(Buffer.from(JSON.stringify(answer))) };
}

/** `{"runs":[…],"next_page_token":"…"}`, each member only where there is something in it. Items that are bytes are JSON already. */
function page(name: string, { items, token }: Page<object, Iterable<object>>, pageToken: string | undefined): ReadAnswer {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  let next = token;
  let count = 0;
  for (const item of items) {
    const json = item instanceof Uint8Array ? item : Buffer.from(JSON.stringify(item));
    if (count > 0 && bytes + json.length > maxPageBytes) {
      next = nextPageToken(readPageToken(pageToken) + count);
      break;
    }
    parts.push(count === 0 ? Buffer.from(`"${name}":[`) : comma, json);
    bytes += json.length;
    count++;
  }
  if (count > 0) parts.push(Buffer.from("]"));
  if (next !== undefined) parts.push(Buffer.from(`${count > 0 ? "," : ""}"next_page_token":${JSON.stringify(next)}`));
  return { body: own(Buffer.concat([Buffer.from("{"), ...parts, Buffer.from("}")])) };
}

const comma = Buffer.from(",");

/** Bytes that have their memory to themselves, so that they can move to another thread: Node keeps small buffers together. */
function own(buffer: Buffer): Uint8Array<ArrayBuffer> {
  const { buffer: memory, byteOffset, byteLength } = buffer as Buffer<ArrayBuffer>;
  return memory.byteLength === byteLength ? new Uint8Array(memory) : new Uint8Array(memory.slice(byteOffset, byteOffset + byteLength));
}
