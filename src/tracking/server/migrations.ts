import { renameSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { ServalError } from "../../errors/serval-error.ts";

/** Marks a database as ours ("SRVL"), so that one of MLflow's own is never written to. */
const applicationId = 0x53_52_56_4c;

/**
 * Entry i takes a database from version i to i + 1. Entries are only ever added: what was released may lie on a disk.
 *
 * `metrics` holds every point in the order that a history is asked for, and a point that is sent again is the same row;
 * `latest_metrics` is what a search reads. NaN is kept as 0 with `is_nan`, because SQLite has no NaN.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, artifact_location TEXT NOT NULL,
    lifecycle_stage TEXT NOT NULL, creation_time INTEGER NOT NULL, last_update_time INTEGER NOT NULL);
  CREATE TABLE experiment_tags (
    experiment INTEGER NOT NULL REFERENCES experiments(id), key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (experiment, key)) WITHOUT ROWID;

  CREATE TABLE runs (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, experiment INTEGER NOT NULL REFERENCES experiments(id),
    name TEXT NOT NULL, user_id TEXT NOT NULL, status TEXT NOT NULL, start_time INTEGER NOT NULL, end_time INTEGER,
    artifact_uri TEXT NOT NULL, lifecycle_stage TEXT NOT NULL);
  CREATE INDEX runs_by_experiment ON runs (experiment, lifecycle_stage, start_time DESC, run_id);
  CREATE TABLE params (
    run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)) WITHOUT ROWID;
  CREATE TABLE tags (
    run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)) WITHOUT ROWID;
  CREATE TABLE latest_metrics (
    run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL,
    value REAL NOT NULL, timestamp INTEGER NOT NULL, step INTEGER NOT NULL, is_nan INTEGER NOT NULL,
    PRIMARY KEY (run, key)) WITHOUT ROWID;
  CREATE TABLE metrics (
    run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL,
    timestamp INTEGER NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL, is_nan INTEGER NOT NULL,
    PRIMARY KEY (run, key, timestamp, step, value, is_nan)) WITHOUT ROWID;

  CREATE TABLE datasets (
    id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL REFERENCES experiments(id), name TEXT NOT NULL, digest TEXT NOT NULL,
    source_type TEXT NOT NULL, source TEXT NOT NULL, schema TEXT, profile TEXT, UNIQUE (experiment, name, digest));
  CREATE TABLE dataset_inputs (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id), dataset INTEGER NOT NULL REFERENCES datasets(id),
    UNIQUE (run, dataset));
  CREATE TABLE input_tags (
    input INTEGER NOT NULL REFERENCES dataset_inputs(id), key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (input, key)) WITHOUT ROWID;
  CREATE TABLE model_links (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id), direction TEXT NOT NULL, model_id TEXT NOT NULL, step INTEGER);
  CREATE INDEX model_links_by_run ON model_links (run, direction);

  CREATE TABLE logged_models (
    id INTEGER PRIMARY KEY, model_id TEXT NOT NULL UNIQUE, experiment INTEGER NOT NULL REFERENCES experiments(id),
    name TEXT NOT NULL, artifact_location TEXT NOT NULL, creation_time INTEGER NOT NULL, last_update_time INTEGER NOT NULL,
    status INTEGER NOT NULL, lifecycle_stage TEXT NOT NULL, model_type TEXT NOT NULL, source_run_id TEXT NOT NULL);
  CREATE INDEX logged_models_by_experiment ON logged_models (experiment, creation_time DESC, model_id);
  CREATE TABLE logged_model_params (
    model INTEGER NOT NULL REFERENCES logged_models(id), key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (model, key)) WITHOUT ROWID;
  CREATE TABLE logged_model_tags (
    model INTEGER NOT NULL REFERENCES logged_models(id), key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (model, key)) WITHOUT ROWID;
  CREATE TABLE logged_model_metrics (
    model INTEGER NOT NULL REFERENCES logged_models(id), key TEXT NOT NULL, timestamp INTEGER NOT NULL, step INTEGER NOT NULL,
    run_id TEXT NOT NULL, value REAL NOT NULL, dataset_name TEXT, dataset_digest TEXT,
    PRIMARY KEY (model, key, timestamp, step, run_id)) WITHOUT ROWID;

  CREATE TABLE registered_models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, creation_time INTEGER NOT NULL, last_update_time INTEGER NOT NULL,
    description TEXT);
  CREATE TABLE registered_model_tags (
    model INTEGER NOT NULL REFERENCES registered_models(id) ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (model, key)) WITHOUT ROWID;
  CREATE TABLE model_versions (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL REFERENCES registered_models(id) ON DELETE CASCADE, version INTEGER NOT NULL,
    creation_time INTEGER NOT NULL, last_update_time INTEGER NOT NULL, description TEXT, stage TEXT NOT NULL,
    source TEXT NOT NULL, storage_location TEXT NOT NULL, run_id TEXT NOT NULL, run_link TEXT NOT NULL, UNIQUE (model, version));
  CREATE TABLE model_version_tags (
    version INTEGER NOT NULL REFERENCES model_versions(id) ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (version, key)) WITHOUT ROWID;
  CREATE TABLE aliases (
    model INTEGER NOT NULL REFERENCES registered_models(id) ON DELETE CASCADE, alias TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (model, alias)) WITHOUT ROWID;
  `,
  // The latest points as the API writes them, so that a search of many runs has no number to format.
  `
  CREATE TABLE latest_points (
    run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL,
    value REAL NOT NULL, timestamp INTEGER NOT NULL, step INTEGER NOT NULL, is_nan INTEGER NOT NULL,
    json TEXT GENERATED ALWAYS AS
      (json_object('key', key, 'value', iif(is_nan, 'NaN', value), 'timestamp', timestamp, 'step', step)) STORED,
    PRIMARY KEY (run, key)) WITHOUT ROWID;
  INSERT INTO latest_points (run, key, value, timestamp, step, is_nan)
    SELECT run, key, value, timestamp, step, is_nan FROM latest_metrics;
  DROP TABLE latest_metrics;
  ALTER TABLE latest_points RENAME TO latest_metrics;
  `,
];

/**
 * Brings the database at `path` to the newest version. One that holds something and is older is first copied whole to
 * `PATH.vN.backup`; the steps are one transaction. Throws E_TRACKING_STORE for a database that is newer or not ours.
 */
export function migrate(db: DatabaseSync, path: string, steps: readonly string[] = migrations): void {
  const version = pragma(db, "user_version");
  if (version === steps.length) {
    checkOwner(db, path);
    return;
  }
  // Two servers that start at the same time take turns here; the second one finds the work done.
  db.exec("BEGIN IMMEDIATE");
  try {
    const from = pragma(db, "user_version");
    checkOwner(db, path);
    if (from > steps.length) {
      throw new ServalError("E_TRACKING_STORE", `${path} has version ${from}; this Serval knows versions up to ${steps.length}.`, {
        hint: "Use the Serval that wrote it, or a newer one; or another folder with --store.",
      });
    }
    if (from > 0 && from < steps.length) backUp(path, from);
    for (const step of steps.slice(from)) db.exec(step);
    db.exec(`PRAGMA user_version = ${steps.length}; PRAGMA application_id = ${applicationId}`);
    db.exec("COMMIT");
  } catch (error) {
    db.exec("ROLLBACK");
    throw error;
  }
}

/** A database with tables that we did not make is somebody else's, such as the one of an `mlflow server`: E_TRACKING_STORE. */
export function checkOwner(db: DatabaseSync, path: string): void {
  if (pragma(db, "application_id") === applicationId) return;
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 3").all();
  if (tables.length === 0) return;
  const names = tables.map((row) => String(row["name"])).join(", ");
  throw new ServalError("E_TRACKING_STORE", `${path} was not made by Serval: it holds the tables ${names}, …`, {
    hint: "Name another folder with --store. A database of MLflow's own is served by `mlflow server`.",
  });
}

/** A copy of what is committed. The caller holds the write lock and has written nothing, so nothing changes meanwhile. */
function backUp(path: string, version: number): void {
  const target = `${path}.v${version}.backup`;
  const temporary = `${target}.tmp`;
  rmSync(temporary, { force: true });
  const reader = new DatabaseSync(path, { readOnly: true });
  try {
    reader.prepare("VACUUM INTO ?").run(temporary);
  } finally {
    reader.close();
  }
  renameSync(temporary, target);
}

function pragma(db: DatabaseSync, name: "user_version" | "application_id"): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name]);
}
