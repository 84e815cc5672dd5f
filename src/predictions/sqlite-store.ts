import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { ServalError } from "../errors/serval-error.ts";
import {
  assertLabel,
  factValues,
  feedbackOf,
  storedColumns,
  storedPrediction,
  mayChange,
  unknownPrediction,
  type FeedbackResult,
  type LatestOf,
  type LoggedPrediction,
  type PredictionStore,
  type Retention,
  type StoredPrediction,
} from "./prediction-store.ts";
import { SqliteWindows, windowSchema } from "./sqlite-windows.ts";
import type { AnswerPlace, WindowOf, WindowStore } from "./window-store.ts";

/** Goes up when a table changes that older services write. During a deploy an old and a new one share the file: what is new goes into new tables. */
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
  CREATE TABLE IF NOT EXISTS prediction_facts (
    request_id TEXT PRIMARY KEY REFERENCES predictions (request_id) ON DELETE CASCADE,
    route TEXT NOT NULL, reason TEXT, preprocess_ms REAL, queue_ms REAL NOT NULL, model_ms REAL NOT NULL, total_ms REAL NOT NULL,
    width INTEGER, height INTEGER, brightness REAL NOT NULL, contrast REAL NOT NULL, sharpness REAL NOT NULL, saturation REAL NOT NULL,
    outlier_score REAL, embedding BLOB
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${schemaVersion};
`;

/** Rows that are read at a time. */
const pageRows = 1000;
/** Rows that tell how many bytes one takes. */
const sampleRows = 256;
/** Bytes of a row beside its texts, in all tables: times, numbers, lengths. */
const rowBytes = 140;
const pageBytes = 4096;
const mostInPage = pageBytes / 4;
/** How full the pages of a table are whose keys come in no order. */
const pageFill = 0.85;
/** Removing goes down to this share of the limit, so that it has to be done seldom. */
const keptShare = 0.95;

/** SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL (sqlite.org/rescode.html): with these the file is good, and can be read. */
const passing: ReadonlySet<number> = new Set([5, 6, 13]);

/** Predictions and feedback in an SQLite file, which several services may use at a time. */
export class SqliteStore implements PredictionStore {
  readonly #db: DatabaseSync;
  readonly windows: WindowStore;
  readonly #insert: StatementSync;
  readonly #insertKey: StatementSync;
  readonly #insertFacts: StatementSync;
  readonly #find: StatementSync;
  readonly #known: StatementSync;
  readonly #label: StatementSync;
  readonly #bringLabel: StatementSync;
  readonly #removeLabel: StatementSync;
  readonly #removeRow: StatementSync;
  /** Whether what was erased may still be in the write-ahead log, because somebody was reading it. */
  #traces = false;

  /** Opens the file, or makes it. Throws what the file system or SQLite throws, and E_PREDICTION_LOG for a newer version. */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    const db = new DatabaseSync(path);
    this.#db = db;
    try {
      // Readers (drift, live accuracy) do not block the service, nor a second service on the same file.
      db.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; PRAGMA secure_delete = ON;");
      const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
      if (version > schemaVersion) {
        throw new ServalError(
          "E_PREDICTION_LOG",
          `it has version ${version}, and this Serval knows ${schemaVersion}. Use a newer Serval, or another folder.`,
        );
      }
      db.exec(schema + windowSchema);
      this.windows = new SqliteWindows(db);
      this.#insert = db.prepare("INSERT OR IGNORE INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?)");
      this.#insertKey = db.prepare("INSERT OR IGNORE INTO prediction_keys VALUES (?, ?)");
      this.#insertFacts = db.prepare("INSERT OR IGNORE INTO prediction_facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
      this.#find = db.prepare(
        "SELECT probabilities, key_name FROM predictions LEFT JOIN prediction_keys USING (request_id) WHERE request_id = ?",
      );
      this.#known = db.prepare("SELECT label FROM feedback WHERE request_id = ?");
      this.#label = db.prepare("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)");
      this.#bringLabel = db.prepare(
        `INSERT INTO feedback VALUES (?, ?, ?)
           ON CONFLICT DO UPDATE SET label = excluded.label, at_ms = excluded.at_ms WHERE feedback.at_ms < excluded.at_ms`,
      );
      this.#removeLabel = db.prepare("DELETE FROM feedback WHERE request_id = ?");
      this.#removeRow = db.prepare("DELETE FROM predictions WHERE request_id = ?");
    } catch (error) {
      db.close();
      throw error;
    }
  }

  async addPredictions(rows: readonly (LoggedPrediction | StoredPrediction)[]): Promise<void> {
    // In the file system's hands after each commit, on the disk a little later: enough for a crash of this process.
    this.#db.exec("PRAGMA synchronous = NORMAL");
    this.#transact(() => {
      for (const { requestId, atMs, modelName, modelVersion, label, confidence, probabilities, keyName, facts } of rows) {
        this.#insert.run(requestId, atMs, modelName, modelVersion, label, confidence, JSON.stringify(probabilities));
        if (keyName !== null) this.#insertKey.run(requestId, keyName);
        if (facts !== null) this.#insertFacts.run(requestId, ...factValues(facts));
      }
      for (const feedback of feedbackOf(rows)) this.#bringLabel.run(...feedback);
    });
  }

  async addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): Promise<FeedbackResult> {
    const { probabilities } = this.#require(requestId, ofKey);
    assertLabel(label, Object.keys(JSON.parse(probabilities) as object));
    if ((this.#known.get(requestId) as { label: string } | undefined)?.label === label) return "same";
    this.#db.exec("PRAGMA synchronous = FULL");
    this.#label.run(requestId, label, atMs);
    return "new";
  }

  async erase(requestId: string, ofKey: string | null): Promise<void> {
    this.#require(requestId, ofKey);
    this.#db.exec("PRAGMA synchronous = FULL");
    this.#transact(() => this.#remove(requestId));
    this.#traces = true;
    this.#wipeLog();
  }

  async expiry({ keepDays, maxBytes }: Retention, nowMs: number): Promise<number | undefined> {
    this.#wipeLog();
    const tooOld = keepDays > 0 ? nowMs - keepDays * 86_400_000 : -Infinity;
    const tooMany = this.#usedBytes() > maxBytes ? this.#oldestToKeep(maxBytes) : -Infinity;
    const beforeMs = Math.max(tooOld, tooMany);
    const oldest = this.#db.prepare("SELECT min(at_ms) AS at FROM predictions").get() as { at: number | null };
    return oldest.at !== null && oldest.at < beforeMs ? beforeMs : undefined;
  }

  async removeBefore(beforeMs: number, most: number): Promise<number> {
    const ids = this.#db.prepare("SELECT request_id FROM predictions WHERE at_ms < ? ORDER BY at_ms LIMIT ?").all(beforeMs, most);
    this.#db.exec("PRAGMA synchronous = NORMAL");
    this.remove(ids.map((row) => row["request_id"] as string));
    await this.windows.removeBefore(beforeMs);
    return ids.length;
  }

  /** All of them or none. */
  remove(requestIds: readonly string[]): void {
    this.#transact(() => requestIds.forEach((id) => this.#remove(id)));
  }

  count(): number {
    return (this.#db.prepare("SELECT count(*) AS n FROM predictions").get() as { n: number }).n;
  }

  async *read(sinceMs: number): AsyncIterable<readonly StoredPrediction[]> {
    // A page at a time instead of one long reading, which would keep the write-ahead log growing.
    const page = this.#db.prepare(
      `SELECT ${storedColumns} WHERE (p.at_ms, p.request_id) > (?, ?) ORDER BY p.at_ms, p.request_id LIMIT ${pageRows}`,
    );
    let last = { atMs: sinceMs - 1, requestId: "\u{10ffff}" };
    for (;;) {
      const rows = page.all(last.atMs, last.requestId).map((row) => storedPrediction(row));
      const end = rows.at(-1);
      if (end === undefined) return;
      yield rows;
      last = end;
    }
  }

  async latest({ modelName, modelVersion, sinceMs, untilMs, most }: LatestOf): Promise<readonly StoredPrediction[]> {
    const rows = this.#db
      .prepare(
        `SELECT ${storedColumns} WHERE p.at_ms BETWEEN ? AND ? AND model_name = ? AND model_version = ? ORDER BY p.at_ms DESC, p.request_id DESC LIMIT ?`,
      )
      .all(sinceMs, untilMs, modelName, modelVersion, most);
    return rows.map((row) => storedPrediction(row));
  }

  async after({ modelName, modelVersion }: WindowOf, { atMs, requestId }: AnswerPlace, most: number): Promise<readonly StoredPrediction[]> {
    const rows = this.#db
      .prepare(
        `SELECT ${storedColumns} WHERE (p.at_ms, p.request_id) > (?, ?) AND model_name = ? AND model_version = ?
           ORDER BY p.at_ms, p.request_id LIMIT ?`,
      )
      .all(atMs, requestId, modelName, modelVersion, most);
    return rows.map((row) => storedPrediction(row));
  }

  survives(error: unknown): boolean {
    const { errcode } = error as { readonly errcode?: number };
    return errcode !== undefined && passing.has(errcode & 0xff);
  }

  async close(): Promise<void> {
    this.#db.close();
  }

  #require(requestId: string, ofKey: string | null): { readonly probabilities: string } {
    const row = this.#find.get(requestId) as { probabilities: string; key_name: string | null } | undefined;
    if (row === undefined || !mayChange(row.key_name, ofKey)) throw unknownPrediction(requestId);
    return row;
  }

  /** Version 1 made `feedback` without a cascade; what newer tables have goes with the prediction. */
  #remove(requestId: string): void {
    this.#removeLabel.run(requestId);
    this.#removeRow.run(requestId);
  }

  /** What was erased is zeroes in the file by `secure_delete`; the write-ahead log still has the pages from before. */
  #wipeLog(): void {
    if (!this.#traces) return;
    const { busy } = this.#db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get() as { busy: number };
    this.#traces = busy !== 0;
  }

  #usedBytes(): number {
    const read = (name: string): number => (this.#db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[name] ?? 0;
    return (read("page_count") - read("freelist_count")) * read("page_size");
  }

  /**
   * Time of the oldest of as many rows as fit. Their number is reckoned from the length of the newest ones: pages from which rows
   * were removed are not free but less full, so pages in use do not tell what still fits.
   */
  #oldestToKeep(maxBytes: number): number {
    const { long, short } = this.#db
      .prepare(
        `SELECT coalesce(avg(length(label) + length(model_name) + length(model_version) + length(probabilities)), 0) AS long,
                coalesce(avg(4 * length(request_id) + coalesce(length(embedding) + 8, 0)), 0) AS short
           FROM (SELECT * FROM predictions ORDER BY at_ms DESC LIMIT ${sampleRows}) LEFT JOIN prediction_facts USING (request_id)`,
      )
      .get() as { long: number; short: number };
    // Beyond a quarter of a page, SQLite moves most of a row to separate pages (sqlite.org/fileformat2.html, "Cell Payload Overflow").
    const overflowPages = long > mostInPage ? Math.ceil((long - mostInPage) / pageBytes) : 0;
    const bytes = (Math.min(long, mostInPage) + short + rowBytes) / pageFill + overflowPages * pageBytes;
    const fitting = Math.floor((keptShare * maxBytes) / bytes);
    const row = this.#db.prepare("SELECT at_ms FROM predictions ORDER BY at_ms DESC LIMIT 1 OFFSET ?").get(fitting);
    return row === undefined ? -Infinity : (row["at_ms"] as number) + 1;
  }

  #transact(work: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }
}
