import type { DatabaseSync } from "node:sqlite";
import { closedWindow, notNewest, type ClosedWindow, type WindowOf, type WindowStore } from "./window-store.ts";

export const windowSchema = `
  CREATE TABLE IF NOT EXISTS monitor_windows (
    model_name TEXT NOT NULL, model_version TEXT NOT NULL, number INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
    last_id TEXT NOT NULL, report TEXT NOT NULL, taken_ms INTEGER NOT NULL, run_id TEXT, PRIMARY KEY (model_name, model_version, number)
  ) STRICT, WITHOUT ROWID;
`;

/** Closed windows in the file of the predictions. */
export class SqliteWindows implements WindowStore {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  async newest({ modelName, modelVersion }: WindowOf): Promise<ClosedWindow | undefined> {
    const row = this.#db
      .prepare("SELECT * FROM monitor_windows WHERE model_name = ? AND model_version = ? ORDER BY number DESC LIMIT 1")
      .get(modelName, modelVersion);
    return row && closedWindow(row);
  }

  async close({ modelName, modelVersion, number, fromMs, last, report }: ClosedWindow, nowMs: number): Promise<boolean> {
    const { changes } = this.#db
      .prepare("INSERT OR IGNORE INTO monitor_windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)")
      .run(modelName, modelVersion, number, fromMs, last.atMs, last.requestId, report, nowMs);
    return changes === 1;
  }

  async take(beforeMs: number, nowMs: number): Promise<ClosedWindow | undefined> {
    const row = this.#db
      .prepare(
        `UPDATE monitor_windows SET taken_ms = ? WHERE (model_name, model_version, number) IN
           (SELECT model_name, model_version, number FROM monitor_windows WHERE run_id IS NULL AND taken_ms < ? ORDER BY to_ms LIMIT 1)
         RETURNING *`,
      )
      .get(nowMs, beforeMs);
    return row && closedWindow(row);
  }

  async removeBefore(beforeMs: number): Promise<void> {
    this.#db.prepare(`DELETE FROM monitor_windows AS w WHERE w.to_ms < ? AND ${notNewest}`).run(beforeMs);
  }

  async logged({ modelName, modelVersion, number }: ClosedWindow, runId: string): Promise<void> {
    this.#db
      .prepare("UPDATE monitor_windows SET run_id = ? WHERE model_name = ? AND model_version = ? AND number = ?")
      .run(runId, modelName, modelVersion, number);
  }
}
