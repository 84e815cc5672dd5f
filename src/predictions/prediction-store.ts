import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { ServalError } from "../errors/serval-error.ts";
import type { FeedbackResult, LoggedPrediction } from "./prediction-log.ts";

/** Goes up when a table changes that older services write. During a deploy an old and a new one share the file. */
const schemaVersion = 1;

const schema = `
  CREATE TABLE IF NOT EXISTS predictions (
    request_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, model_name TEXT NOT NULL, model_version TEXT NOT NULL,
    label TEXT NOT NULL, confidence REAL NOT NULL, probabilities TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS predictions_at ON predictions (at_ms);
  CREATE TABLE IF NOT EXISTS feedback (
    request_id TEXT PRIMARY KEY REFERENCES predictions (request_id), label TEXT NOT NULL, at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS prediction_keys (
    request_id TEXT PRIMARY KEY REFERENCES predictions (request_id) ON DELETE CASCADE, key_name TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${schemaVersion};
`;

/** The SQLite file of predictions and feedback. */
export class PredictionStore {
  readonly #db: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #insertKey: StatementSync;
  readonly #find: StatementSync;
  readonly #known: StatementSync;
  readonly #label: StatementSync;

  /** Opens the file, or makes it. Throws what the file system or SQLite throws, and E_PREDICTION_LOG for a newer version. */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    const db = new DatabaseSync(path);
    this.#db = db;
    try {
      // Readers (drift, live accuracy) do not block the service, nor a second service on the same file.
      db.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000;");
      const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
      if (version > schemaVersion) {
        throw new ServalError(
          "E_PREDICTION_LOG",
          `it has version ${version}, and this Serval knows ${schemaVersion}. Use a newer Serval, or another folder.`,
        );
      }
      db.exec(schema);
      this.#insert = db.prepare("INSERT OR IGNORE INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?)");
      this.#insertKey = db.prepare("INSERT OR IGNORE INTO prediction_keys VALUES (?, ?)");
      this.#find = db.prepare(
        "SELECT probabilities, key_name FROM predictions LEFT JOIN prediction_keys USING (request_id) WHERE request_id = ?",
      );
      this.#known = db.prepare("SELECT label FROM feedback WHERE request_id = ?");
      this.#label = db.prepare("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)");
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** All of them or none. */
  addPredictions(rows: readonly LoggedPrediction[]): void {
    // In the file system's hands after each commit, on the disk a little later: enough for a crash of this process.
    this.#db.exec("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE");
    try {
      for (const { requestId, atMs, modelName, modelVersion, label, confidence, probabilities, keyName } of rows) {
        this.#insert.run(requestId, atMs, modelName, modelVersion, label, confidence, JSON.stringify(probabilities));
        if (keyName !== null) this.#insertKey.run(requestId, keyName);
      }
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  /**
   * Resolves to what it did when the label is on the disk. `ofKey` bounds it to predictions of that key, and to those without
   * one, which an older service or a service without keys stored. Throws E_FEEDBACK_UNKNOWN or E_LABEL_UNKNOWN.
   */
  addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): FeedbackResult {
    const row = this.#find.get(requestId) as { probabilities: string; key_name: string | null } | undefined;
    // A prediction of another key answers as if there were none: no client learns which ids exist.
    if (row === undefined || !mayLabel(row.key_name, ofKey)) throw unknownPrediction(requestId);
    const labels = Object.keys(JSON.parse(row.probabilities) as object);
    if (!labels.includes(label)) {
      throw new ServalError("E_LABEL_UNKNOWN", `${JSON.stringify(label)} is not one of the model's labels: ${labels.join(", ")}.`);
    }
    if ((this.#known.get(requestId) as { label: string } | undefined)?.label === label) return "same";
    this.#db.exec("PRAGMA synchronous = FULL");
    this.#label.run(requestId, label, atMs);
    return "new";
  }

  close(): void {
    this.#db.close();
  }
}

/** Whether feedback that is bounded to `ofKey` may be about a prediction of `keyName`. */
export function mayLabel(keyName: string | null, ofKey: string | null): boolean {
  return keyName === null || ofKey === null || keyName === ofKey;
}

function unknownPrediction(requestId: string): ServalError {
  return new ServalError("E_FEEDBACK_UNKNOWN", `No prediction with the request id ${JSON.stringify(requestId)} is stored.`);
}
