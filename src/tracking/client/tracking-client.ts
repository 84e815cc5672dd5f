import { ServalError } from "../../errors/serval-error.ts";
import { artifactClient, type ArtifactClient } from "./artifacts.ts";
import { connect, isRefusal, isUnknownEndpoint, type Connection, type ConnectionOptions } from "./connection.ts";
import type { Fields } from "./fields.ts";
import { readPages } from "./pages.ts";
import type { KeyValue } from "../key-value.ts";
import {
  nothing,
  toLoggedModel,
  toMetricPoint,
  toRunInfo,
  toRunRecord,
  toWireMetric,
  type LoggedModel,
  type MetricPoint,
  type RunInfo,
  type RunRecord,
  type RunStatus,
} from "./wire.ts";

export interface NewRun {
  readonly experimentId: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly startTime: number;
  readonly tags: readonly KeyValue[];
}

export interface Batch {
  readonly metrics?: readonly MetricPoint[];
  readonly params?: readonly KeyValue[];
  readonly tags?: readonly KeyValue[];
}

/** The data that a run used. */
export interface DatasetInput {
  readonly name: string;
  /** At most 36 characters: MLflow's column has no more. */
  readonly digest: string;
  /** Such as `local`, and the JSON that says where. */
  readonly sourceType: string;
  readonly source: string;
  /** JSON in MLflow's form for columns or tensors. */
  readonly schema: string;
  /** JSON: counts and the like. */
  readonly profile: string;
  /** What it was used for, such as `training`. */
  readonly context: string;
}

export interface NewLoggedModel {
  readonly experimentId: string;
  readonly name: string;
  readonly sourceRunId?: string;
  readonly tags: readonly KeyValue[];
  readonly params?: readonly KeyValue[];
}

/**
 * The MLflow REST API 2.0 as far as Serval speaks it (https://mlflow.org/docs/latest/rest-api.html). All throw
 * E_TRACKING_UNREACHABLE where trying again later makes sense, E_TRACKING_REFUSED where it does not. What logs a run
 * may be repeated without harm.
 */
export interface TrackingClient extends ArtifactClient {
  /** The server's address without credentials. */
  readonly server: string;
  /** The id of the experiment called `name`, which is made when it is not there. */
  ensureExperiment(name: string, signal?: AbortSignal): Promise<string>;
  /** The run of an experiment that carries a tag, if there is one. */
  findRun(experimentId: string, tag: KeyValue, signal?: AbortSignal): Promise<RunInfo | undefined>;
  createRun(run: NewRun, signal?: AbortSignal): Promise<RunInfo>;
  getRun(runId: string, signal?: AbortSignal): Promise<RunRecord>;
  logBatch(runId: string, batch: Batch, signal?: AbortSignal): Promise<void>;
  /** Every point of a metric, in the order of the server. */
  metricHistory(runId: string, key: string, signal?: AbortSignal): Promise<MetricPoint[]>;
  logInput(runId: string, input: DatasetInput, signal?: AbortSignal): Promise<void>;
  /** `endTime` in milliseconds since 1970. */
  updateRun(runId: string, status: RunStatus, endTime?: number, signal?: AbortSignal): Promise<void>;
  /** The logged model with this tag, if there is one; null where the server has no logged models (before MLflow 3). */
  findLoggedModel(experimentId: string, tag: KeyValue, signal?: AbortSignal): Promise<LoggedModel | null | undefined>;
  createLoggedModel(model: NewLoggedModel, signal?: AbortSignal): Promise<LoggedModel>;
  /** After its last file. */
  finalizeLoggedModel(modelId: string, signal?: AbortSignal): Promise<void>;
  /** Says that a run made a model. */
  logOutput(runId: string, modelId: string, step: number, signal?: AbortSignal): Promise<void>;
  /** The address of the run's page. */
  pageOf(run: RunInfo): string;
}

/** Limits of log-batch, from its documentation. */
const metricsPerBatch = 1000;
const pairsPerBatch = 100;
const historyPageSize = 25_000;

/** A client for the server at `uri`; the address may contain user and password. Throws E_ENV for an address that is not http(s). */
export function createTrackingClient(uri: string, options: ConnectionOptions = {}): TrackingClient {
  const connection = connect(uri, options);
  return { ...experimentCalls(connection), ...runCalls(connection), ...loggedModelCalls(connection), ...artifactClient(connection) };
}

function experimentCalls({ server, call }: Connection): Pick<TrackingClient, "server" | "ensureExperiment"> {
  const find = async (name: string, signal?: AbortSignal): Promise<string | undefined> => {
    try {
      const read = (answer: Fields): { id: string; stage: string | undefined } => {
        const experiment = answer.object("experiment");
        return { id: experiment.id("experiment_id"), stage: experiment.optionalText("lifecycle_stage") };
      };
      const { id, stage } = await call("GET", "experiments/get-by-name", { experiment_name: name }, read, signal);
      if (stage !== "deleted") return id;
    } catch (error) {
      if (isRefusal(error, "RESOURCE_DOES_NOT_EXIST")) return undefined;
      throw error;
    }
    throw new ServalError("E_TRACKING_REFUSED", `The experiment "${name}" on ${server} is deleted.`, {
      hint: "Restore it on the server (mlflow experiments restore), or change model.name.",
    });
  };
  return {
    server,
    async ensureExperiment(name, signal) {
      const found = await find(name, signal);
      if (found !== undefined) return found;
      try {
        return await call("POST", "experiments/create", { name }, (answer) => answer.id("experiment_id"), signal);
      } catch (error) {
        // Another training made it between the look and now.
        const other = isRefusal(error, "RESOURCE_ALREADY_EXISTS") ? await find(name, signal) : undefined;
        if (other === undefined) throw error;
        return other;
      }
    },
  };
}

