import { randomUUID } from "node:crypto";
import { invalid, missing } from "../refusal.ts";
import { checkKey, checkRunId, clipParam, clipTag, drawName } from "../names.ts";
import type { Page } from "../search/page-token.ts";
import type { Database, Row } from "./database.ts";
import type { Experiments, LifecycleStage } from "./experiments.ts";
import type { KeyValue } from "../../key-value.ts";
import { keyValues } from "./key-values.ts";
import { Metrics, checkPoint, type NewPoint, type Point } from "./metrics.ts";
import type { LoggedModels } from "./logged-models.ts";
import { RunLinks, type RunInputs, type RunOutputs } from "./run-links.ts";
import { searchRuns, type RunSearch } from "./search-runs.ts";

export const runStatuses = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"] as const;
export type RunStatus = (typeof runStatuses)[number];

export interface RunInfo {
  readonly run_id: string;
  /** The name that MLflow's first clients know the id by. */
  readonly run_uuid: string;
  readonly run_name: string;
  readonly experiment_id: string;
  readonly user_id: string;
  readonly status: RunStatus;
  readonly start_time: number;
  readonly end_time?: number;
  readonly artifact_uri: string;
  readonly lifecycle_stage: LifecycleStage;
}

export interface Run {
  readonly info: RunInfo;
  readonly data: { readonly metrics?: readonly Point[]; readonly params?: readonly KeyValue[]; readonly tags?: readonly KeyValue[] };
  readonly inputs: RunInputs;
  readonly outputs: RunOutputs;
}

export interface NewRun {
  readonly experimentId: string;
  readonly userId: string;
  readonly name: string;
  readonly startTime: number;
  readonly tags: readonly KeyValue[];
}

export interface Batch {
  readonly metrics: readonly NewPoint[];
  readonly params: readonly KeyValue[];
  readonly tags: readonly KeyValue[];
}

/** Limits of one log-batch request, from MLflow's documentation of it. */
const maxMetrics = 1000;
const maxPairs = 100;
const maxItems = 1000;
/** As a LIMIT. */
const all = -1;
const nameTag = "mlflow.runName";
const modelsTag = "mlflow.log-model.history";
/** Characters of that tag: the longest model that a request may bring. It is read again with each model that is added. */
const maxModels = 1_000_000;

const pairs = (table: string): string =>
  `(SELECT group_concat(json_object('key', key, 'value', value)) FROM ${table} WHERE run = runs.id) AS ${table}`;
/** What a run's JSON needs beside its row. Metrics come as bytes, which are sent as they are: a text of megabytes would be decoded and encoded again. */
const jsonQuery = `SELECT
  (SELECT CAST(group_concat(json) AS BLOB) FROM latest_metrics WHERE run = runs.id) AS metrics,
  ${pairs("params")},
  ${pairs("tags")},
  EXISTS (SELECT 1 FROM dataset_inputs WHERE run = runs.id UNION ALL SELECT 1 FROM model_links WHERE run = runs.id) AS linked
  FROM runs WHERE id = ?`;

/** Runs with their params, tags and metrics. */
export class Runs {
  readonly metrics: Metrics;
  readonly links: RunLinks;
  readonly #db: Database;
  readonly #experiments: Experiments;
  readonly #models: LoggedModels;

  constructor(db: Database, experiments: Experiments, models: LoggedModels) {
    this.#db = db;
    this.#experiments = experiments;
    this.#models = models;
    this.metrics = new Metrics(db);
    this.links = new RunLinks(db);
  }

