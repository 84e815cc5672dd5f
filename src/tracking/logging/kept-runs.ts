import { hostname } from "node:os";
import { join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { statIfThere, listIfThere } from "../../files.ts";
import type { TrackingClient } from "../client/tracking-client.ts";
import type { RunInfo } from "../client/wire.ts";
import { Delivery } from "./deliver.ts";
import { Spool, spoolFile, type RunEntry } from "./spool.ts";

export interface KeptRunsOptions {
  readonly client: TrackingClient;
  /** Folder of the run folders. */
  readonly runsDir: string;
  /** The run that is being logged now. */
  readonly exceptRun: string;
  readonly signal: AbortSignal;
  readonly onSent: (run: string, info: RunInfo) => void;
  /** Hears of files that the server will never take. */
  readonly onRefused: (error: ServalError) => void;
}

/**
 * Sends what earlier runs could not: every spool for this server whose process is gone. A process that was killed wrote no
 * end: its run ends as KILLED. A run that the server refuses waits for the next time, and the others are sent; throws at the
 * first failure of another kind, such as a server that does not answer.
 */
export async function sendKeptRuns(options: KeptRunsOptions): Promise<void> {
  const { client, runsDir, exceptRun, signal } = options;
  const names = await listIfThere(runsDir);
  for (const name of names.sort()) {
    const runDir = join(runsDir, name);
    const written = await statIfThere(join(runDir, spoolFile));
    if (name === exceptRun || written === undefined) continue;
    const spool = await Spool.open(runDir);
    const { begun, ended } = await survey(spool);
    if (begun?.server !== client.server) continue;
    if (!ended) {
      if (mayBeAlive(begun, written.mtimeMs)) continue;
      spool.append({ type: "end", at: Math.round(written.mtimeMs), status: "KILLED" });
    }
    const delivery = new Delivery(client, spool, options.onRefused);
    try {
      await delivery.drain(signal);
      await spool.remove();
      if (delivery.run) options.onSent(name, delivery.run);
    } catch (error) {
      if (!(error instanceof ServalError) || error.code !== "E_TRACKING_REFUSED" || isAboutUs(error)) throw error;
      options.onRefused(error);
    } finally {
      spool.close();
    }
  }
}

/** Whether the server would refuse the other runs as well. */
function isAboutUs({ details }: ServalError): boolean {
  return details["status"] === 401 || details["status"] === 403;
}

/** Who began the run last, and whether it came to an end. */
async function survey(spool: Spool): Promise<{ begun: RunEntry | undefined; ended: boolean }> {
  let [begun, ended, position]: [RunEntry | undefined, boolean, number] = [undefined, false, 0];
  for (let entries = await spool.read(0); entries.length > 0; entries = await spool.read(position)) {
    for (const { entry, next } of entries) {
      if (entry.type === "run") begun = entry;
      ended = entry.type === "end";
      position = next;
    }
  }
  return { begun, ended };
}

/**
 * A training writes to its spool every ten seconds, for as long as it lives. A process of another machine or container cannot be
 * looked up, so it counts as gone after this silence: longer than a laptop sleeps at night, and shorter than the time between
 * two nightly trainings.
 */
const silenceMs = 12 * 3_600_000;

function mayBeAlive({ host, pid }: RunEntry, writtenAtMs: number): boolean {
  if (host !== hostname()) return Date.now() - writtenAtMs < silenceMs;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
