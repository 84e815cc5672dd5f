import { ServalError } from "../errors.ts";

/** A parameter, tag or metric as the REST API writes it: a pair in a list, because keys may hold any text. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

export interface MetricPoint {
  readonly key: string;
  readonly value: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly step: number;
}

export interface NewRun {
  readonly experimentId: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly startTime: number;
  readonly tags: readonly KeyValue[];
}

export interface RunInfo {
  readonly runId: string;
  readonly experimentId: string;
  /** Where the server keeps the run's files: `mlflow-artifacts:/…` when it takes uploads. */
  readonly artifactUri: string;
}

/** The states that MLflow knows of a run that we log. */
export type RunStatus = "RUNNING" | "FINISHED" | "FAILED" | "KILLED";

export interface Batch {
  readonly metrics?: readonly MetricPoint[];
  readonly params?: readonly KeyValue[];
  readonly tags?: readonly KeyValue[];
}

/**
 * The part of the MLflow REST API 2.0 that logs runs (https://mlflow.org/docs/latest/rest-api.html). Each call may be
 * repeated without harm. All throw E_TRACKING_UNREACHABLE where trying again later makes sense, E_TRACKING_REFUSED
 * where it does not.
 */
export interface TrackingClient {
  /** The server's address without credentials. */
  readonly server: string;
  /** The id of the experiment called `name`, which is made when it is not there. */
  ensureExperiment(name: string, signal?: AbortSignal): Promise<string>;
  /** The run of an experiment that carries a tag, if there is one. */
  findRun(experimentId: string, tag: KeyValue, signal?: AbortSignal): Promise<RunInfo | undefined>;
  createRun(run: NewRun, signal?: AbortSignal): Promise<RunInfo>;
  logBatch(runId: string, batch: Batch, signal?: AbortSignal): Promise<void>;
  /** `endTime` in milliseconds since 1970. */
  updateRun(runId: string, status: RunStatus, endTime?: number, signal?: AbortSignal): Promise<void>;
  /** Stores a file under the run; `path` has forward slashes. */
  uploadArtifact(run: RunInfo, path: string, data: Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<void>;
  /** The address of the run's page. */
  pageOf(run: RunInfo): string;
}

export interface TrackingClientOptions {
  /** How long one request may take, in milliseconds. */
  readonly requestTimeoutMs?: number;
  readonly uploadTimeoutMs?: number;
}

/** Limits of log-batch, from its documentation. */
const metricsPerBatch = 1000;
const pairsPerBatch = 100;
const artifactScheme = "mlflow-artifacts:";

/** A client for the server at `uri`; user and password may stand in the address. Throws E_ENV for an address that is not http(s). */
export function createTrackingClient(uri: string, options: TrackingClientOptions = {}): TrackingClient {
  const { requestTimeoutMs = 10_000, uploadTimeoutMs = 60_000 } = options;
  const { server, authorization } = parseServer(uri);

  const send = async (method: string, path: string, init: RequestInit, timeoutMs: number, signal?: AbortSignal): Promise<string> => {
    const signals = [AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])];
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${server}${path}`, {
        ...init,
        method,
        headers: { ...(init.headers as Record<string, string>), ...(authorization && { authorization }) },
        signal: AbortSignal.any(signals),
      });
      text = await response.text();
    } catch (error) {
      throw new ServalError("E_TRACKING_UNREACHABLE", `${server} does not answer: ${reasonOf(error)}.`, { cause: error });
    }
    if (response.ok) return text;
    throw refusal(server, `${method} ${path.replace(/\?.*/, "")}`, response.status, text);
  };
  const call = async <Answer>(method: "GET" | "POST", name: string, content: object, signal?: AbortSignal): Promise<Answer> => {
    const query = method === "GET" ? `?${new URLSearchParams(content as Record<string, string>).toString()}` : "";
    const init = method === "GET" ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(content) };
    const path = `/api/2.0/mlflow/${name}`;
    const text = await send(method, `${path}${query}`, init, requestTimeoutMs, signal);
    try {
      return JSON.parse(text) as Answer;
    } catch (error) {
      const message = `${server} answered ${path} with something that is not JSON: ${JSON.stringify(text.slice(0, 80))}.`;
      throw new ServalError("E_TRACKING_REFUSED", message, {
        cause: error,
        hint: "Is MLFLOW_TRACKING_URI the address of an MLflow server?",
      });
    }
  };

  return {
    server,
    async ensureExperiment(name, signal) {
      const find = async (): Promise<string | undefined> => {
        try {
          const answer = await call<{ experiment: { experiment_id: string; lifecycle_stage?: string } }>(
            "GET",
            "experiments/get-by-name",
            { experiment_name: name },
            signal,
          );
          const { experiment_id: id, lifecycle_stage: stage } = answer.experiment;
          if (stage !== "deleted") return id;
        } catch (error) {
          if (isRefusal(error, "RESOURCE_DOES_NOT_EXIST")) return undefined;
          throw error;
        }
        throw new ServalError("E_TRACKING_REFUSED", `The experiment "${name}" on ${server} is deleted.`, {
          hint: "Restore it on the server (mlflow experiments restore), or change model.name.",
        });
      };
      const found = await find();
      if (found !== undefined) return found;
      try {
        const made = await call<{ experiment_id: string }>("POST", "experiments/create", { name }, signal);
        return made.experiment_id;
      } catch (error) {
        // Another training made it between the look and now.
        const other = isRefusal(error, "RESOURCE_ALREADY_EXISTS") ? await find() : undefined;
        if (other === undefined) throw error;
        return other;
      }
    },
    async findRun(experimentId, { key, value }, signal) {
      const filter = `tags.\`${key}\` = '${value}'`;
      const content = { experiment_ids: [experimentId], filter, max_results: 1 };
      const answer = await call<{ runs?: { info: WireRunInfo }[] }>("POST", "runs/search", content, signal);
      const info = answer.runs?.[0]?.info;
      return info && toRunInfo(info);
    },
    async createRun({ experimentId, name, startTime, tags }, signal) {
      const content = { experiment_id: experimentId, run_name: name, start_time: startTime, tags };
      const answer = await call<{ run: { info: WireRunInfo } }>("POST", "runs/create", content, signal);
      return toRunInfo(answer.run.info);
    },
    async logBatch(runId, { metrics = [], params = [], tags = [] }, signal) {
      const wire = metrics.map((point) => ({ ...point, value: jsonNumber(point.value) }));
      const rounds = Math.max(Math.ceil(wire.length / metricsPerBatch), Math.ceil(Math.max(params.length, tags.length) / pairsPerBatch));
      for (let i = 0; i < rounds; i++) {
        const part = <Item>(items: readonly Item[], size: number): readonly Item[] => items.slice(i * size, (i + 1) * size);
        const content = {
          run_id: runId,
          metrics: part(wire, metricsPerBatch),
          params: part(params, pairsPerBatch),
          tags: part(tags, pairsPerBatch),
        };
        await call("POST", "runs/log-batch", content, signal);
      }
    },
    async updateRun(runId, status, endTime, signal) {
      await call("POST", "runs/update", { run_id: runId, status, ...(endTime !== undefined && { end_time: endTime }) }, signal);
    },
    async uploadArtifact(run, path, data, signal) {
      if (!run.artifactUri.startsWith(artifactScheme)) {
        throw new ServalError("E_TRACKING_REFUSED", `${server} takes no files: it keeps those of this run in ${run.artifactUri}.`, {
          hint: "Start it with --serve-artifacts, and without --default-artifact-root.",
        });
      }
      const folder = new URL(run.artifactUri).pathname.replace(/^\/+/, "");
      const target = [...folder.split("/"), ...path.split("/").map(encodeURIComponent)].join("/");
      await send("PUT", `/api/2.0/mlflow-artifacts/artifacts/${target}`, { body: data }, uploadTimeoutMs, signal);
    },
    // Without the query MLflow 3 shows a run among its pages for language models, as an evaluation of one.
    pageOf: (run) => `${server}/#/experiments/${run.experimentId}/runs/${run.runId}?workflowType=machine_learning`,
  };
}

