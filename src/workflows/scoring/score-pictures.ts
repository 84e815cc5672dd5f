import { availableParallelism } from "node:os";
import { extname, resolve } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { tryLocks } from "../../pipeline/run/path-locks.ts";
import { tableFormats, type TableFormat } from "../../predictions/table-format.ts";
import type { ServeLimits } from "../../serve/inference/limits.ts";
import { fixedTarget, Predictor } from "../../serve/model/predictor.ts";
import { readServable, startServedModel, type ServableBundle } from "../../serve/model/served-model.ts";
import { findModel } from "../find-model.ts";
import { mapStreaming } from "../map-streaming.ts";
import { remoteOptions } from "../pipeline/remote-options.ts";
import { silentReporter, type Reporter, type UseCaseOptions } from "../reporter.ts";
import { openPictures } from "./open-pictures.ts";
import { PictureReader } from "./picture-reader.ts";
import { remainingPictures, type PictureSource, type PlacedPicture, type Shard } from "./picture-source.ts";
import { ScoreJob } from "./score-job.ts";
import type { ScoreSummary } from "./score-summary.ts";
import { answeredRow, refusedRow, type ScoredRow } from "./scored-row.ts";
import { Slots } from "./slots.ts";

export interface ScorePicturesOptions extends UseCaseOptions {
  /**
   * A folder, a pattern such as `photos/*.jpg`, a zip, a text file with a path on each line, a CSV file with a column of paths or
   * addresses, or s3://BUCKET/PREFIX. Paths are relative to `cwd`.
   */
  readonly source: string;
  /** The file that is written, which ends in .jsonl, .csv or .parquet. */
  readonly out: string;
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: SERVAL_MODEL, else the released model. */
  readonly model?: string | undefined;
  /** Column of a CSV file that has the paths. Default: the one that is called path, file, filename, image, url or uri. */
  readonly column?: string | undefined;
  /** Only every `count`th picture, from the `index`th on. Default: all. */
  readonly shard?: Shard | undefined;
  /** Whether addresses may lead to hosts that are not on the public internet. Default: false. */
  readonly allowPrivate?: boolean | undefined;
}

export interface ScoreReport extends ScoreSummary {
  readonly file: string;
  readonly model: { readonly name: string; readonly version: string };
  /** Confidence under which the model abstains; null where it never does. */
  readonly abstainBelow: number | null;
  /** Whether the model can tell that a picture is like none of its training. */
  readonly knowsUnknown: boolean;
  /** Rows that were written before this run. */
  readonly rowsBefore: number;
}

/** Pictures for each thread that are read and wait for the model; more of those that come over a network. */
const readPerThread = 4;
const readFromAfar = 32;
/** Rows that may wait for an earlier one: a picture that takes long does not keep the others. */
const rowsAhead = 256;

/**
 * Scores every picture of a source into one file, a row each, in the order of the source. A picture that cannot be used is a row with its
 * error. A job that was stopped anywhere continues where it was. Throws E_SCORE_OTHER, E_SCORE_RUNS, E_SOURCE*, E_DISK_FULL, E_REMOTE_*.
 */
export async function scorePictures(options: ScorePicturesOptions): Promise<ScoreReport> {
  const { cwd, out, shard = { index: 1, count: 1 }, reporter = silentReporter, signal = new AbortController().signal } = options;
  const settings = loadSettings();
  const format = formatOf(out);
  const file = resolve(cwd, out);
  const { dir } = await findModel(options.model ?? settings.model ?? undefined, { cwd, reporter, signal });
  const { maxBodyBytes: maxBytes } = settings;
  const { env: s3 } = remoteOptions({});
  const reader = new PictureReader({ cwd, maxBytes, allowPrivate: options.allowPrivate ?? false, s3, signal });
  const release = takeLock(file, resolve(cwd, settings.stateDir, "locks"));
  try {
    const servable = await readServable(dir);
    const source = await openPictures(options.source, { cwd, column: options.column, maxBytes, reader });
    const { name, version } = { name: servable.bundle.manifest.name, version: servable.version };
    const identity = { source: source.id, model: `${name} ${version}`, shard: `${shard.index}/${shard.count}` };
    const job = await ScoreJob.open(file, identity);
    const rowsBefore = job.rows;
    try {
      if (!job.isDone) await scoreRemaining(job, source, servable, { ...options, shard, reporter, signal });
      await job.finish(format);
    } finally {
      await job.close();
      await source.close();
    }
    const { abstainBelow } = servable.bundle.manifest;
    return { file, model: { name, version }, abstainBelow, knowsUnknown: servable.space?.outliers != null, rowsBefore, ...job.summary };
  } finally {
    reader.close();
    release();
  }
}

