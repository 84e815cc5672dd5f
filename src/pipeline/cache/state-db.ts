import { lstatSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** What was seen of a file when it was hashed: mtime in ns, inode and size. The same again means the same bytes. */
export type Stamp = string;

export interface HashState {
  /** Path -> hash and stamp, of `path` itself or of all files below it. */
  below(path: string): Map<string, { readonly md5: string; readonly stamp: Stamp }>;
  save(items: Iterable<readonly [path: string, md5: string, stamp: Stamp]>): void;
  close(): void;
}

const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, md5 TEXT NOT NULL) WITHOUT ROWID;`;

/**
 * A small SQLite database of hashes that are known, so that a file that did not change is not read again. It may be lost or
 * removed at any time: everything in it can be computed again. That is why it is not synced, and why a damaged one is thrown away.
 */
export function openHashState(path: string): HashState {
  mkdirSync(dirname(path), { recursive: true });
  // It could lead to somebody's database. Whatever is in it can be computed again.
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true) rmSync(path);
  const open = (): DatabaseSync => {
    const db = new DatabaseSync(path, { timeout: 10_000 });
    try {
      db.exec(schema);
      db.prepare("SELECT path FROM hashes LIMIT 1").all();
    } catch (error) {
      db.close();
      throw error;
    }
    return db;
  };
  let db: DatabaseSync;
  try {
    db = open();
  } catch (error) {
    if (!/malformed|not a database|disk image/.test((error as Error).message)) throw error;
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
    db = open();
  }
  // "0" follows "/" in ASCII: the range holds all that is below the folder, and only that.
  const select = db.prepare("SELECT path, stamp, md5 FROM hashes WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')");
  const insert = db.prepare("INSERT OR REPLACE INTO hashes (path, stamp, md5) VALUES (?, ?, ?)");
  return {
    below: (path) =>
      new Map(select.all(path).map((row) => [String(row["path"]), { md5: String(row["md5"]), stamp: String(row["stamp"]) }])),
    save(items) {
      db.exec("BEGIN IMMEDIATE");
      try {
        for (const [path, md5, stamp] of items) insert.run(path, stamp, md5);
        db.exec("COMMIT");
      } catch (error) {
        db.exec("ROLLBACK");
        throw error;
      }
    },
    close: () => db.close(),
  };
}
