import { execFile } from "node:child_process";
import { mkdtempSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/**
 * A folder inside `parent` for files that are not finished; removed after `use`, whatever happens. What a killed process left
 * in such folders goes as well. The names hold the process id, so that nobody takes away what another still writes.
 */
export async function withTemporaryFolder<T>(parent: string, use: (dir: string) => Promise<T>): Promise<T> {
  mkdirSync(parent, { recursive: true });
  for (const name of readdirSync(parent)) {
    const pid = /^serval-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(parent, name), { recursive: true, force: true });
  }
  const dir = mkdtempSync(join(parent, `serval-${process.pid}-`));
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
