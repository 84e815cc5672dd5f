import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { ServalError, toServalError } from "../errors.ts";
import type { FeedbackResult, LogAnswer, LogCall, LoggedPrediction } from "./prediction-log.ts";

/** Goes up with every change of the tables. */
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
  PRAGMA user_version = ${schemaVersion};
`;

function openDatabase(path: string): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true });
  const db = new DatabaseSync(path);
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
  return db;
}

/** The thread behind `openPredictionLog`: writes to disk, so that nothing else has to wait for one. */
function serveLog(port: MessagePort, path: string): void {
  const answer = (message: LogAnswer): void => port.postMessage(message);
  let db: DatabaseSync;
  try {
    db = openDatabase(path);
  } catch (error) {
    answer({ kind: "refused", message: (error as Error).message });
    port.close();
    return;
  }
  const insert = db.prepare("INSERT OR IGNORE INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?)");
  const find = db.prepare("SELECT probabilities FROM predictions WHERE request_id = ?");
  const known = db.prepare("SELECT label FROM feedback WHERE request_id = ?");
  const store = db.prepare("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)");

  const addPredictions = (rows: readonly LoggedPrediction[]): void => {
    // In the file system's hands after each commit, on the disk a little later: enough for a crash of this process.
    db.exec("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE");
    try {
      for (const row of rows) {
        const { requestId, atMs, modelName, modelVersion, label, confidence, probabilities } = row;
        insert.run(requestId, atMs, modelName, modelVersion, label, confidence, JSON.stringify(probabilities));
      }
      db.exec("COMMIT");
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
  };

  const addFeedback = (requestId: string, label: string, atMs: number): FeedbackResult => {
    const row = find.get(requestId) as { probabilities: string } | undefined;
    if (row === undefined)
      throw new ServalError("E_FEEDBACK_UNKNOWN", `No prediction with the request id ${JSON.stringify(requestId)} is stored.`);
    const labels = Object.keys(JSON.parse(row.probabilities) as object);
    if (!labels.includes(label)) {
      throw new ServalError("E_LABEL_UNKNOWN", `${JSON.stringify(label)} is none of the model's labels: ${labels.join(", ")}.`);
    }
    if ((known.get(requestId) as { label: string } | undefined)?.label === label) return "same";
    db.exec("PRAGMA synchronous = FULL");
    store.run(requestId, label, atMs);
    return "new";
  };

  port.on("message", (call: LogCall) => {
    if (call.kind === "close") {
      db.close();
      port.close();
    } else if (call.kind === "predictions") {
      try {
        addPredictions(call.rows);
      } catch (error) {
        answer({ kind: "lost", count: call.rows.length, message: (error as Error).message });
      }
    } else {
      try {
        answer({ kind: "stored", id: call.id, result: addFeedback(call.requestId, call.label, call.atMs) });
      } catch (error) {
        const { code, message } = error instanceof ServalError ? error : new ServalError("E_PREDICTION_LOG", toServalError(error).message);
        answer({ kind: "failed", id: call.id, code, message });
      }
    }
  });
  answer({ kind: "ready" });
}

if (parentPort) serveLog(parentPort, workerData as string);
