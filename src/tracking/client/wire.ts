import type { Fields } from "./fields.ts";

// What the REST API calls things, and what we call them: each in one place, for the clients of runs and of the registry.

export interface MetricPoint {
  readonly key: string;
  readonly value: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly step: number;
  /** The logged model that was measured, and the input of the run that it was measured on. */
  readonly modelId?: string;
  readonly dataset?: { readonly name: string; readonly digest: string };
}

export interface RunInfo {
  readonly runId: string;
  readonly experimentId: string;
  /** Where the server keeps the run's files: `mlflow-artifacts:/…` when it takes uploads. */
  readonly artifactUri: string;
}

/** A run with what was logged about it; of each metric the last value. */
export interface RunRecord extends RunInfo {
  readonly status: RunStatus;
  readonly params: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
  readonly metrics: Readonly<Record<string, number>>;
}

/** The states that MLflow knows of a run that we log. */
export type RunStatus = "RUNNING" | "FINISHED" | "FAILED" | "KILLED";

/** A model of MLflow 3: made by a run, with its own files and measures, and known by id. */
export interface LoggedModel {
  readonly modelId: string;
  readonly artifactUri: string;
  readonly sourceRunId: string | null;
  readonly status: "PENDING" | "READY" | "UPLOAD_FAILED";
}

export interface RegisteredModel {
  readonly name: string;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Alias -> version. */
  readonly aliases: Readonly<Record<string, string>>;
}

export interface ModelVersion {
  readonly name: string;
  /** `1`, `2`, …: the registry counts. */
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly source: string;
  readonly runId: string | null;
  readonly tags: Readonly<Record<string, string>>;
}

interface WireMetric {
  readonly key: string;
  readonly value: number | string;
  readonly timestamp: number;
  readonly step: number;
}

/** Of an answer that says nothing. */
export function nothing(): void {}

export function toRunInfo(info: Fields): RunInfo {
  return { runId: info.text("run_id"), experimentId: info.id("experiment_id"), artifactUri: info.optionalText("artifact_uri") ?? "" };
}

export function toRunRecord(run: Fields): RunRecord {
  const [info, data] = [run.object("info"), run.object("data")];
  return {
    ...toRunInfo(info),
    status: info.text("status") as RunStatus,
    params: data.pairs("params"),
    tags: data.pairs("tags"),
    metrics: Object.fromEntries(data.list("metrics", (metric) => [metric.text("key"), metric.number("value")])),
  };
}

export function toLoggedModel(wire: Fields): LoggedModel {
  return {
    modelId: wire.text("model_id"),
    artifactUri: wire.text("artifact_uri"),
    sourceRunId: wire.optionalText("source_run_id") || null,
    status: (wire.optionalText("status") ?? "").replace("LOGGED_MODEL_", "") as LoggedModel["status"],
  };
}

export function toMetricPoint(wire: Fields, key: string): MetricPoint {
  return { key, value: wire.number("value"), timestamp: wire.number("timestamp"), step: wire.number("step", 0) };
}

/** JSON has no NaN and no infinity; the protobuf mapping that MLflow uses writes them as text. */
export function toWireMetric({ key, value, timestamp, step, modelId, dataset }: MetricPoint): WireMetric {
  const number = Number.isFinite(value) ? value : String(value);
  const of = {
    ...(modelId !== undefined && { model_id: modelId }),
    ...(dataset && { dataset_name: dataset.name, dataset_digest: dataset.digest }),
  };
  return { key, value: number, timestamp, step, ...of };
}

export function toRegisteredModel(wire: Fields): RegisteredModel {
  return {
    name: wire.text("name"),
    description: wire.optionalText("description") ?? "",
    tags: wire.pairs("tags"),
    aliases: Object.fromEntries(wire.list("aliases", (item) => [item.text("alias"), item.id("version")])),
  };
}

export function toVersion(wire: Fields): ModelVersion {
  return {
    name: wire.text("name"),
    version: wire.id("version"),
    createdAt: wire.number("creation_timestamp", 0),
    source: wire.optionalText("source") ?? "",
    runId: wire.optionalText("run_id") || null,
    tags: wire.pairs("tags"),
  };
}
