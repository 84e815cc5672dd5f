import { randomUUID } from "node:crypto";
import { invalid, missing } from "../refusal.ts";
import { checkLoggedModelName, checkTextLength, drawName, parseExperimentId } from "../names.ts";
import { parseFilter, type SearchSpec } from "../search/filter.ts";
import { checkMaxResults, cutPage, readPageToken, type Page } from "../search/page-token.ts";
import { compare, inList, joinConditions, keyValueCondition, type Condition } from "../search/sql.ts";
import type { Database, Row } from "./database.ts";
import type { Experiments } from "./experiments.ts";
import type { KeyValue } from "../../key-value.ts";
import { keyValues } from "./key-values.ts";
import { storable, type NewPoint } from "./metrics.ts";

/** By their numbers in MLflow's protocol. */
export const modelStatuses = [
  "LOGGED_MODEL_STATUS_UNSPECIFIED",
  "LOGGED_MODEL_PENDING",
  "LOGGED_MODEL_READY",
  "LOGGED_MODEL_UPLOAD_FAILED",
] as const;
export type ModelStatus = (typeof modelStatuses)[number];

export interface ModelMetric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
  readonly step: number;
  readonly model_id: string;
  readonly run_id: string;
  readonly dataset_name?: string;
  readonly dataset_digest?: string;
}

export interface LoggedModel {
  readonly info: {
    readonly model_id: string;
    readonly experiment_id: string;
    readonly name: string;
    readonly creation_timestamp_ms: number;
    readonly last_updated_timestamp_ms: number;
    readonly artifact_uri: string;
    readonly status: ModelStatus;
    readonly model_type: string;
    readonly source_run_id: string;
    readonly tags?: readonly KeyValue[];
  };
  readonly data: { readonly params?: readonly KeyValue[]; readonly metrics?: readonly ModelMetric[] };
}

export interface NewLoggedModel {
  readonly experimentId: string;
  readonly name: string;
  readonly modelType: string;
  readonly sourceRunId: string;
  readonly params: readonly KeyValue[];
  readonly tags: readonly KeyValue[];
}

export interface LoggedModelSearch {
  readonly experimentIds: readonly string[];
  readonly filter?: string | undefined;
  readonly datasets?: readonly { readonly dataset_name: string; readonly dataset_digest?: string | undefined }[] | undefined;
  readonly orderBy?: readonly LoggedModelOrder[] | undefined;
  readonly maxResults: number;
  readonly pageToken?: string | undefined;
}

export interface LoggedModelOrder {
  readonly field_name: string;
  readonly ascending?: boolean | undefined;
  readonly dataset_name?: string | undefined;
  readonly dataset_digest?: string | undefined;
}

const versionsTag = "mlflow.modelVersions";
const maxResultsLimit = 50_000;

const attributes: Readonly<Record<string, string>> = {
  model_id: "m.model_id",
  name: "m.name",
  model_type: "m.model_type",
  source_run_id: "m.source_run_id",
  experiment_id: "m.experiment",
  status: "m.status",
  creation_time: "m.creation_time",
  creation_timestamp: "m.creation_time",
  creation_timestamp_ms: "m.creation_time",
  last_updated_timestamp: "m.last_update_time",
  last_updated_timestamp_ms: "m.last_update_time",
};

const times = Object.keys(attributes).filter((name) => name.includes("time"));
const spec: SearchSpec = {
  entities: { attribute: "attribute", attributes: "attribute", metrics: "metric", params: "param", tags: "tag" },
  attributes,
  numeric: times,
  listed: Object.keys(attributes).filter((name) => !times.includes(name)),
  orderable: Object.keys(attributes),
  nullable: [],
};

/** Logged models: what MLflow 3 keeps of each model that a run made. */
export class LoggedModels {
  readonly #db: Database;
  readonly #experiments: Experiments;

  constructor(db: Database, experiments: Experiments) {
    this.#db = db;
    this.#experiments = experiments;
  }

