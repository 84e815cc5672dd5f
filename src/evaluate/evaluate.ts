import type { Split, Shards } from "../data/shards.ts";
import { splitNames, type SplitRecipe } from "../data/split.ts";
import { mapOrdered } from "../data/map-ordered.ts";
import { readEntry, type Source } from "../data/sources/source.ts";
import { ServalError, toServalError } from "../errors/serval-error.ts";
import { sha256 } from "../files.ts";
import type { ImageLimits } from "../image/check-image.ts";
import { type Preprocess, centerCrop } from "../image/preprocess.ts";
import { preprocessImage } from "../image/preprocess-image.ts";
import type { Bundle } from "../model/bundle.ts";
import type { Inference } from "../runtime/inference.ts";
import { computeMetrics, type Metrics } from "./metrics.ts";
import { createMistakeList, type Mistake } from "./mistakes.ts";

/** One image with its answer known, as the model sees it. */
interface LabelledRow {
  /** Of the original file. */
  readonly sha256: string;
  readonly classIndex: number;
  /** uint8 RGB [H,W,3] in the size of the model's input. */
  readonly pixels: Uint8Array;
}

export interface SkippedImage {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}

export interface Evaluation {
  readonly labels: readonly string[];
  /** By row, as are `truth` and `probabilities`. */
  readonly sha256: readonly string[];
  readonly truth: Uint16Array;
  /** [count, K] row-major. */
  readonly probabilities: Float32Array;
  readonly metrics: Metrics;
  /** The mistakes that cost most, worst first. */
  readonly mistakes: readonly Mistake[];
  /** Files of a source that are not images; always empty for a split, whose images were checked when they came in. */
  readonly skipped: readonly SkippedImage[];
}

