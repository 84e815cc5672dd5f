import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import type { EpochFigures } from "../evaluate/best-epoch.ts";
import { listIfThere, sha256, writeFileAtomic } from "../files.ts";
import { encodeSafetensors, float32Safetensor, parseSafetensors, safetensorNumbers } from "../model/safetensors.ts";

/** Everything besides tensors that the next step depends on. */
export interface Position {
  /** Epoch in progress, from 0, and the steps of it that are done. */
  readonly epoch: number;
  readonly step: number;
  /** Sums over the steps done of this epoch, for its row in results.csv. */
  readonly lossSum: number;
  readonly correct: number;
  /** Training time in seconds, of all sessions of the run and of this epoch. */
  readonly seconds: number;
  readonly epochSeconds: number;
  readonly best: EpochFigures | null;
}

export interface Checkpoint {
  /** SHA-256 over configuration, data version and how the data was prepared: a run can only continue with what it began with. */
  readonly fingerprint: string;
  readonly position: Position;
  /** Parameters, statistics, optimizer slots and, under `ema:NAME`, moving averages. */
  readonly state: Readonly<Record<string, Float32Array>>;
  /** Parameters and statistics of the best epoch so far; empty before the first one. */
  readonly best: Readonly<Record<string, Float32Array>>;
}

const bestPrefix = "best/";
const kept = 2;
const namePattern = /^step-(\d{8})-([0-9a-f]{16})\.safetensors$/;

/**
 * Writes a checkpoint file whose name carries the step and its own hash, atomically, then removes all but the last two.
 * The format is safetensors, with the position as JSON in its metadata.
 */
export async function writeCheckpoint(dir: string, globalStep: number, checkpoint: Checkpoint): Promise<string> {
  const tensors = Object.fromEntries([
    ...Object.entries(checkpoint.state).map(([name, data]) => [name, float32Safetensor([data.length], data)] as const),
    ...Object.entries(checkpoint.best).map(([name, data]) => [`${bestPrefix}${name}`, float32Safetensor([data.length], data)] as const),
  ]);
  const bytes = encodeSafetensors(tensors, { fingerprint: checkpoint.fingerprint, position: JSON.stringify(checkpoint.position) });
  const name = `step-${String(globalStep).padStart(8, "0")}-${sha256(bytes).slice(0, 16)}.safetensors`;
  await writeFileAtomic(join(dir, name), bytes);
  for (const old of (await listCheckpoints(dir)).slice(kept)) if (old !== name) await rm(join(dir, old), { force: true });
  return name;
}

/** File names, latest first. */
export async function listCheckpoints(dir: string): Promise<string[]> {
  return (await listIfThere(dir))
    .filter((name) => namePattern.test(name))
    .sort()
    .reverse();
}

/** Reads one checkpoint; throws E_CHECKPOINT_CORRUPT where its bytes are not those that were written. */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const bytes = await readFile(path);
  const expected = namePattern.exec(path.slice(path.lastIndexOf("step-")))?.[2];
  const actual = sha256(bytes).slice(0, 16);
  if (expected !== actual)
    throw new ServalError(
      "E_CHECKPOINT_CORRUPT",
      `${path}: its sha256 begins with ${actual}; expected ${expected ?? "a name that holds it"}.`,
    );
  const { tensors, metadata } = parseSafetensors(bytes);
  const state: Record<string, Float32Array> = {};
  const best: Record<string, Float32Array> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const data = safetensorNumbers(name, tensor);
    if (name.startsWith(bestPrefix)) best[name.slice(bestPrefix.length)] = data;
    else state[name] = data;
  }
  return { fingerprint: metadata["fingerprint"] ?? "", position: JSON.parse(metadata["position"] ?? "null") as Position, state, best };
}

/**
 * The latest checkpoint that is whole. A damaged one is named to `onDamaged`, set aside, and the one before it is taken; throws
 * E_CHECKPOINT_CORRUPT where none is whole, and returns undefined where there is none at all.
 */
export async function latestCheckpoint(dir: string, onDamaged: (error: ServalError) => void): Promise<Checkpoint | undefined> {
  let failure: ServalError | undefined;
  const damaged: string[] = [];
  for (const name of await listCheckpoints(dir)) {
    try {
      const checkpoint = await readCheckpoint(join(dir, name));
      // It would take the place of one of the two that are kept.
      for (const path of damaged) await rename(path, `${path}.damaged`);
      return checkpoint;
    } catch (error) {
      if (!(error instanceof ServalError)) throw error;
      failure = error;
      damaged.push(join(dir, name));
      onDamaged(error);
    }
  }
  if (failure) throw failure;
  return undefined;
}