function formatOf(out: string): TableFormat {
  const format = tableFormats.find((known) => extname(out).toLowerCase() === `.${known}`);
  if (format !== undefined) return format;
  throw new ServalError("E_USAGE", `--out: expected a file that ends in .jsonl, .csv or .parquet, got "${out}".`);
}

function takeLock(file: string, dir: string): () => void {
  const release = tryLocks(dir, [{ name: `score ${file}`, mode: "write" }]);
  if (typeof release === "function") return release;
  throw new ServalError("E_SCORE_RUNS", `Another process writes ${file}.`);
}

interface Wanted extends ScorePicturesOptions {
  readonly shard: Shard;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

async function scoreRemaining(job: ScoreJob, source: PictureSource, servable: ServableBundle, options: Wanted): Promise<void> {
  const { reporter, shard } = options;
  // After a failure, what waits for its turn is not begun.
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const left = await countRemaining(job, source, options);
  if (job.rows > 0) reporter.line(`Continuing after ${job.rows} rows.`);
  const { maxBodyBytes, maxPixels, maxDecodeMs } = loadSettings();
  const limits: ServeLimits = { maxBodyBytes, maxPixels, maxDecodeMs, queueLimit: Infinity, requestTimeoutMs: 2 ** 31 - 1 };
  const workers = availableParallelism();
  const model = await startServedModel(servable, { limits, workers });
  const progress = reporter.progress("Scoring", left, "pictures");
  try {
    const predictor = new Predictor(fixedTarget(model), limits);
    const slots = new Slots(source.isFar ? Math.max(readFromAfar, workers * readPerThread) : workers * readPerThread);
    const score = async ({ name, read, position }: PlacedPicture): Promise<{ row: ScoredRow; position: number }> => {
      return await slots.use(async () => {
        signal.throwIfAborted();
        try {
          return { position, row: answeredRow(name, await predictor.predict(await read(), { signal, disposable: true })) };
        } catch (error) {
          signal.throwIfAborted();
          return { position, row: refusedRow(name, error, model) };
        }
      });
    };
    let done = 0;
    for await (const { row, position } of mapStreaming(remainingPictures(source, shard, job.place), rowsAhead, score)) {
      await job.add(row, position);
      progress.update(++done);
    }
  } finally {
    progress.end();
    stop.abort();
    // What was answered counts also where the rest cannot be; a disk that is full says so of the row that did not fit.
    await job.save().catch(() => undefined);
    await model.close();
  }
}

/** How many pictures are left. Throws E_SOURCE_EMPTY where the source has none at all. */
async function countRemaining(job: ScoreJob, source: PictureSource, { source: name, shard, reporter, signal }: Wanted): Promise<number> {
  let left = 0;
  const progress = reporter.progress("Listing", 0, "pictures");
  try {
    for await (const _ of remainingPictures(source, shard, job.place)) {
      signal.throwIfAborted();
      progress.update(++left);
    }
  } finally {
    progress.end();
  }
  if (left > 0 || job.rows > 0) return left;
  for await (const _ of source.pictures()) return 0;
  throw new ServalError("E_SOURCE_EMPTY", `"${name}" has no pictures.`, {
    hint: "Check the name; pictures end in .jpg, .png, .webp or .gif.",
  });
}
