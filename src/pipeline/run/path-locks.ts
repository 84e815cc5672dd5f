import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { sha256 } from "../../files.ts";

export interface WantedLock {
  /** What is locked: a stage's address, a file. */
  readonly name: string;
  /** Many may read at once; who writes is alone. */
  readonly mode: "read" | "write";
}

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once, when somebody else holds a lock. */
  readonly onWait?: (name: string) => void;
}

const retryMs = 100;

/**
 * Takes all the locks, or waits until it can, and returns what gives them back. Each is a lock of the operating system on an
 * empty SQLite file (Node has no other way to ask for one), so it ends with the process that holds it, however that ends.
 */
export async function takeLocks(dir: string, wanted: readonly WantedLock[], options: LockOptions = {}): Promise<() => void> {
  let waited = false;
  for (;;) {
    options.signal?.throwIfAborted();
    const locks = tryLocks(dir, wanted);
    if (typeof locks === "function") return locks;
    if (!waited) options.onWait?.(locks.busy);
    waited = true;
    await delay(retryMs * (0.5 + Math.random()), undefined, { signal: options.signal });
  }
}

/** Takes all the locks and returns what gives them back, or takes none and names one that somebody else holds. */
export function tryLocks(dir: string, wanted: readonly WantedLock[]): (() => void) | { readonly busy: string } {
  mkdirSync(dir, { recursive: true });
  const held: DatabaseSync[] = [];
  const release = (): void => held.forEach((db) => db.close());
  const busy = wanted.find(({ name, mode }) => {
    const db = new DatabaseSync(join(dir, `${sha256(name).slice(0, 32)}.lock`), { timeout: 0 });
    held.push(db);
    return !tryLock(db, mode);
  });
  if (busy === undefined) return release;
  // Nothing is held while waiting, so that two who want the same locks cannot wait for each other.
  release();
  return { busy: busy.name };
}

function tryLock(db: DatabaseSync, mode: WantedLock["mode"]): boolean {
  try {
    db.exec(mode === "write" ? "BEGIN EXCLUSIVE" : "BEGIN; SELECT count(*) FROM sqlite_master");
    return true;
  } catch (error) {
    if (/locked|busy/i.test((error as Error).message)) return false;
    throw error;
  }
}
