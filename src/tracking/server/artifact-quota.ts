import { lstat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { listIfThere, isAbsent } from "../../files.ts";
import { refusal, tooLarge } from "./refusal.ts";

/** How much clients may upload, in bytes. */
export interface ArtifactLimits {
  readonly maxFileBytes: number;
  /** All files of one run, or of one logged model. */
  readonly maxRunBytes: number;
  /** What must stay free on the disk. */
  readonly minFreeBytes: number;
}

export const defaultArtifactLimits: ArtifactLimits = {
  maxFileBytes: 8 * 1024 ** 3,
  maxRunBytes: 64 * 1024 ** 3,
  minFreeBytes: 128 * 1024 ** 2,
};

/** Other servers may write to the same folder: what was counted is counted again after this time. */
const countedForMs = 60_000;
/** The disk is asked again after this number of bytes of all uploads together. */
const askDiskEveryBytes = 32 * 1024 ** 2;
const minFreeFiles = 1000;

interface Usage {
  /** What lay in the folder when it was counted. */
  counted: Promise<number>;
  countedAt: number;
  /** Bytes that came to it since, without those of the files that they replaced. */
  written: number;
  /** Bytes of uploads that are under way. */
  arriving: number;
}

/** The room of one upload. */
export interface Reservation {
  /** Before the bytes are written. Throws RESOURCE_EXHAUSTED where they are too many. */
  take(bytes: number): Promise<void>;
  /** The file is in its place, where one of `replacedBytes` was. */
  keep(replacedBytes: number): void;
  /** Nothing of the file is left. */
  release(): void;
}

/**
 * Counts what is uploaded against the limits: while it arrives, so that a false length, or none, makes no difference. Each
 * server counts for itself; with several on one folder a run may exceed its limit by what the others wrote in a minute.
 */
export class ArtifactQuota {
  readonly #root: string;
  readonly #limits: ArtifactLimits;
  readonly #runs = new Map<string, Usage>();
  #free: Promise<number> | undefined;
  #sinceAsked = 0;

  constructor(root: string, limits: ArtifactLimits) {
    this.#root = root;
    this.#limits = limits;
  }

  /** For a file at the path with these parts. Throws RESOURCE_EXHAUSTED at once where a file of `announcedBytes` is too large. */
  async reserve(parts: readonly string[], announcedBytes: number): Promise<Reservation> {
    const run = this.#runOf(parts);
    let taken = 0;
    await this.#check(run, announcedBytes, announcedBytes);
    return {
      take: async (bytes) => {
        // Counted before it is checked, so that uploads at the same time see each other.
        taken += bytes;
        run.arriving += bytes;
        this.#sinceAsked += bytes;
        await this.#check(run, taken);
      },
      keep(replacedBytes) {
        run.arriving -= taken;
        run.written += taken - replacedBytes;
      },
      release: () => void (run.arriving -= taken),
    };
  }

  /** After files were removed. */
  countAgain(): void {
    for (const run of this.#runs.values()) run.countedAt = -Infinity;
    this.#free = undefined;
  }

  /** Of a file of `fileBytes`, of which `toCome` are not counted yet. */
  async #check(run: Usage, fileBytes: number, toCome = 0): Promise<void> {
    const { maxFileBytes, maxRunBytes, minFreeBytes } = this.#limits;
    if (fileBytes > maxFileBytes) throw tooLarge(`The file is larger than ${maxFileBytes} bytes (SERVAL_TRACK_MAX_FILE_BYTES).`);
    if ((await run.counted) + run.written + run.arriving + toCome > maxRunBytes)
      throw tooLarge(`The files of this run or model would be larger than ${maxRunBytes} bytes (SERVAL_TRACK_MAX_RUN_BYTES).`);
    if ((await this.#freeBytes()) - toCome < minFreeBytes) throw diskFull(minFreeBytes);
  }

  /** A run's files lie in EXPERIMENT/RUN, those of a logged model in EXPERIMENT/models/MODEL. */
  #runOf(parts: readonly string[]): Usage {
    const folder = parts.slice(0, parts[1] === "models" ? 3 : 2).join("/");
    const now = performance.now();
    const isFresh = ({ countedAt }: Usage): boolean => now - countedAt < countedForMs;
    for (const [name, run] of this.#runs) if (run.arriving === 0 && !isFresh(run)) this.#runs.delete(name);
    const run = this.#runs.get(folder) ?? { counted: Promise.resolve(0), countedAt: -Infinity, written: 0, arriving: 0 };
    if (!isFresh(run)) Object.assign(run, { counted: sizeOf(join(this.#root, folder)), countedAt: now, written: 0 });
    this.#runs.set(folder, run);
    return run;
  }

  async #freeBytes(): Promise<number> {
    if (this.#free === undefined || this.#sinceAsked > askDiskEveryBytes) {
      this.#sinceAsked = 0;
      this.#free = statfs(this.#root).then(({ bavail, bsize, files, ffree }) => (files > 0 && ffree < minFreeFiles ? 0 : bavail * bsize));
    }
    return (await this.#free) - this.#sinceAsked;
  }
}

function diskFull(minFreeBytes: number): Error {
  const limit = `less than ${minFreeBytes} bytes (SERVAL_TRACK_MIN_FREE_BYTES)`;
  const message = `The disk of the tracking server would have ${limit} left. Nothing of the file was kept; free some space and send it again.`;
  return refusal("RESOURCE_EXHAUSTED", message);
}

/** Bytes of a file, or of all files in a folder; links are not followed. */
async function sizeOf(path: string): Promise<number> {
  const found = await lstat(path).catch((error: unknown) => {
    // Deleted since its folder was read.
    if (isAbsent(error)) return undefined;
    throw error;
  });
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.size;
  let total = 0;
  for (const name of await listIfThere(path)) total += await sizeOf(join(path, name));
  return total;
}