  create({ experimentId, name, modelType, sourceRunId, params, tags }: NewLoggedModel): LoggedModel {
    checkLoggedModelName(name);
    return this.#db.write(() => {
      const experiment = this.#experiments.getActive(experimentId);
      const modelId = `m-${randomUUID().replaceAll("-", "")}`;
      const now = Date.now();
      const id = this.#db.insert(
        `INSERT INTO logged_models (model_id, experiment, name, artifact_location, creation_time, last_update_time, status,
           lifecycle_stage, model_type, source_run_id) VALUES (?, ?, ?, ?, ?, ?, 1, 'active', ?, ?)`,
        modelId,
        Number(experiment.experiment_id),
        name || drawName(),
        `${experiment.artifact_location}/models/${modelId}/artifacts`,
        now,
        now,
        modelType,
        sourceRunId,
      );
      this.#putParams(id, params);
      this.#putTags(id, tags);
      return this.get(modelId);
    });
  }

  get(modelId: string, allowDeleted = false): LoggedModel {
    const row = this.#row(modelId);
    if (row["lifecycle_stage"] === "deleted" && !allowDeleted) throw missing(`No logged model has the id ${modelId}.`);
    return this.#toModel(row);
  }

  finalize(modelId: string, status: ModelStatus): void {
    this.#db.write(() => {
      const id = Number(this.#row(modelId)["id"]);
      const sql = "UPDATE logged_models SET status = ?, last_update_time = ? WHERE id = ?";
      this.#db.run(sql, modelStatuses.indexOf(status), Date.now(), id);
    });
  }

  delete(modelId: string): void {
    this.#db.write(() => {
      const id = Number(this.#row(modelId)["id"]);
      this.#db.run("UPDATE logged_models SET lifecycle_stage = 'deleted', last_update_time = ? WHERE id = ?", Date.now(), id);
    });
  }

  logParams(modelId: string, params: readonly KeyValue[]): void {
    this.#db.write(() => this.#putParams(Number(this.#row(modelId)["id"]), params));
  }

  setTags(modelId: string, tags: readonly KeyValue[]): void {
    this.#db.write(() => this.#putTags(Number(this.#row(modelId)["id"]), tags));
  }

  deleteTag(modelId: string, key: string): void {
    this.#db.write(() => {
      const removed = this.#db.run("DELETE FROM logged_model_tags WHERE model = ? AND key = ?", Number(this.#row(modelId)["id"]), key);
      if (removed === 0) throw missing(`The logged model ${modelId} has no tag ${JSON.stringify(key)}.`);
    });
  }

  /** Notes on the model which registered versions were made of it. */
  addVersion(modelId: string, name: string, version: string): void {
    const id = Number(this.#row(modelId)["id"]);
    const before = this.#db.get("SELECT value FROM logged_model_tags WHERE model = ? AND key = ?", id, versionsTag)?.["value"];
    const versions = readVersions(before);
    if (versions.some((other) => other.name === name && String(other.version) === version)) return;
    // A string of a whole number in MLflow's own tag is a number.
    this.#putTag(id, versionsTag, JSON.stringify([...versions, { name, version: Number(version) }]));
  }

  /** Points that name a model are kept with it as well. The caller holds the transaction. */
  logMetrics(runId: string, points: readonly NewPoint[]): void {
    for (const { key, value, timestamp, step, modelId, datasetName = null, datasetDigest = null } of points) {
      if (modelId === undefined || modelId === "") continue;
      const model = Number(this.#row(modelId)["id"]);
      const sql = "INSERT OR IGNORE INTO logged_model_metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
      this.#db.run(sql, model, key, timestamp, step, runId, storable(value).value, datasetName, datasetDigest);
    }
  }

  search({ experimentIds, filter, datasets = [], orderBy = [], maxResults, pageToken }: LoggedModelSearch): Page<LoggedModel> {
    checkMaxResults(maxResults, maxResultsLimit);
    if (datasets.some(({ dataset_name: name }) => name === "")) throw invalid("datasets: dataset_name is missing.");
    const ids = experimentIds.map(parseExperimentId);
    const clauses = parseFilter(filter, spec);
    const on = onDatasets(datasets);
    const where = joinConditions([
      inList("m.experiment", ids),
      { sql: "m.lifecycle_stage <> 'deleted'", values: [] },
      ...clauses.map((clause): Condition => {
        if (clause.type === "attribute") return compare(attributes[clause.key] ?? "", clause);
        if (clause.type === "param") return keyValueCondition("logged_model_params", "logged_model_params.model = m.id", clause);
        if (clause.type === "tag") return keyValueCondition("logged_model_tags", "logged_model_tags.model = m.id", clause);
        const { sql, values } = compare("x.value", clause);
        return {
          sql: `EXISTS (SELECT 1 FROM logged_model_metrics x WHERE x.model = m.id AND x.key = ? AND ${sql} AND ${on.sql})`,
          values: [clause.key, ...values, ...on.values],
        };
      }),
      ...(datasets.length > 0 && !clauses.some(({ type }) => type === "metric")
        ? [{ sql: `EXISTS (SELECT 1 FROM logged_model_metrics x WHERE x.model = m.id AND ${on.sql})`, values: on.values }]
        : []),
    ]);
    const order = readOrders(orderBy);
    const offset = readPageToken(pageToken);
    const sql = `SELECT m.* FROM logged_models m WHERE ${where.sql} ORDER BY ${order.sql} LIMIT ? OFFSET ?`;
    return this.#db.read(() => {
      const { items, token } = cutPage(this.#db.all(sql, ...where.values, ...order.values, maxResults + 1, offset), offset, maxResults);
      return { items: items.map((row) => this.#toModel(row)), token };
    });
  }

  #row(modelId: string): Row {
    const row = this.#db.get("SELECT * FROM logged_models WHERE model_id = ?", modelId);
    if (row === undefined) throw missing(`No logged model has the id ${modelId}.`);
    return row;
  }

  #putParams(id: number, params: readonly KeyValue[]): void {
    for (const { key, value } of params) {
      checkTextLength(value, "value");
      if (this.#db.run("INSERT OR IGNORE INTO logged_model_params VALUES (?, ?, ?)", id, key, value) > 0) continue;
      throw invalid(`The logged model has the param ${JSON.stringify(key)} already; params do not change.`);
    }
  }

  #putTags(id: number, tags: readonly KeyValue[]): void {
    for (const { key, value } of tags) {
      checkTextLength(value, "value");
      this.#putTag(id, key, value);
    }
  }

  #putTag(id: number, key: string, value: string): void {
    this.#db.run("INSERT OR REPLACE INTO logged_model_tags VALUES (?, ?, ?)", id, key, value);
  }

  #toModel(row: Row): LoggedModel {
    const id = Number(row["id"]);
    const modelId = String(row["model_id"]);
    const tags = keyValues(this.#db.arrays("SELECT key, value FROM logged_model_tags WHERE model = ?", id));
    const params = keyValues(this.#db.arrays("SELECT key, value FROM logged_model_params WHERE model = ?", id));
    const metrics = this.#db.all("SELECT * FROM logged_model_metrics WHERE model = ?", id).map((point): ModelMetric => ({
      key: String(point["key"]),
      value: Number(point["value"]),
      timestamp: Number(point["timestamp"]),
      step: Number(point["step"]),
      model_id: modelId,
      run_id: String(point["run_id"]),
      ...(point["dataset_name"] !== null && { dataset_name: String(point["dataset_name"]) }),
      ...(point["dataset_digest"] !== null && { dataset_digest: String(point["dataset_digest"]) }),
    }));
    return {
      info: {
        experiment_id: String(row["experiment"]),
        model_id: modelId,
        name: String(row["name"]),
        artifact_uri: String(row["artifact_location"]),
        creation_timestamp_ms: Number(row["creation_time"]),
        last_updated_timestamp_ms: Number(row["last_update_time"]),
        model_type: String(row["model_type"]),
        source_run_id: String(row["source_run_id"]),
        status: modelStatuses[Number(row["status"])] ?? "LOGGED_MODEL_STATUS_UNSPECIFIED",
        ...(tags.length > 0 && { tags }),
      },
      data: { ...(params.length > 0 && { params }), ...(metrics.length > 0 && { metrics }) },
    };
  }
}