  create({ experimentId, userId, name, startTime, tags }: NewRun): Run {
    const tagged = tags.find(({ key }) => key === nameTag)?.value;
    if (name !== "" && tagged !== undefined && tagged !== name) {
      throw invalid(`run_name is ${JSON.stringify(name)}, but the tag ${nameTag} says ${JSON.stringify(tagged)}.`);
    }
    return this.#db.write(() => {
      const { experiment_id: id, artifact_location: location } = this.#experiments.getActive(experimentId);
      const runId = randomUUID().replaceAll("-", "");
      const shown = name || tagged || drawName();
      const run = this.#db.insert(
        `INSERT INTO runs (run_id, experiment, name, user_id, status, start_time, artifact_uri, lifecycle_stage)
         VALUES (?, ?, ?, ?, 'RUNNING', ?, ?, 'active')`,
        runId,
        Number(id),
        shown,
        userId,
        startTime,
        `${location}/${runId}/artifacts`,
      );
      for (const { key, value } of [...tags, { key: nameTag, value: shown }]) this.#putTag(run, key, value);
      return this.get(runId);
    });
  }

  get(runId: string): Run {
    return this.#db.read(() => this.#toRun(this.#row(runId)));
  }

  info(runId: string): RunInfo {
    return toRunInfo(this.#row(runId));
  }

  /** A run for a page to show: at most `rows` metrics, params, tags and inputs, and of data sets no more than their names. */
  overview(runId: string, rows: number): Run {
    return this.#db.read(() => this.#toRun(this.#row(runId), rows));
  }

  update(runId: string, changes: { status?: RunStatus | undefined; endTime?: number | undefined; name?: string | undefined }): RunInfo {
    return this.#db.write(() => {
      const row = this.#activeRow(runId);
      const { status = row["status"], endTime = row["end_time"], name } = changes;
      const id = Number(row["id"]);
      this.#db.run("UPDATE runs SET status = ?, end_time = ? WHERE id = ?", String(status), endTime as number | null, id);
      if (name !== undefined && name !== "") this.#rename(id, name);
      return toRunInfo(this.#row(runId));
    });
  }

  setStage(runId: string, stage: LifecycleStage): void {
    this.#db.write(() => {
      this.#db.run("UPDATE runs SET lifecycle_stage = ? WHERE id = ?", stage, Number(this.#row(runId)["id"]));
    });
  }

  logBatch(runId: string, { metrics, params, tags }: Batch): void {
    checkRunId(runId);
    checkCount("metrics", metrics.length, maxMetrics);
    checkCount("params", params.length, maxPairs);
    checkCount("tags", tags.length, maxPairs);
    checkCount("metrics, params and tags", metrics.length + params.length + tags.length, maxItems);
    metrics.forEach((point, i) => checkPoint(point, `metrics[${i}].`));
    params.forEach(({ key }, i) => checkKey(key, `params[${i}].key`));
    tags.forEach(({ key }, i) => checkKey(key, `tags[${i}].key`));
    const twice = params.filter(({ key }, i) => params.findIndex((other) => other.key === key) !== i).map(({ key }) => key);
    if (twice.length > 0) throw invalid(`params: ${twice.join(", ")} is given twice; a param has one value.`);
    this.#db.write(() => {
      const run = this.#activeRow(runId);
      const id = Number(run["id"]);
      for (const param of params) this.#putParam(runId, id, param);
      this.metrics.log(id, metrics);
      this.#models.logMetrics(runId, metrics);
      for (const { key, value } of tags) this.#setTag(id, key, value);
    });
  }

  logMetric(runId: string, point: NewPoint): void {
    checkPoint(point, "");
    this.#db.write(() => {
      this.metrics.log(Number(this.#activeRow(runId)["id"]), [point]);
      this.#models.logMetrics(runId, [point]);
    });
  }

  logParam(runId: string, param: KeyValue): void {
    checkKey(param.key, "key");
    this.#db.write(() => this.#putParam(runId, Number(this.#activeRow(runId)["id"]), param));
  }

  setTag(runId: string, key: string, value: string): void {
    checkKey(key, "key");
    this.#db.write(() => this.#setTag(Number(this.#activeRow(runId)["id"]), key, value));
  }

  deleteTag(runId: string, key: string): void {
    this.#db.write(() => {
      const removed = this.#db.run("DELETE FROM tags WHERE run = ? AND key = ?", Number(this.#activeRow(runId)["id"]), key);
      if (removed === 0) throw missing(`The run ${runId} has no tag ${JSON.stringify(key)}.`);
    });
  }

  /** Notes in a tag of the run, as MLflow does, that it made a model. */
  recordModel(runId: string, model: string): void {
    this.#db.write(() => {
      const id = Number(this.#activeRow(runId)["id"]);
      const before = this.#db.get("SELECT value FROM tags WHERE run = ? AND key = ?", id, modelsTag)?.["value"];
      // Longer than other tags: half of it would not be a list.
      const models = appendModel(before, model);
      if (models.length > maxModels) throw invalid(`The run ${runId} has too many models: their tag would exceed ${maxModels} characters.`);
      this.#db.run("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", id, modelsTag, models);
    });
  }

  /** The runs of a page that shows of each as much as `overview`. */
  search(search: RunSearch, rows: number): Page<Run> {
    return this.#db.read(() => {
      const { items, token } = searchRuns(this.#db, search);
      return { items: items.map((row) => this.#toRun(row, rows)), token };
    });
  }

  /**
   * Whole runs, each as the bytes of its JSON, which the database makes when the run is asked for: a page of 1,000 runs
   * may hold 100,000 metrics.
   */
  searchJson(search: RunSearch): Page<Buffer, Iterable<Buffer>> {
    const { items, token } = searchRuns(this.#db, search);
    const toJson = (row: Row): Buffer => this.#toJson({ ...row, ...this.#db.get(jsonQuery, Number(row["id"])) });
    return { items: Iterator.from(items).map(toJson), token };
  }

  /** Key of a run that is there, in whatever state, in the tables. */
  idOf(runId: string): number {
    return Number(this.#row(runId)["id"]);
  }

  activeIdOf(runId: string): { readonly id: number; readonly experiment: number } {
    const row = this.#activeRow(runId);
    return { id: Number(row["id"]), experiment: Number(row["experiment"]) };
  }

  /** Of a row with the columns of `jsonQuery`. */
  #toJson(row: Row): Buffer {
    const { metrics, params, tags, linked } = row;
    const { inputs, outputs } = linked === 1 ? this.links.of(Number(row["id"])) : { inputs: {}, outputs: {} };
    const rest = [params !== null && `"params":[${String(params)}]`, tags !== null && `"tags":[${String(tags)}]`].filter(Boolean).join(",");
    const end = `},"inputs":${JSON.stringify(inputs)},"outputs":${JSON.stringify(outputs)}}`;
    const start = `{"info":${JSON.stringify(toRunInfo(row))},"data":{${rest}`;
    if (metrics === null) return Buffer.from(start + end);
    return Buffer.concat([Buffer.from(`${start}${rest === "" ? "" : ","}"metrics":[`), metrics as Uint8Array, Buffer.from(`]${end}`)]);
  }

  #toRun(row: Row, rows?: number): Run {
    const id = Number(row["id"]);
    const limit = rows ?? all;
    const metrics = this.metrics.latest(id, limit);
    const params = keyValues(this.#db.arrays("SELECT key, value FROM params WHERE run = ? LIMIT ?", id, limit));
    const tags = keyValues(this.#db.arrays("SELECT key, value FROM tags WHERE run = ? LIMIT ?", id, limit));
    return {
      info: toRunInfo(row),
      data: { ...(metrics.length > 0 && { metrics }), ...(params.length > 0 && { params }), ...(tags.length > 0 && { tags }) },
      ...this.links.of(id, rows),
    };
  }

  #row(runId: string): Row {
    const row = this.#db.get("SELECT * FROM runs WHERE run_id = ?", runId);
    if (row === undefined) throw missing(`No run has the id ${runId} on this server.`);
    return row;
  }

  #activeRow(runId: string): Row {
    const row = this.#row(runId);
    if (row["lifecycle_stage"] !== "active") throw invalid(`The run ${runId} is deleted; it must be active for this.`);
    return row;
  }

  #putParam(runId: string, run: number, { key, value: given }: KeyValue): void {
    const value = clipParam(given);
    if (this.#db.run("INSERT OR IGNORE INTO params VALUES (?, ?, ?)", run, key, value) > 0) return;
    const known = String(this.#db.get("SELECT value FROM params WHERE run = ? AND key = ?", run, key)?.["value"]);
    if (known === value) return;
    throw invalid(
      `The run ${runId} has the param ${JSON.stringify(key)} = ${JSON.stringify(known)}, which cannot become ${JSON.stringify(value)}.`,
    );
  }

  #setTag(run: number, key: string, value: string): void {
    if (key === nameTag) this.#rename(run, value);
    else this.#putTag(run, key, value);
  }

  #rename(run: number, name: string): void {
    if (name === "") return;
    this.#db.run("UPDATE runs SET name = ? WHERE id = ?", name, run);
    this.#putTag(run, nameTag, name);
  }

  #putTag(run: number, key: string, value: string): void {
    this.#db.run("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", run, key, clipTag(value));
  }
}

