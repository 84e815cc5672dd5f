import { Pool, type PoolClient } from "pg";
import {
  assertLabel,
  factValues,
  feedbackOf,
  mayChange,
  storedColumns,
  storedPrediction,
  unknownPrediction,
  type FeedbackResult,
  type LatestOf,
  type LoggedPrediction,
  type PredictionStore,
  type Retention,
  type StoredPrediction,
} from "./prediction-store.ts";
import { PostgresWindows, windowSchema } from "./postgres-windows.ts";
import type { AnswerPlace, WindowOf, WindowStore } from "./window-store.ts";
import { ServalError } from "../errors/serval-error.ts";

/** Goes up when a table changes that older services write. */
const schemaVersion = 1;

const tables = ["predictions", "feedback", "prediction_keys", "prediction_facts"] as const;

/** The tables of the SQLite file, which is where their columns are explained. Ids compare by their bytes, in whatever language. */
const schema = `
  CREATE TABLE IF NOT EXISTS predictions (
    request_id TEXT COLLATE "C" PRIMARY KEY, at_ms BIGINT NOT NULL, model_name TEXT NOT NULL, model_version TEXT NOT NULL,
    label TEXT NOT NULL, confidence DOUBLE PRECISION NOT NULL, probabilities TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS predictions_at ON predictions (at_ms, request_id);
  CREATE TABLE IF NOT EXISTS feedback (
    request_id TEXT COLLATE "C" PRIMARY KEY REFERENCES predictions ON DELETE CASCADE, label TEXT NOT NULL, at_ms BIGINT NOT NULL
  );
  CREATE TABLE IF NOT EXISTS prediction_keys (
    request_id TEXT COLLATE "C" PRIMARY KEY REFERENCES predictions ON DELETE CASCADE, key_name TEXT NOT NULL
  );
  CREATE TABLE IF NOT EXISTS prediction_facts (
    request_id TEXT COLLATE "C" PRIMARY KEY REFERENCES predictions ON DELETE CASCADE,
    route TEXT NOT NULL, reason TEXT, preprocess_ms DOUBLE PRECISION, queue_ms DOUBLE PRECISION NOT NULL,
    model_ms DOUBLE PRECISION NOT NULL, total_ms DOUBLE PRECISION NOT NULL, width INTEGER, height INTEGER,
    brightness DOUBLE PRECISION NOT NULL, contrast DOUBLE PRECISION NOT NULL, sharpness DOUBLE PRECISION NOT NULL,
    saturation DOUBLE PRECISION NOT NULL, outlier_score DOUBLE PRECISION, embedding BYTEA
  );
  CREATE TABLE IF NOT EXISTS serval_predictions_version (version INTEGER PRIMARY KEY);
  INSERT INTO serval_predictions_version VALUES (${schemaVersion}) ON CONFLICT DO NOTHING;
`;

const factTypes = ["text", "text", ...Array(4).fill("float8"), "int4", "int4", ...Array(5).fill("float8"), "bytea"] as const;
const factArrays = factTypes.map((type, i) => `$${i + 2}::${type}[]`).join(", ");

/** Rows that are read at a time. */
const pageRows = 1000;
/** Rows that tell how many bytes one takes. */
const sampleRows = 256;
/** Bytes of a row in the other tables and in the indexes. */
const rowBytes = 520;
/** Removing goes down to this share of the limit, so that it has to be done seldom. */
const keptShare = 0.95;

const connectMs = 3000;
/** A server that takes longer is not there: rows wait until it is. */
const queryMs = 5000;
const vacuumMs = 3_600_000;

/** Predictions and feedback in PostgreSQL, which all replicas of a service share. */
export class PostgresStore implements PredictionStore {
  readonly windows: WindowStore;
  readonly #pool: Pool;
  /** Whether a row was removed whose bytes a VACUUM has not given back yet, and the one that runs. */
  #traces = false;
  #vacuuming: Promise<void> | undefined;

  private constructor(pool: Pool) {
    this.#pool = pool;
    this.windows = new PostgresWindows(async (text, values) => (await pool.query<Record<string, unknown>>(text, [...values])).rows);
  }