/** A tag that somebody set to something else counts as empty. */
function readVersions(tag: Row[string] | undefined): readonly { readonly name: string; readonly version: number }[] {
  try {
    const versions = JSON.parse(String(tag)) as unknown;
    return Array.isArray(versions) ? versions.filter((item) => typeof item === "object" && item !== null) : [];
  } catch {
    return [];
  }
}

/** Metrics measured on one of the data sets; on any when none is named. */
function onDatasets(datasets: NonNullable<LoggedModelSearch["datasets"]>): Condition {
  if (datasets.length === 0) return { sql: "1", values: [] };
  const each = datasets.map(({ dataset_digest: digest }) =>
    digest ? "(x.dataset_name = ? AND x.dataset_digest = ?)" : "x.dataset_name = ?",
  );
  const values = datasets.flatMap(({ dataset_name: name, dataset_digest: digest }) => (digest ? [name, digest] : [name]));
  return { sql: `(${each.join(" OR ")})`, values };
}

/** Models without the value come last; the newest first among equals. */
function readOrders(orderBy: readonly LoggedModelOrder[]): Condition {
  const order: string[] = [];
  const values: string[] = [];
  for (const { field_name: field, ascending = true, dataset_name: name, dataset_digest: digest } of orderBy) {
    const direction = ascending ? "ASC" : "DESC";
    if (!field.includes(".")) {
      const column = Object.hasOwn(attributes, field) ? attributes[field] : undefined;
      if (column === undefined)
        throw invalid(`order_by: ${JSON.stringify(field)} is neither a metric nor one of ${Object.keys(attributes).join(", ")}.`);
      order.push(`${column} ${direction}`);
      continue;
    }
    if (!field.startsWith("metrics."))
      throw invalid(`order_by: ${JSON.stringify(field)}: logged models are ordered by attributes and metrics only.`);
    const conditions = [...(name ? ["AND dataset_name = ?"] : []), ...(digest ? ["AND dataset_digest = ?"] : [])].join(" ");
    const latest = `(SELECT value FROM logged_model_metrics x WHERE x.model = m.id AND x.key = ? ${conditions}
      ORDER BY timestamp DESC, step DESC, run_id LIMIT 1)`;
    order.push(`${latest} ${direction} NULLS LAST`);
    values.push(field.slice("metrics.".length), ...(name ? [name] : []), ...(digest ? [digest] : []));
  }
  return { sql: [...order, "m.creation_time DESC", "m.model_id"].join(", "), values };
}
