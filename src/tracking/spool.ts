import { appendFileSync } from "node:fs";
import { constants, copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeFileAtomic } from "../files.ts";
import type { RunStatus } from "./client.ts";

/** The first entry, and one more at each resume: what the server must know to find or make the run. */
export interface RunEntry {
  readonly type: "run";
  /** Address of the server that the run is for. */
  readonly server: string;
  readonly experiment: string;
  /** Our own name of the run, and of its folder; a tag finds it again on the server. */
  readonly run: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Of the process that writes: while it lives, nobody else sends the spool. */
  readonly host: string;
  readonly pid: number;
  /** Milliseconds since 1970, here and below. */
  readonly at: number;
}

/** One thing that was logged: a line of the spool. Times are those of logging, so that sending twice changes nothing. */
export type SpoolEntry =
  | RunEntry
  | { readonly type: "params"; readonly params: Readonly<Record<string, string>> }
  | { readonly type: "tags"; readonly tags: Readonly<Record<string, string>> }
  | { readonly type: "metrics"; readonly at: number; readonly step: number; readonly metrics: Readonly<Record<string, number | string>> }
  /** `path` is the place under the run; the bytes wait in the spool's folder of files under the same path. */
  | { readonly type: "artifact"; readonly path: string }
  | { readonly type: "end"; readonly at: number; readonly status: RunStatus };

export const spoolFile = "tracking-spool.jsonl";
const filesFolder = "tracking-files";

/**
 * What a run has logged and the server may not have yet, in the run's folder. Everything is written here first, so a
 * server that is down costs nothing; a spool that was delivered to its end is removed. Appends are synchronous: they
 * are a few hundred bytes an epoch, and none can overtake another.
 */
export class Spool {
  readonly runDir: string;
  readonly entries: SpoolEntry[];

  private constructor(runDir: string, entries: SpoolEntry[]) {
    this.runDir = runDir;
    this.entries = entries;
  }

  /** The spool of a run folder: what an earlier process left, or an empty one. */
  static async open(runDir: string): Promise<Spool> {
    const path = join(runDir, spoolFile);
    const text = await readFile(path, "utf8").catch(emptyIfMissing);
    const { entries, whole } = parseSpool(text);
    if (!whole) await writeFileAtomic(path, entries.map(encodeEntry).join(""));
    return new Spool(runDir, entries);
  }

  append(entry: SpoolEntry): void {
    this.entries.push(entry);
    appendFileSync(join(this.runDir, spoolFile), encodeEntry(entry));
  }

  /** Keeps a copy of a file as it is now: artifacts/ is replaced by the next training. */
  async keepFile(path: string, source: string): Promise<void> {
    const copy = this.#copyOf(path);
    await mkdir(dirname(copy), { recursive: true });
    await copyFile(source, copy, constants.COPYFILE_FICLONE);
  }

  /** The kept bytes; undefined when they were delivered before. */
  async readKeptFile(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return await readFile(this.#copyOf(path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
  }

  async dropKeptFile(path: string): Promise<void> {
    await rm(this.#copyOf(path), { force: true });
  }

  /** After the last entry was delivered. */
  async remove(): Promise<void> {
    await rm(join(this.runDir, spoolFile), { force: true });
    await rm(join(this.runDir, filesFolder), { recursive: true, force: true });
  }

  #copyOf(path: string): string {
    return join(this.runDir, filesFolder, path);
  }
}

/** A process that was killed while it wrote leaves a last line without its end: `whole` is false, and the line is left out. */
function parseSpool(text: string): { entries: SpoolEntry[]; whole: boolean } {
  const lines = text.split("\n");
  const rest = lines.pop();
  const entries: SpoolEntry[] = [];
  let whole = rest === "";
  for (const line of lines) {
    try {
      entries.push(JSON.parse(line) as SpoolEntry);
    } catch {
      whole = false;
    }
  }
  return { entries, whole };
}

function encodeEntry(entry: SpoolEntry): string {
  return `${JSON.stringify(entry)}\n`;
}

function emptyIfMissing(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") return "";
  throw error;
}
