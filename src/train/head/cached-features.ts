import { mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { encodeFeatureModel } from "../../backbones/feature-model.ts";
import type { LoadedBackbone } from "../../backbones/load-backbone.ts";
import { recipeOf } from "../../data/shard-index.ts";
import type { Shards, Split } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readBytesIfThere, readIfThere, sha256, writeFileAtomic } from "../../files.ts";
import type { Engine } from "../../runtime/engine.ts";
import { readCentered } from "../batches/batches.ts";
import { rootOf, type Features } from "./features.ts";

export interface FeatureJob {
  readonly engine: Engine;
  readonly backbone: LoadedBackbone;
  readonly shards: Shards;
  readonly split: Split;
  /** Side in pixels of the square that is cut from the centre of each picture. */
  readonly side: number;
  readonly threads: number;
  /** Holds the cache; a file a split, named after all that its numbers depend on. */
  readonly cacheDir: string;
  /** Called after each batch with the rows that are done; it throws to stop. */
  readonly onProgress: (rows: number, count: number) => void;
}

/** Changes whenever the same pictures would give other numbers. */
const cacheVersion = 1;
/** Pictures that go through the backbone at once. */
export const featureBatchSize = 16;
/** Rows that are on disk for good before the next ones are computed: a power cut loses at most this many. */
const rowsPerSync = 512;

interface CacheRecord {
  readonly rows: number;
  readonly width: number;
  readonly sha256: string;
}

/**
 * The embeddings of a split. What a run computed before is read from the cache; what it computed in part is continued. A cache is used
 * only where data version, preprocessing, side and backbone are the same, and where its bytes are what was written.
 */
export async function loadFeatures(job: FeatureJob): Promise<Features> {
  const { backbone, shards, split, cacheDir } = job;
  const rows = shards.splits[split].count;
  const width = backbone.network.channels;
  const key = sha256(JSON.stringify([cacheVersion, backbone.identity, shards.dataVersion, recipeOf(shards), split, job.side, rows])).slice(
    0,
    32,
  );
  const path = join(cacheDir, `${key}.f32`);
  const cached = await readCache(path, rows, width);
  if (cached) {
    job.onProgress(rows, rows);
    return cached;
  }
  await mkdir(cacheDir, { recursive: true });
  const values = await computeFeatures(job, `${path}.part`, rows, width);
  const record: CacheRecord = { rows, width, sha256: sha256(bytesOf(values)) };
  await rename(`${path}.part`, path).catch((error: NodeJS.ErrnoException) => {
    // Another run computed the same numbers into the same file, and has renamed it.
    if (error.code !== "ENOENT") throw error;
  });
  await writeFileAtomic(recordPath(path), `${JSON.stringify(record)}\n`);
  return { rows, width, values };
}

/** The features of a split as a classifier takes them, from the cache or computed. */
export async function loadHeadFeatures(job: FeatureJob): Promise<Features> {
  const features = await loadFeatures(job);
  return job.backbone.network.nonNegative ? rootOf(features) : features;
}

function recordPath(path: string): string {
  return path.replace(/\.f32$/, ".json");
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

async function readCache(path: string, rows: number, width: number): Promise<Features | undefined> {
  const [record, bytes] = await Promise.all([readIfThere(recordPath(path)), readBytesIfThere(path)]);
  if (record === undefined || bytes === undefined) return undefined;
  let known: Partial<CacheRecord>;
  try {
    known = JSON.parse(record) as Partial<CacheRecord>;
  } catch {
    return undefined;
  }
  if (known.rows !== rows || known.width !== width || bytes.length !== rows * width * 4 || known.sha256 !== sha256(bytes)) return undefined;
  return { rows, width, values: new Float32Array(Uint8Array.from(bytes).buffer) };
}

/** Only the record of a backbone says how many features it has, and anyone may have edited it. */
function wrongWidth({ record, network }: LoadedBackbone, got: number): ServalError {
  return new ServalError(
    "E_BACKBONE_CORRUPT",
    `The backbone ${record.name} makes ${got} features of a picture; its backbone.json says ${network.channels}.`,
  );
}

/** Writes rows at their places, so that two runs at once write the same bytes to the same places. */
async function computeFeatures(job: FeatureJob, part: string, rows: number, width: number): Promise<Float32Array> {
  const { engine, backbone, shards, split, side, threads, onProgress } = job;
  const session = await engine.createSession(encodeFeatureModel(backbone, side), { threads });
  const values = new Float32Array(rows * width);
  const file = await open(part, "a+").then(async (made) => {
    await made.close();
    return await open(part, "r+");
  });
  try {
    const { size } = await file.stat();
    // Whole batches: the same pictures then go through the backbone together as without the interruption.
    const kept = Math.floor(size / (width * 4));
    let done = kept >= rows ? rows : kept - (kept % featureBatchSize);
    if (done > 0) await file.read(bytesOf(values), 0, done * width * 4, 0);
    let synced = done;
    while (done < rows) {
      const count = Math.min(featureBatchSize, rows - done);
      const data = readCentered(shards, split, done, count, { width: side, height: side });
      const outputs = await session.run({ images: { dtype: "uint8", shape: [count, side, side, 3], data } }, {}, ["embedding"]);
      const made = outputs["embedding"]?.data as Float32Array;
      if (made.length !== count * width) throw wrongWidth(backbone, made.length / count);
      values.set(made, done * width);
      await file.write(bytesOf(values), done * width * 4, count * width * 4, done * width * 4);
      done += count;
      if (done - synced >= rowsPerSync) {
        await file.sync();
        synced = done;
      }
      onProgress(done, rows);
    }
    await file.truncate(rows * width * 4);
    await file.sync();
    return values;
  } finally {
    await file.close();
    await session.close();
  }
}