interface WireRunInfo {
  readonly run_id: string;
  readonly experiment_id: string;
  readonly artifact_uri: string;
}

function toRunInfo(info: WireRunInfo): RunInfo {
  return { runId: info.run_id, experimentId: info.experiment_id, artifactUri: info.artifact_uri };
}

function parseServer(uri: string): { server: string; authorization: string | undefined } {
  const url = URL.parse(uri);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new ServalError("E_ENV", `MLFLOW_TRACKING_URI: expected the http(s) address of an MLflow server, got ${JSON.stringify(uri)}.`);
  }
  const credentials = [url.username, url.password].map(decodeURIComponent).join(":");
  return {
    server: `${url.origin}${url.pathname}`.replace(/\/+$/, ""),
    authorization: credentials === ":" ? undefined : `Basic ${Buffer.from(credentials).toString("base64")}`,
  };
}

/** JSON has no NaN and no infinity; the protobuf mapping that MLflow uses writes them as text. */
function jsonNumber(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/** fetch says only "fetch failed"; what happened stands in its cause. */
function reasonOf(error: unknown): string {
  const { name, message, cause } = error as Error;
  if (name === "TimeoutError" || name === "AbortError") return "no answer in time";
  const { code, message: deeper } = (cause ?? {}) as NodeJS.ErrnoException;
  return code ?? (deeper || message);
}

function refusal(server: string, request: string, status: number, text: string): ServalError {
  let details: { error_code?: string; message?: string } = {};
  try {
    details = JSON.parse(text) as typeof details;
  } catch {
    // A proxy in between answers with a page of its own.
  }
  const said = (details.message ?? text).replaceAll(/\s+/g, " ").trim().slice(0, 300);
  const message = `${server} answered ${request} with ${status}${said === "" ? "" : `: ${said}`}`;
  const later = status >= 500 || status === 429 || status === 408;
  return new ServalError(later ? "E_TRACKING_UNREACHABLE" : "E_TRACKING_REFUSED", message, {
    details: { status, errorCode: details.error_code },
  });
}

function isRefusal(error: unknown, errorCode: string): boolean {
  return error instanceof ServalError && error.details["errorCode"] === errorCode;
}
