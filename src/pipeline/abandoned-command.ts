import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const graceMs = 10_000;
const pollMs = 100;

/**
 * Notes in `file` which process group runs, so that whoever comes after a `kill -9` of this process finds it. Returns what
 * removes the note again.
 */
export function noteCommand(file: string, pid: number): () => void {
  writeFileSync(file, JSON.stringify({ pid, startedAt: startTime(pid) }));
  return () => rmSync(file, { force: true });
}

/**
 * Ends a command whose `serval repro` was killed: it would go on writing the outs that the next run writes as well. Only where
 * the process of that number is the same one still, which Linux can tell by its start time; `onFound` hears of it.
 */
export async function endAbandonedCommand(file: string, onFound: (pid: number) => void): Promise<void> {
  let note: { pid: number; startedAt: string | undefined };
  try {
    note = JSON.parse(readFileSync(file, "utf8")) as typeof note;
  } catch {
    return;
  }
  const { pid, startedAt } = note;
  const isThere = (): boolean => startedAt !== undefined && startTime(pid) === startedAt;
  if (isThere()) {
    onFound(pid);
    signal(pid, "SIGTERM");
    for (const end = Date.now() + graceMs; isThere() && Date.now() < end;) await delay(pollMs);
    if (isThere()) signal(pid, "SIGKILL");
    while (isThere()) await delay(pollMs);
  }
  rmSync(file, { force: true });
}

/** When a process began, in clock ticks since the machine did (proc(5), field 22 of stat); undefined where it is gone. */
function startTime(pid: number): string | undefined {
  try {
    // The name, which may hold anything, stands in parentheses before the third field.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(-pid, name);
  } catch {
    // It ended in the meantime.
  }
}