type RunCalls = "findRun" | "createRun" | "getRun" | "logBatch" | "metricHistory" | "logInput" | "updateRun" | "pageOf";

function runCalls(connection: Connection): Pick<TrackingClient, RunCalls> {
  const { server, call } = connection;
  return {
    async findRun(experimentId, { key, value }, signal) {
      const filter = `tags.\`${key}\` = '${value}'`;
      const content = { experiment_ids: [experimentId], filter, max_results: 1 };
      const read = (answer: Fields): RunInfo | undefined => answer.list("runs", (run) => toRunInfo(run.object("info")))[0];
      return await call("POST", "runs/search", content, read, signal);
    },
    async createRun({ experimentId, name, startTime, tags }, signal) {
      const content = { experiment_id: experimentId, run_name: name, start_time: startTime, tags };
      return await call("POST", "runs/create", content, (answer) => toRunInfo(answer.object("run").object("info")), signal);
    },
    async getRun(runId, signal) {
      return await call("GET", "runs/get", { run_id: runId }, (answer) => toRunRecord(answer.object("run")), signal);
    },
    async logBatch(runId, { metrics = [], params = [], tags = [] }, signal) {
      const wire = metrics.map(toWireMetric);
      const rounds = Math.max(Math.ceil(wire.length / metricsPerBatch), Math.ceil(Math.max(params.length, tags.length) / pairsPerBatch));
      for (let i = 0; i < rounds; i++) {
        const part = <Item>(items: readonly Item[], size: number): readonly Item[] => items.slice(i * size, (i + 1) * size);
        const content = {
          run_id: runId,
          metrics: part(wire, metricsPerBatch),
          params: part(params, pairsPerBatch),
          tags: part(tags, pairsPerBatch),
        };
        await call("POST", "runs/log-batch", content, nothing, signal);
      }
    },
    async metricHistory(runId, key, signal) {
      const content = { run_id: runId, metric_key: key, max_results: String(historyPageSize) };
      const read = (metric: Fields): MetricPoint => toMetricPoint(metric, key);
      return await readPages(connection, "metrics/get-history", content, { key: "metrics", read }, signal);
    },
    async logInput(runId, { name, digest, sourceType, source, schema, profile, context }, signal) {
      const dataset = { name, digest, source_type: sourceType, source, schema, profile };
      const tags = [{ key: "mlflow.data.context", value: context }];
      const log = async (): Promise<unknown> =>
        await call("POST", "runs/log-inputs", { run_id: runId, datasets: [{ dataset, tags }] }, nothing, signal);
      await log().catch(async (error: unknown) => {
        // Of two runs that log the same new data set at once MLflow 3.17 refuses one (a unique constraint); then it is there.
        if (!(error instanceof ServalError) || error.code !== "E_TRACKING_REFUSED") throw error;
        await log();
      });
    },
    async updateRun(runId, status, endTime, signal) {
      await call("POST", "runs/update", { run_id: runId, status, ...(endTime !== undefined && { end_time: endTime }) }, nothing, signal);
    },
    // Without the query MLflow 3 shows a run among its pages for language models, as an evaluation of one.
    pageOf: (run) => `${server}/#/experiments/${run.experimentId}/runs/${run.runId}?workflowType=machine_learning`,
  };
}

type LoggedModelCalls = "findLoggedModel" | "createLoggedModel" | "finalizeLoggedModel" | "logOutput";

function loggedModelCalls({ call }: Connection): Pick<TrackingClient, LoggedModelCalls> {
  return {
    async findLoggedModel(experimentId, { key, value }, signal) {
      // The oldest: where best and final are one bundle, that is best.
      const order = [{ field_name: "creation_timestamp", ascending: true }];
      const content = { experiment_ids: [experimentId], filter: `tags.\`${key}\` = '${value}'`, max_results: 1, order_by: order };
      try {
        const read = (answer: Fields): LoggedModel | undefined => answer.list("models", (model) => toLoggedModel(model.object("info")))[0];
        return await call("POST", "logged-models/search", content, read, signal);
      } catch (error) {
        if (isUnknownEndpoint(error)) return null;
        throw error;
      }
    },
    async createLoggedModel({ experimentId, name, sourceRunId, tags, params = [] }, signal) {
      const content = { experiment_id: experimentId, name, tags, params, ...(sourceRunId !== undefined && { source_run_id: sourceRunId }) };
      return await call("POST", "logged-models", content, (answer) => toLoggedModel(answer.object("model").object("info")), signal);
    },
    async finalizeLoggedModel(modelId, signal) {
      const content = { model_id: modelId, status: "LOGGED_MODEL_READY" };
      await call("PATCH", `logged-models/${encodeURIComponent(modelId)}`, content, nothing, signal);
    },
    async logOutput(runId, modelId, step, signal) {
      await call("POST", "runs/outputs", { run_id: runId, models: [{ model_id: modelId, step }] }, nothing, signal);
    },
  };
}
