import { execFile } from "node:child_process";
import { hash } from "node:crypto";
import { mkdtempSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** Names the machine as well: a cache or remote may lie on a drive that others share, whose processes cannot be seen from here. */
export function temporaryPrefix(pid: number): string {
  return `serval-${pid}-${hash("md5", hostname()).slice(0, 8)}-`;
}

/**
 * A new folder inside `parent` for files that are not finished. What killed processes of this machine left in such folders goes;
 * no process removes what another one still writes.
 */
export function makeTemporaryFolder(parent: string): string {
  mkdirSync(parent, { recursive: true });
  for (const name of readdirSync(parent)) {
    const pid = Number(/^serval-(\d+)-/.exec(name)?.[1] ?? Number.NaN);
    if (name.startsWith(temporaryPrefix(pid)) && !isRunning(pid)) rmSync(join(parent, name), { recursive: true, force: true });
  }
  return mkdtempSync(join(parent, temporaryPrefix(process.pid)));
}

/** A temporary folder for as long as `use` runs; removed after it, whatever happens. */
export async function withTemporaryFolder<T>(parent: string, use: (dir: string) => Promise<T>): Promise<T> {
  const dir = makeTemporaryFolder(parent);
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * Makes the files durable before they get their final names. For many, one call for the whole file system is far cheaper than
 * one for each; where there is no such program, each is synced.
 */
export async function syncFiles(dir: string, paths: readonly string[]): Promise<void> {
  if (paths.length > 16) {
    try {
      await promisify(execFile)("sync", ["--file-system", dir]);
      return;
    } catch {
      // No GNU sync: one by one.
    }
  }
  for (const path of paths) {
    const file = await open(path, "r");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
