import type { SQLOutputValue } from "node:sqlite";
import { invalid } from "../refusal.ts";
import { checkKey } from "../names.ts";
import { cutPage, readPageToken, type Page } from "../search/page-token.ts";
import { marks } from "../search/sql.ts";
import type { Database } from "./database.ts";

/** A metric's point as it comes in. NaN and infinities are allowed. */
export interface NewPoint {
  readonly key: string;
  readonly value: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly step: number;
  /** The logged model that the value is of, and the data that it was measured on. */
  readonly modelId?: string | undefined;
  readonly datasetName?: string | undefined;
  readonly datasetDigest?: string | undefined;
}

/** A point as it goes out: JSON has no NaN, protobuf's mapping writes it as text. */
export interface Point {
  readonly key: string;
  readonly value: number | "NaN";
  readonly timestamp: number;
  readonly step: number;
}

/** Where a point is in its metric's order. */
export type PointPlace = Pick<Point, "timestamp" | "step" | "value">;

const columns = "key, value, timestamp, step, is_nan";

/** A row of `columns`. */
function toPoint([key, value, timestamp, step, isNan]: readonly SQLOutputValue[]): Point {
  return { key: key as string, value: isNan === 1 ? "NaN" : (value as number), timestamp: timestamp as number, step: step as number };
}

/** MLflow keeps the largest number in place of an infinity, and its clients see that. */
export function storable(value: number): { value: number; isNan: 0 | 1 } {
  if (Number.isNaN(value)) return { value: 0, isNan: 1 };
  return { value: Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, value)), isNan: 0 };
}

export function checkPoint({ key, timestamp, step }: NewPoint, path: string): void {
  checkKey(key, `${path}name`);
  if (!Number.isSafeInteger(timestamp) || timestamp < 0)
    throw invalid(`${path}timestamp of ${key}: expected milliseconds since 1970, got ${timestamp}.`);
  if (!Number.isSafeInteger(step)) throw invalid(`${path}step of ${key}: expected a whole number, got ${step}.`);
}

const inOrder = "timestamp, step, value, is_nan";
const maxBulkPoints = 25_000;

/** The points of all runs' metrics. The callers hold the transaction and know that the run is there. */
export class Metrics {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Keeps the points; the same point again changes nothing. */
  log(run: number, points: readonly NewPoint[]): void {
    const newest = new Map<string, { value: number; isNan: 0 | 1; timestamp: number; step: number }>();
    for (const { key, value: given, timestamp, step } of points) {
      const { value, isNan } = storable(given);
      this.#db.run("INSERT OR IGNORE INTO metrics VALUES (?, ?, ?, ?, ?, ?)", run, key, timestamp, step, value, isNan);
      const known = newest.get(key);
      if (known === undefined || isNewer(step, timestamp, value, known)) newest.set(key, { value, isNan, timestamp, step });
    }
    // The newest is the one with the largest step, then time, then value: not the one that came last.
    const upsert = `INSERT INTO latest_metrics (run, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (run, key) DO UPDATE SET
        value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
      WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)`;
    for (const [key, { value, isNan, timestamp, step }] of newest) this.#db.run(upsert, run, key, value, timestamp, step, isNan);
  }

  /** At most `limit` of a run's metrics, by name. */
  latest(run: number, limit: number): Point[] {
    return this.#db.arrays(`SELECT ${columns} FROM latest_metrics WHERE run = ? LIMIT ?`, run, limit).map(toPoint);
  }

  /** Those of the first `limit` metrics of a run that have more than one point, so that there is a curve to draw. */
  curves(run: number, limit: number): string[] {
    const sql = `SELECT key FROM (SELECT run, key FROM latest_metrics WHERE run = ? LIMIT ?) l WHERE
      (SELECT count(*) FROM (SELECT 1 FROM metrics m WHERE m.run = l.run AND m.key = l.key LIMIT 2)) > 1`;
    return this.#db.all(sql, run, limit).map((row) => String(row["key"]));
  }

  /** `maxResults` points of a metric from the page that the token names; none of a run that is not there. */
  history(runId: string, key: string, maxResults: number, pageToken?: string): Page<Point> {
    const offset = readPageToken(pageToken);
    const rows = this.#db.arrays(
      `SELECT ${columns} FROM metrics WHERE run = (SELECT id FROM runs WHERE run_id = ?) AND key = ? ORDER BY ${inOrder} LIMIT ? OFFSET ?`,
      runId,
      key,
      maxResults + 1,
      offset,
    );
    return cutPage(rows.map(toPoint), offset, maxResults);
  }

  /** The next `count` points of a metric behind one of them, or its first. */
  historyAfter(runId: string, key: string, after: PointPlace | undefined, count: number): Point[] {
    const { timestamp, step, value } = after ?? { timestamp: -1, step: 0, value: 0 };
    const sql = `SELECT ${columns} FROM metrics WHERE run = (SELECT id FROM runs WHERE run_id = ?) AND key = ?
      AND (${inOrder}) > (?, ?, ?, ?) ORDER BY ${inOrder} LIMIT ?`;
    const isNan = value === "NaN" ? 1 : 0;
    return this.#db.arrays(sql, runId, key, timestamp, step, value === "NaN" ? 0 : value, isNan, count).map(toPoint);
  }

  /** One metric of several runs, by run and then in time; runs that are not there have none. */
  historyOfRuns(runIds: readonly string[], key: string, maxResults: number = maxBulkPoints): (Point & { readonly run_id: string })[] {
    const sql = `SELECT ${columns}, run_id FROM metrics JOIN runs ON runs.id = run
      WHERE run_id IN (${marks(runIds.length)}) AND key = ? ORDER BY run_id, ${inOrder} LIMIT ?`;
    const rows = this.#db.arrays(sql, ...runIds, key, Math.min(maxResults, maxBulkPoints));
    return rows.map((row) => ({ ...toPoint(row), run_id: String(row[5]) }));
  }

  /**
   * At most `maxResults` points of a metric, evenly over its steps, those that MLflow chooses: the first of each of as many parts
   * of the same size, the last of them replaced by the very last point. None of a run that is not there.
   */
  sample(runId: string, key: string, maxResults: number, steps?: readonly [from: number, to: number]): Point[] {
    const [from, to] = steps ?? [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
    // A whole number, because that is how parts are counted: node:sqlite gives SQLite every number as a real one.
    const rows = this.#db.arrays(
      `WITH parts AS (
         SELECT ${columns}, ntile(?5) OVER byStep AS part, row_number() OVER byStep AS place, count(*) OVER () AS total
         FROM metrics WHERE run = (SELECT id FROM runs WHERE run_id = ?1) AND key = ?2 AND step BETWEEN ?3 AND ?4
         WINDOW byStep AS (ORDER BY step, timestamp, value, is_nan)),
       numbered AS (SELECT *, lag(part) OVER (ORDER BY place) AS before FROM parts)
       SELECT ${columns} FROM numbered
       WHERE place = total OR (part IS NOT before AND (part < ?5 OR total < ?5))
       ORDER BY place`,
      runId,
      key,
      from,
      to,
      BigInt(maxResults),
    );
    return rows.map(toPoint);
  }
}

function isNewer(step: number, timestamp: number, value: number, than: { step: number; timestamp: number; value: number }): boolean {
  if (step !== than.step) return step > than.step;
  if (timestamp !== than.timestamp) return timestamp > than.timestamp;
  return value > than.value;
}
