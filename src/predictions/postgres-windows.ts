import { closedWindow, notNewest, type ClosedWindow, type WindowOf, type WindowStore } from "./window-store.ts";

export const windowSchema = `
  CREATE TABLE IF NOT EXISTS monitor_windows (
    model_name TEXT NOT NULL, model_version TEXT NOT NULL, number BIGINT NOT NULL, from_ms BIGINT NOT NULL, to_ms BIGINT NOT NULL,
    last_id TEXT NOT NULL, report TEXT NOT NULL, taken_ms BIGINT NOT NULL, run_id TEXT, PRIMARY KEY (model_name, model_version, number)
  );
`;

type Query = (text: string, values: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>;

/** Closed windows in the database of the predictions. */
export class PostgresWindows implements WindowStore {
  readonly #query: Query;

  constructor(query: Query) {
    this.#query = query;
  }

  async newest({ modelName, modelVersion }: WindowOf): Promise<ClosedWindow | undefined> {
    const [row] = await this.#query(
      "SELECT * FROM monitor_windows WHERE model_name = $1 AND model_version = $2 ORDER BY number DESC LIMIT 1",
      [modelName, modelVersion],
    );
    return row && closedWindow(row);
  }

  async close({ modelName, modelVersion, number, fromMs, last, report }: ClosedWindow, nowMs: number): Promise<boolean> {
    const rows = await this.#query(
      "INSERT INTO monitor_windows VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL) ON CONFLICT DO NOTHING RETURNING number",
      [modelName, modelVersion, number, fromMs, last.atMs, last.requestId, report, nowMs],
    );
    return rows.length === 1;
  }

  async take(beforeMs: number, nowMs: number): Promise<ClosedWindow | undefined> {
    const [row] = await this.#query(
      `UPDATE monitor_windows SET taken_ms = $1 WHERE (model_name, model_version, number) IN
         (SELECT model_name, model_version, number FROM monitor_windows WHERE run_id IS NULL AND taken_ms < $2
            ORDER BY to_ms LIMIT 1 FOR UPDATE SKIP LOCKED)
       RETURNING *`,
      [nowMs, beforeMs],
    );
    return row && closedWindow(row);
  }

  async removeBefore(beforeMs: number): Promise<void> {
    await this.#query(`DELETE FROM monitor_windows AS w WHERE w.to_ms < $1 AND ${notNewest}`, [beforeMs]);
  }

  async logged({ modelName, modelVersion, number }: ClosedWindow, runId: string): Promise<void> {
    await this.#query("UPDATE monitor_windows SET run_id = $1 WHERE model_name = $2 AND model_version = $3 AND number = $4", [
      runId,
      modelName,
      modelVersion,
      number,
    ]);
  }
}
