import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere, writeFileAtomic } from "../../files.ts";
import { tryLocks } from "../../pipeline/run/path-locks.ts";

/** Who holds the lock, for the message of others. The lock itself is the operating system's and ends with its process. */
interface Holder {
  readonly pid: number;
  /** Null until the training has a run folder. */
  readonly run: string | null;
}

/** One training at a time in a working folder: both would write artifacts/best, and a resumed run its checkpoints. */
export class TrainingLock {
  readonly #release: () => void;
  readonly #holderPath: string;

  private constructor(release: () => void, holderPath: string) {
    this.#release = release;
    this.#holderPath = holderPath;
  }

  /** Throws E_TRAINING_RUNS, with the process that trains. */
  static async take(cwd: string, stateDir: string): Promise<TrainingLock> {
    const dir = resolve(cwd, stateDir, "locks");
    const holderPath = join(dir, "training.json");
    const release = tryLocks(dir, [{ name: `train ${resolve(cwd)}`, mode: "write" }]);
    if (typeof release !== "function") throw await describeHolder(cwd, holderPath);
    const lock = new TrainingLock(release, holderPath);
    await lock.name(null);
    return lock;
  }

  /** Tells others which run this process trains. */
  async name(run: string | null): Promise<void> {
    await writeFileAtomic(this.#holderPath, JSON.stringify({ pid: process.pid, run } satisfies Holder));
  }

  async release(): Promise<void> {
    await rm(this.#holderPath, { force: true });
    this.#release();
  }
}

async function describeHolder(cwd: string, holderPath: string): Promise<ServalError> {
  const holder = await readHolder(holderPath);
  const who = holder === undefined ? "another process" : `process ${holder.pid}`;
  const run = holder?.run ? `, run ${holder.run}` : "";
  return new ServalError(
    "E_TRAINING_RUNS",
    `${who} already trains in ${cwd}${run}.`.replace(/^./, (letter) => letter.toUpperCase()),
    {
      hint: `Wait until it is done${holder === undefined ? "" : `, or stop it with \`kill ${holder.pid}\` and continue later with \`serval train --resume\``}.`,
      details: { ...holder },
    },
  );
}

/** The process that took the lock writes its id a moment later; before that the file is missing, or of a process that was killed. */
async function readHolder(path: string): Promise<Holder | undefined> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const holder = JSON.parse((await readIfThere(path)) ?? "null") as Holder | null;
    if (holder !== null && isAlive(holder.pid)) return holder;
    await delay(50);
  }
  return undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user may not be asked, and is there.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
