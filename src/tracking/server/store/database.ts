import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { ServalError } from "../../../errors/serval-error.ts";
import { checkOwner, migrate } from "../migrations.ts";
import { refusal } from "../refusal.ts";
import { Like } from "../search/like.ts";

export type Row = Record<string, SQLOutputValue>;

/** How long a write waits for another process that writes to the same store. */
const busyTimeoutMs = 10_000;

/** SQLite with prepared statements by their text, and transactions. All calls are synchronous. */
export class Database {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #like = new Like();

  /**
   * Opens, makes or migrates the database. Every commit is on the disk before it returns (WAL with `synchronous` FULL), so
   * what was acknowledged survives a killed process and a power cut. Several processes may have it open; writers take turns.
   */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    try {
      this.#db = new DatabaseSync(path, { timeout: busyTimeoutMs });
    } catch (error) {
      throw unusable(path, error);
    }
    try {
      // Before anything is written: what is somebody else's stays as it is, byte for byte.
      checkOwner(this.#db, path);
      this.#db.exec(`
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA foreign_keys = ON;
        PRAGMA case_sensitive_like = ON;
        PRAGMA cache_size = -65536;
        PRAGMA temp_store = MEMORY;`);
      // After the pragma, which sets SQLite's own one.
      this.#db.function("like", { deterministic: true }, (pattern, text) =>
        pattern === null || text === null ? null : Number(this.#like.fits(String(pattern), String(text))),
      );
      migrate(this.#db, path);
    } catch (error) {
      this.#db.close();
      throw unusable(path, error);
    }
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepare(sql).all(...values);
  }

  /** Rows as lists, which takes half the time of `all` where there are many. */
  arrays(sql: string, ...values: SQLInputValue[]): (readonly SQLOutputValue[])[] {
    const statement = this.#prepare(sql);
    statement.setReturnArrays(true);
    return statement.all(...values) as object[] as (readonly SQLOutputValue[])[];
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#prepare(sql).get(...values);
  }

  /** Returns how many rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  insert(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepare(sql).run(...values).lastInsertRowid);
  }

  /** All of `work` or nothing. Inside another one it is a part of that. */
  write<Result>(work: () => Result): Result {
    if (this.#db.isTransaction) return work();
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      // A full disk ends the transaction by itself.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  /** Several reads of one state, also while another process writes. */
  read<Result>(work: () => Result): Result {
    if (this.#db.isTransaction) return work();
    this.#db.exec("BEGIN");
    try {
      return work();
    } finally {
      this.#db.exec("COMMIT");
    }
  }

  close(): void {
    this.#db.close();
  }

  #prepareNew(sql: string): StatementSync {
    try {
      return this.#db.prepare(sql);
    } catch (error) {
      if (!tooComplex.test((error as Error).message)) throw error;
      throw refusal("INVALID_PARAMETER_VALUE", "The search is too complex for one request: use fewer clauses, values or orders.", error);
    }
  }

  #prepare(sql: string): StatementSync {
    this.#like.restart();
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#prepareNew(sql);
      // Searches make statements of any form; those that are used all the time are back at once.
      if (this.#statements.size >= 500) this.#statements.clear();
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** SQLite's own limits (https://www.sqlite.org/limits.html). Requests have lower ones, but several together may still be too much. */
const tooComplex = /too many|too large|too complex|too big|at most \d+ tables/i;

function unusable(path: string, error: unknown): unknown {
  if (error instanceof ServalError) return error;
  const { message } = error as Error;
  if (/disk is full/i.test(message)) return new ServalError("E_DISK_FULL", `${path}: ${message}.`, { cause: error });
  return new ServalError("E_TRACKING_STORE", `${path} cannot be opened: ${message}.`, { cause: error });
}
