import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

/** Marks the processes of a command: they inherit it. */
const mark = "SERVAL_COMMAND";
const graceMs = 10_000;
const pollMs = 100;

export interface NotedCommand {
  /** Goes into the environment of the command. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes the note back, once the command has ended. */
  readonly ended: () => void;
}

/** Notes in `file` that a command is about to run, so that the next run finds it after a `kill -9` of this process. */
export function noteCommand(file: string): NotedCommand {
  const id = randomUUID();
  writeFileSync(file, id);
  return { env: { [mark]: id }, ended: () => rmSync(file, { force: true }) };
}

/**
 * Ends a command whose `serval repro` was killed: it would continue writing the outs that the next run writes as well. Only Linux
 * tells which processes these are (the environment in /proc, proc(5)); elsewhere nothing is ended. `onFound` gets their numbers.
 */
export async function endAbandonedCommand(file: string, onFound: (pids: readonly number[]) => void): Promise<void> {
  let id: string;
  try {
    id = readFileSync(file, "utf8");
  } catch {
    return;
  }
  const found = findMarked(id);
  if (found.length > 0) {
    onFound(found);
    signal(found, "SIGTERM");
    for (const end = Date.now() + graceMs; findMarked(id).length > 0 && Date.now() < end;) await delay(pollMs);
    for (let left = findMarked(id); left.length > 0; left = findMarked(id)) {
      signal(left, "SIGKILL");
      await delay(pollMs);
    }
  }
  rmSync(file, { force: true });
}

function findMarked(id: string): number[] {
  let names: string[];
  try {
    names = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    try {
      // Of a process that has ended and was not waited for, the environment is empty.
      return readFileSync(`/proc/${name}/environ`, "latin1").split("\0").includes(`${mark}=${id}`) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It ended in the meantime.
    }
  }
}
