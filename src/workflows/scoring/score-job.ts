import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import { readIfThere, statIfThere, writeFileAtomic } from "../../files.ts";
import { encodeTable, type TableFormat } from "../../predictions/table-format.ts";
import { readLines } from "../read-lines.ts";
import type { Place } from "./picture-source.ts";
import { noCounts, ScoreTally, type ScoreCounts, type ScoreSummary } from "./score-summary.ts";
import { scoredTable, type ScoredRow } from "./scored-row.ts";

/** What makes two jobs the same: only then one continues the other. */
export interface JobIdentity {
  readonly source: string;
  readonly model: string;
  readonly shard: string;
}

/** What FILE.job.json holds: the rows up to `bytes` of FILE.part are those of the pictures up to the place. */
interface JobState extends Place {
  readonly formatVersion: 1;
  readonly job: JobIdentity;
  readonly bytes: number;
  /** All rows are there; they are in FILE, or still in FILE.part. */
  readonly done: boolean;
  readonly counts: ScoreCounts;
}

/** How much a kill costs: rows of this time are scored again. */
const saveEveryMs = 1000;
const pieceBytes = 1 << 18;
/** Rows of a group of Parquet. */
const groupRows = 4096;

/**
 * The output of a scoring job while it is written. Rows go to FILE.part as lines of JSON; FILE.job.json says up to where they count. A job
 * that was killed cuts off what came after that, and continues there, so each row is written once. FILE is there when it is whole.
 */
export class ScoreJob {
  readonly #file: string;
  /** Null where all is in FILE already: this is for the summary alone. */
  readonly #part: FileHandle | null;
  readonly #tally: ScoreTally;
  #state: JobState;
  #place: Place;
  #waiting: string[] = [];
  #waitingBytes = 0;
  /** Where the next row goes in FILE.part. */
  #end: number;
  #savedAt = performance.now();
  /** Why rows were lost on their way to the disk: nothing after them may count. */
  #failure: unknown;

  private constructor(file: string, part: FileHandle | null, state: JobState) {
    this.#file = file;
    this.#part = part;
    this.#state = state;
    this.#place = { position: state.position, last: state.last };
    this.#end = state.bytes;
    this.#tally = new ScoreTally(state.counts);
  }

  /** Begins a job, or continues the one that was stopped. Throws E_SCORE_OTHER for a file that is not its own. */
  static async open(file: string, job: JobIdentity): Promise<ScoreJob> {
    const state = await readState(file, job);
    const path = partOf(file);
    const size = (await statIfThere(path))?.size;
    if (state?.done && size === undefined && (await statIfThere(file)) !== undefined) return new ScoreJob(file, null, state);
    if (state !== undefined && size !== undefined && size >= state.bytes) {
      const part = await open(path, "r+");
      await part.truncate(state.bytes);
      return new ScoreJob(file, part, state);
    }
    if ((await statIfThere(file)) !== undefined) {
      throw new ServalError("E_SCORE_OTHER", `${file} exists, and no job file beside it says that this job wrote it.`);
    }
    const begun: JobState = { formatVersion: 1, job, bytes: 0, position: 0, last: null, done: false, counts: noCounts };
    await writeState(file, begun);
    return new ScoreJob(file, await open(path, "w+"), begun);
  }

  /** Whether every picture has its row. */
  get isDone(): boolean {
    return this.#state.done;
  }

  get place(): Place {
    return this.#place;
  }

  get rows(): number {
    return this.#tally.counts.rows;
  }

  get summary(): ScoreSummary {
    return this.#tally.summary;
  }

  /** Takes the row of the next picture. Throws E_DISK_FULL, and what else the disk throws. */
  async add(row: ScoredRow, position: number): Promise<void> {
    const line = `${JSON.stringify(row)}\n`;
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#tally.add(row);
    this.#place = { position, last: row.path };
    if (performance.now() - this.#savedAt >= saveEveryMs) await this.save();
    else if (this.#waitingBytes >= pieceBytes) await this.#flush();
  }

  /** Makes all rows so far survive a kill and a power cut. */
  async save(): Promise<void> {
    await this.#write(this.#state.done);
  }

  /** Gives FILE all rows in its format. */
  async finish(format: TableFormat): Promise<void> {
    if (this.#part === null) return;
    await this.#write(true);
    const part = partOf(this.#file);
    if (format === "jsonl") {
      await rename(part, this.#file);
      return;
    }
    await writing(this.#file, async () => await writeFileAtomic(this.#file, encodeTable(format, scoredTable, readRows(part))));
    await rm(part);
  }

  async close(): Promise<void> {
    await this.#part?.close();
  }

  async #write(done: boolean): Promise<void> {
    await this.#flush();
    if (this.#part === null) return;
    if (this.#end > this.#state.bytes || done !== this.#state.done) {
      await this.#part.datasync();
      const state = { ...this.#state, ...this.#place, bytes: this.#end, done, counts: this.#tally.counts };
      await writeState(this.#file, state);
      this.#state = state;
    }
    this.#savedAt = performance.now();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#waiting.join(""));
    this.#waiting = [];
    this.#waitingBytes = 0;
    const part = this.#part;
    if (this.#failure !== undefined) throw this.#failure;
    if (part === null) return;
    try {
      await writing(partOf(this.#file), async () => {
        for (let at = 0; at < bytes.length;) at += (await part.write(bytes, at, bytes.length - at, this.#end + at)).bytesWritten;
      });
    } catch (error) {
      this.#failure = error;
      throw error;
    }
    this.#end += bytes.length;
  }
}

/** The disk does not say which file it is about. */
async function writing(file: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { code, message } = toServalError(error);
    throw code === "E_DISK_FULL" ? new ServalError(code, `${file} could not be written: ${message}.`, { cause: error }) : error;
  }
}

function partOf(file: string): string {
  return `${file}.part`;
}

function stateOf(file: string): string {
  return `${file}.job.json`;
}

async function writeState(file: string, state: JobState): Promise<void> {
  await writing(stateOf(file), async () => await writeFileAtomic(stateOf(file), `${JSON.stringify(state)}\n`));
}

async function readState(file: string, job: JobIdentity): Promise<JobState | undefined> {
  const text = await readIfThere(stateOf(file));
  if (text === undefined) return undefined;
  const state = parseState(text);
  if (state === undefined) throw new ServalError("E_SCORE_OTHER", `${stateOf(file)} is not a job file of this version.`);
  for (const key of ["source", "model", "shard"] as const) {
    if (state.job[key] === job[key]) continue;
    // It has no row: the source that was named could not be read.
    if (state.bytes === 0 && !state.done) return undefined;
    throw new ServalError("E_SCORE_OTHER", `${file} is of a job with another ${key}: expected ${job[key]}, got ${state.job[key]}.`);
  }
  return state;
}

function parseState(text: string): JobState | undefined {
  try {
    const state = JSON.parse(text) as JobState;
    return state.formatVersion === 1 ? state : undefined;
  } catch {
    return undefined;
  }
}

async function* readRows(path: string): AsyncGenerator<ScoredRow[], void, undefined> {
  let rows: ScoredRow[] = [];
  for await (const line of readLines(path, createReadStream(path), Infinity)) {
    if (rows.push(JSON.parse(line) as ScoredRow) < groupRows) continue;
    yield rows;
    rows = [];
  }
  if (rows.length > 0) yield rows;
}
