import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { listIfThere } from "../files.ts";
import { exists } from "../model/replace-folder.ts";
import { defaultStateDir, runsFolder } from "../paths.ts";

/** What a learning-rate range test writes: its folder does not hold a training that could be resumed. */
export const rangeTestFile = "find-lr.json";

/** The parameters that a training began with. */
export const argsFile = "args.yaml";

const runPattern = /^\d{8}-\d{6}-[0-9a-z]{4}$/;

function runsDir(cwd: string, stateDir: string): string {
  return resolve(cwd, stateDir, runsFolder);
}

/** Makes runs/YYYYMMDD-HHMMSS-xxxx (UTC) in the state folder, .serval unless told otherwise, and returns its path. */
export async function createRun(cwd: string, stateDir: string = defaultStateDir, now: Date = new Date()): Promise<string> {
  const [day, time] = now.toISOString().slice(0, 19).split("T") as [string, string];
  const id = `${day.replaceAll("-", "")}-${time.replaceAll(":", "")}-${randomBytes(2).toString("hex")}`;
  const dir = join(runsDir(cwd, stateDir), id);
  await mkdir(dir, { recursive: true });
  return dir;
}

/** The training run `id`, or the latest one; throws E_RUN_NOT_FOUND. */
export async function findRun(cwd: string, id?: string, stateDir: string = defaultStateDir): Promise<string> {
  const folder = runsDir(cwd, stateDir);
  const names = await listIfThere(folder);
  const runs: string[] = [];
  for (const name of names.filter((entry) => runPattern.test(entry)).sort()) {
    if (!(await exists(join(folder, name, rangeTestFile)))) runs.push(name);
  }
  const chosen = id ?? runs.at(-1);
  if (chosen === undefined || !runs.includes(chosen)) {
    const known = runs.length === 0 ? "there is none" : `the latest are ${runs.slice(-3).join(", ")}`;
    throw new ServalError("E_RUN_NOT_FOUND", `${folder}: expected ${id === undefined ? "a run to resume" : `the run ${id}`}; ${known}.`);
  }
  return join(folder, chosen);
}