/** The list in a tag with one more model. A tag that somebody set to something else, or that was cut, counts as empty. */
function appendModel(tag: Row[string] | undefined, model: string): string {
  if (typeof tag !== "string" || !isFilledList(tag)) return `[${model}]`;
  return `${tag.trimEnd().slice(0, -1)},${model}]`;
}

function isFilledList(text: string): boolean {
  try {
    const list = JSON.parse(text) as unknown;
    return Array.isArray(list) && list.length > 0;
  } catch {
    return false;
  }
}

function toRunInfo(row: Row): RunInfo {
  const end = row["end_time"];
  return {
    run_uuid: String(row["run_id"]),
    run_id: String(row["run_id"]),
    run_name: String(row["name"]),
    experiment_id: String(row["experiment"]),
    user_id: String(row["user_id"]),
    status: row["status"] as RunStatus,
    start_time: Number(row["start_time"]),
    ...(Number(end) > 0 && { end_time: Number(end) }),
    artifact_uri: String(row["artifact_uri"]),
    lifecycle_stage: row["lifecycle_stage"] as LifecycleStage,
  };
}

function checkCount(what: string, count: number, limit: number): void {
  if (count > limit) throw invalid(`A batch holds at most ${limit} ${what}; got ${count}. Send them in several requests.`);
}