export interface EvaluateOptions {
  readonly bundle: Pick<Bundle, "manifest" | "dir">;
  readonly inference: Inference;
  readonly onProgress?: (done: number, total: number) => void;
  /** Stops between two batches, with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A few milliseconds of work a batch; the memory stays far below what the model itself takes. */
const batchSize = 64;

/**
 * Runs the model over a split of the prepared data. Throws E_SPLIT_EMPTY, or E_MODEL_DATA where the shards were made
 * with another size, fit or kernel than the model was trained with, or hold a class that it does not know.
 */
export async function evaluateBundle(options: EvaluateOptions & { readonly shards: Shards; readonly split: Split }): Promise<Evaluation> {
  const { bundle, shards, split } = options;
  const { preprocess } = bundle.manifest;
  checkShards(bundle, shards);
  const { count, classIndex, sha256: hashes } = shards.splits[split];
  if (count === 0) throw new ServalError("E_SPLIT_EMPTY", `The split "${split}" has no images.`);
  const toModelClass = shards.labels.map((label) => bundle.manifest.labels.indexOf(label));
  const { width, height } = shards;
  function* rows(): Generator<LabelledRow> {
    for (let i = 0; i < count; i++) {
      const row = new Uint8Array(height * width * 3);
      shards.readRow(split, i, row, 0);
      const pixels = centerCrop(row, { width, height }, preprocess.crop ?? { width, height });
      yield { sha256: hashes[i] as string, classIndex: toModelClass[classIndex[i] as number] as number, pixels };
    }
  }
  return { ...(await evaluateRows(options, rows(), count)), skipped: [] };
}

/**
 * Runs the model over the images of a folder or zip, through the same preprocessing as the service. Files that are not
 * images are skipped and listed. Throws E_SPLIT_EMPTY where no image is left, E_MODEL_DATA for a class that the model
 * does not know.
 */
export async function evaluateSource(
  options: EvaluateOptions & { readonly source: Source; readonly limits: ImageLimits },
): Promise<Evaluation> {
  const { bundle, source, limits } = options;
  const { labels, preprocess } = bundle.manifest;
  const skipped: SkippedImage[] = [];
  const prepared = mapOrdered(source.entries(), decodesInFlight, async (entry): Promise<LabelledRow | undefined> => {
    if (entry.fault !== undefined) {
      skipped.push({ name: entry.name, ...entry.fault });
      return undefined;
    }
    // Files outside the class folders (a readme, a licence) have no answer to compare with.
    if (entry.label === undefined) return undefined;
    const classIndex = labels.indexOf(entry.label);
    if (classIndex < 0) throw unknownClass(entry.label, source.title, bundle);
    try {
      const bytes = await readEntry(entry, limits.maxBytes);
      return { sha256: sha256(bytes), classIndex, pixels: await preprocessImage(bytes, preprocess, limits) };
    } catch (error) {
      const { code, message } = toServalError(error);
      if (!code.startsWith("E_IMAGE_")) throw error;
      skipped.push({ name: entry.name, code, message });
      return undefined;
    }
  });
  async function* rows(): AsyncGenerator<LabelledRow> {
    for await (const row of prepared) if (row) yield row;
  }
  const evaluation = await evaluateRows(options, rows(), source.count);
  return { ...evaluation, skipped: skipped.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

/** libvips works on its own threads: a few pictures in flight keep all of them busy. */
const decodesInFlight = 8;

async function evaluateRows(
  { bundle, inference, onProgress, signal }: EvaluateOptions,
  rows: Iterable<LabelledRow> | AsyncIterable<LabelledRow>,
  expectedCount: number,
): Promise<Omit<Evaluation, "skipped">> {
  const { labels, preprocess } = bundle.manifest;
  const { width, height } = modelSize(preprocess);
  const hashes: string[] = [];
  const truth: number[] = [];
  const answers: Float32Array[] = [];
  const mistakes = createMistakeList();

  let batch: LabelledRow[] = [];
  const flush = async (): Promise<void> => {
    signal?.throwIfAborted();
    const images = new Uint8Array(batch.length * height * width * 3);
    for (const [i, row] of batch.entries()) images.set(row.pixels, i * row.pixels.length);
    const { probabilities } = await inference.run(images, batch.length);
    for (const [i, row] of batch.entries()) {
      hashes.push(row.sha256);
      truth.push(row.classIndex);
      const answer = probabilities.subarray(i * labels.length, (i + 1) * labels.length);
      mistakes.offer({ sha256: row.sha256, truth: row.classIndex, probabilities: answer, pixels: row.pixels, width, height });
    }
    answers.push(probabilities);
    batch = [];
    onProgress?.(hashes.length, expectedCount);
  };
  for await (const row of rows) if (batch.push(row) === batchSize) await flush();
  if (batch.length > 0) await flush();
  if (hashes.length === 0) throw new ServalError("E_SPLIT_EMPTY", "None of the files is an image in a class folder.");

  const probabilities = new Float32Array(hashes.length * labels.length);
  let offset = 0;
  for (const answer of answers) {
    probabilities.set(answer, offset);
    offset += answer.length;
  }
  return {
    labels,
    sha256: hashes,
    truth: Uint16Array.from(truth),
    probabilities,
    metrics: computeMetrics(labels, truth, probabilities),
    mistakes: mistakes.worst(),
  };
}

function modelSize({ crop, width, height }: Preprocess): { width: number; height: number } {
  return crop ?? { width, height };
}

function checkShards(bundle: EvaluateOptions["bundle"], shards: Shards): void {
  const { preprocess, labels } = bundle.manifest;
  for (const key of ["width", "height", "fit", "kernel", "orient"] as const) {
    if (preprocess[key] === shards[key]) continue;
    throw new ServalError(
      "E_MODEL_DATA",
      `The model in ${bundle.dir} was trained with ${key} ${preprocess[key]}, but the prepared data has ${key} ${shards[key]}.`,
    );
  }
  const { split } = bundle.manifest;
  const now = describeSplit(shards);
  if (split !== undefined && describeSplit(split) !== now) {
    throw new ServalError(
      "E_MODEL_DATA",
      `The model in ${bundle.dir} was trained with ${describeSplit(split)}, but the prepared data has ${now}: it may have learned pictures that are in another split now.`,
      { hint: "Run `serval prepare` with the parameters of its training, or evaluate it on other pictures with --data." },
    );
  }
  const unknown = shards.labels.find((label) => !labels.includes(label));
  if (unknown !== undefined) throw unknownClass(unknown, "The prepared data", bundle);
}

function describeSplit({ seed, shares, dedupe }: SplitRecipe): string {
  return `prepare.seed ${seed}, the shares ${splitNames.map((name) => shares[name]).join(", ")} and data.dedupe ${dedupe}`;
}

function unknownClass(label: string, where: string, bundle: EvaluateOptions["bundle"]): ServalError {
  return new ServalError(
    "E_MODEL_DATA",
    `${where} has the class "${label}", which the model in ${bundle.dir} does not know; it knows ${bundle.manifest.labels.join(", ")}.`,
    { hint: "Choose data with the model's classes, or train a model on this data." },
  );
}
