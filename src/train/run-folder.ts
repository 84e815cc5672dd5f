import { randomBytes } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors.ts";

export const runsDir: string = join(".serval", "runs");

const runPattern = /^\d{8}-\d{6}-[0-9a-z]{4}$/;

/** Makes .serval/runs/YYYYMMDD-HHMMSS-xxxx (UTC) under `cwd` and returns its path. */
export async function createRun(cwd: string, now: Date = new Date()): Promise<string> {
  const [day, time] = now.toISOString().slice(0, 19).split("T") as [string, string];
  const id = `${day.replaceAll("-", "")}-${time.replaceAll(":", "")}-${randomBytes(2).toString("hex")}`;
  const dir = join(cwd, runsDir, id);
  await mkdir(dir, { recursive: true });
  return dir;
}

/** The run `id`, or the latest one; throws E_RUN_NOT_FOUND. */
export async function findRun(cwd: string, id?: string): Promise<string> {
  const names = await readdir(join(cwd, runsDir)).catch(() => []);
  const runs = names.filter((name) => runPattern.test(name)).sort();
  const chosen = id ?? runs.at(-1);
  if (chosen === undefined || !runs.includes(chosen)) {
    const known = runs.length === 0 ? "there is none" : `the latest are ${runs.slice(-3).join(", ")}`;
    throw new ServalError(
      "E_RUN_NOT_FOUND",
      `${join(cwd, runsDir)}: expected ${id === undefined ? "a run to resume" : `the run ${id}`}; ${known}.`,
    );
  }
  return join(cwd, runsDir, chosen);
}