  /** Connects, and makes the tables where they are not there. Throws what the network and the server throw, and E_PREDICTION_LOG for a newer version. */
  static async open(url: string): Promise<PostgresStore> {
    const pool = new Pool({
      connectionString: url,
      max: 2,
      connectionTimeoutMillis: connectMs,
      query_timeout: queryMs,
      keepAlive: true,
      application_name: "serval",
    });
    // A connection that breaks while it is idle is replaced by the next query.
    pool.on("error", () => undefined);
    const store = new PostgresStore(pool);
    try {
      await store.#transact(async (client) => {
        // Replicas start at the same time, and CREATE TABLE IF NOT EXISTS fails where another one is just doing it.
        await client.query("SELECT pg_advisory_xact_lock(hashtext('serval predictions'))");
        await client.query(schema + windowSchema);
        const { rows } = await client.query<{ version: number }>("SELECT max(version) AS version FROM serval_predictions_version");
        const version = rows[0]?.version ?? schemaVersion;
        if (version <= schemaVersion) return;
        throw new ServalError(
          "E_PREDICTION_LOG",
          `it has version ${version}, and this Serval knows ${schemaVersion}. Use a newer Serval, or another database.`,
        );
      });
      return store;
    } catch (error) {
      await pool.end();
      throw error;
    }
  }

  async addPredictions(rows: readonly (LoggedPrediction | StoredPrediction)[]): Promise<void> {
    const keyed = rows.filter(({ keyName }) => keyName !== null);
    const known = rows.flatMap(({ requestId, facts }) => (facts === null ? [] : [[requestId, ...factValues(facts)]]));
    await this.#transact(async (client) => {
      await client.query(
        `INSERT INTO predictions SELECT * FROM unnest($1::text[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::text[])
           ON CONFLICT DO NOTHING`,
        columnsOf(
          rows.map((row) => [
            row.requestId,
            row.atMs,
            ...[row.modelName, row.modelVersion, row.label].map(storable),
            row.confidence,
            JSON.stringify(row.probabilities),
          ]),
          7,
        ),
      );
      await client.query(
        "INSERT INTO prediction_keys SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
        columnsOf(
          keyed.map(({ requestId, keyName }) => [requestId, storable(keyName ?? "")]),
          2,
        ),
      );
      await client.query(
        `INSERT INTO prediction_facts SELECT * FROM unnest($1::text[], ${factArrays}) ON CONFLICT DO NOTHING`,
        columnsOf(known, factTypes.length + 1),
      );
      await client.query(
        `INSERT INTO feedback SELECT * FROM unnest($1::text[], $2::text[], $3::int8[])
           ON CONFLICT (request_id) DO UPDATE SET label = excluded.label, at_ms = excluded.at_ms WHERE feedback.at_ms < excluded.at_ms`,
        columnsOf(feedbackOf(rows), 3),
      );
    });
  }

  async addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): Promise<FeedbackResult> {
    assertLabel(label, Object.keys(JSON.parse(await this.#require(requestId, ofKey)) as object));
    // Where the prediction is removed at this moment, there is nothing to label.
    const { rows } = await this.#pool.query<{ known: string | null; stored: string | null }>(
      `WITH known AS (SELECT label FROM feedback WHERE request_id = $1), stored AS (
         INSERT INTO feedback SELECT request_id, $2::text, $3::int8 FROM predictions WHERE request_id = $1 FOR SHARE
           ON CONFLICT (request_id) DO UPDATE SET label = excluded.label, at_ms = excluded.at_ms WHERE feedback.label <> excluded.label
           RETURNING label)
       SELECT (SELECT label FROM known) AS known, (SELECT label FROM stored) AS stored`,
      [requestId, label, atMs],
    );
    const [{ known, stored } = { known: null, stored: null }] = rows;
    if (stored !== null) return "new";
    if (known === label) return "same";
    // Neither stored nor known before: another replica has stored the same label meanwhile, or the prediction is gone.
    const now = await this.#pool.query("SELECT 1 FROM feedback WHERE request_id = $1", [requestId]);
    if (now.rowCount === 0) throw unknownPrediction(requestId);
    return "same";
  }

  async erase(requestId: string, ofKey: string | null): Promise<void> {
    await this.#require(requestId, ofKey);
    await this.#pool.query("DELETE FROM predictions WHERE request_id = $1", [requestId]);
    this.#traces = true;
  }

  async expiry({ keepDays, maxBytes }: Retention, nowMs: number): Promise<number | undefined> {
    this.#vacuum();
    const { rows } = await this.#pool.query<{ oldest: string | null; bytes: string }>(
      `SELECT (SELECT min(at_ms) FROM predictions) AS oldest, ${tables.map((table) => `pg_total_relation_size('${table}')`).join(" + ")} AS bytes`,
    );
    const [{ oldest, bytes } = { oldest: null, bytes: "0" }] = rows;
    const tooOld = keepDays > 0 ? nowMs - keepDays * 86_400_000 : -Infinity;
    const tooMany = Number(bytes) > maxBytes ? await this.#oldestToKeep(maxBytes) : -Infinity;
    const beforeMs = Math.ceil(Math.max(tooOld, tooMany));
    return oldest !== null && Number(oldest) < beforeMs ? beforeMs : undefined;
  }

  async removeBefore(beforeMs: number, most: number): Promise<number> {
    const { rowCount } = await this.#pool.query(
      `DELETE FROM predictions WHERE request_id IN
         (SELECT request_id FROM predictions WHERE at_ms < $1 ORDER BY at_ms, request_id LIMIT $2)`,
      [beforeMs, most],
    );
    await this.windows.removeBefore(beforeMs);
    return rowCount ?? 0;
  }

  async *read(sinceMs: number): AsyncIterable<readonly StoredPrediction[]> {
    let last = { atMs: sinceMs - 1, requestId: "\u{10ffff}" };
    for (;;) {
      const { rows } = await this.#pool.query<Record<string, unknown>>(
        `SELECT ${storedColumns} WHERE (p.at_ms, p.request_id) > ($1, $2) ORDER BY p.at_ms, p.request_id LIMIT ${pageRows}`,
        [last.atMs, last.requestId],
      );
      const found = rows.map((row) => storedPrediction(row));
      const end = found.at(-1);
      if (end === undefined) return;
      yield found;
      last = end;
    }
  }

  async latest({ modelName, modelVersion, sinceMs, untilMs, most }: LatestOf): Promise<readonly StoredPrediction[]> {
    const { rows } = await this.#pool.query<Record<string, unknown>>(
      `SELECT ${storedColumns} WHERE p.at_ms BETWEEN $1 AND $2 AND model_name = $3 AND model_version = $4
         ORDER BY p.at_ms DESC, p.request_id DESC LIMIT $5`,
      [sinceMs, untilMs, storable(modelName), storable(modelVersion), most],
    );
    return rows.map((row) => storedPrediction(row));
  }

  async after({ modelName, modelVersion }: WindowOf, { atMs, requestId }: AnswerPlace, most: number): Promise<readonly StoredPrediction[]> {
    const { rows } = await this.#pool.query<Record<string, unknown>>(
      `SELECT ${storedColumns} WHERE (p.at_ms, p.request_id) > ($1, $2) AND model_name = $3 AND model_version = $4
         ORDER BY p.at_ms, p.request_id LIMIT $5`,
      [atMs, requestId, storable(modelName), storable(modelVersion), most],
    );
    return rows.map((row) => storedPrediction(row));
  }

  /** The next attempt makes new connections. */
  survives(): boolean {
    return false;
  }

  async close(): Promise<void> {
    await this.#vacuuming;
    await this.#pool.end();
  }

  /** The probabilities of a prediction that this key may change. Throws E_FEEDBACK_UNKNOWN. */
  async #require(requestId: string, ofKey: string | null): Promise<string> {
    // No id has one, and the server would refuse it with another error.
    if (requestId.includes("\0")) throw unknownPrediction(requestId);
    const { rows } = await this.#pool.query<{ probabilities: string; key_name: string | null }>(
      "SELECT probabilities, key_name FROM predictions LEFT JOIN prediction_keys USING (request_id) WHERE request_id = $1",
      [requestId],
    );
    const [row] = rows;
    if (row === undefined || !mayChange(row.key_name, ofKey)) throw unknownPrediction(requestId);
    return row.probabilities;
  }

  /** Gives back the room of what was erased, beside everything else; the rows themselves are gone already. */
  #vacuum(): void {
    if (!this.#traces || this.#vacuuming !== undefined) return;
    this.#traces = false;
    const work = async (): Promise<void> => {
      const client = await this.#pool.connect();
      try {
        // The client's own bound on a query does not hold for this one.
        await client.query({ text: `VACUUM ${tables.join(", ")}`, query_timeout: vacuumMs } as { text: string });
      } finally {
        client.release();
      }
    };
    this.#vacuuming = work()
      .catch(() => void (this.#traces = true))
      .finally(() => (this.#vacuuming = undefined));
  }

  /** As in the SQLite store: tables keep the room of removed rows for new ones, so it is reckoned from the length of rows. */
  async #oldestToKeep(maxBytes: number): Promise<number> {
    const sample = await this.#pool.query<{ bytes: number | null }>(
      `SELECT avg(pg_column_size(p.*) + coalesce(pg_column_size(embedding) + 8, 0))::float8 AS bytes
         FROM (SELECT * FROM predictions ORDER BY at_ms DESC LIMIT ${sampleRows}) p LEFT JOIN prediction_facts USING (request_id)`,
    );
    const fitting = Math.floor((keptShare * maxBytes) / ((sample.rows[0]?.bytes ?? 0) + rowBytes));
    const { rows } = await this.#pool.query<{ at: string }>("SELECT at_ms AS at FROM predictions ORDER BY at_ms DESC LIMIT 1 OFFSET $1", [
      fitting,
    ]);
    return rows[0] === undefined ? -Infinity : Number(rows[0].at) + 1;
  }

  async #transact(work: (client: PoolClient) => Promise<void>): Promise<void> {
    const client = await this.#pool.connect();
    try {
      await client.query("BEGIN");
      await work(client);
      await client.query("COMMIT");
      client.release();
    } catch (error) {
      // Whatever the connection is in the middle of ends with it.
      client.release(true);
      throw error;
    }
  }
}

/** Rows as one array for each column, as unnest() takes them. */
function columnsOf(rows: readonly (readonly unknown[])[], width: number): unknown[][] {
  return Array.from({ length: width }, (_, i) => rows.map((row) => row[i]));
}

/** Text as PostgreSQL can keep it: it has no character 0. */
function storable(text: string): string {
  return text.replaceAll("\0", "\u{fffd}");
}
