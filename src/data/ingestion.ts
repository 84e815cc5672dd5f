import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative, sep } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { sha256, statIfThere } from "../files.ts";
import { type ImageLimits, defaultImageLimits } from "../image/check-image.ts";
import { inspectionVersion } from "../image/decode.ts";
import { inspectImage } from "../image/inspect-image.ts";
import { isSafePath, LinkGuard } from "../safe-path.ts";
import { key, type ImportJournal, type JournalLine } from "./journal.ts";
import { manifestName, type ManifestRow } from "./manifest.ts";
import type { Quarantine } from "./quarantine.ts";
import { readEntry, type Source, type SourceEntry } from "./sources/source.ts";

export interface IngestionOptions {
  /** data/raw */
  readonly outDir: string;
  readonly guard?: LinkGuard;
  readonly limits?: ImageLimits;
  /** Decides everything and writes nothing. */
  readonly dry?: boolean;
}

export interface Outcome {
  readonly line: JournalLine;
  /** The line's row with what the source says about it now; undefined for what was set aside. */
  readonly row?: ManifestRow;
  /** Whether the entry was read this time; false when the journal knew it. */
  readonly fresh: boolean;
  /** What the journal had of the entry. */
  readonly before: JournalLine | undefined;
}

/** One run over the entries of a source: what happens to each of them. */
export class Ingestion {
  readonly inPlace: boolean;
  processed = 0;
  readonly #source: Source;
  readonly #options: IngestionOptions;
  readonly #limits: ImageLimits;
  readonly #journal: ImportJournal;
  readonly #quarantine: Quarantine;
  /** Who put which file into data/raw, last: path to entry. What this source no longer has owns nothing. */
  readonly #owners: ReadonlyMap<string, string>;
  /** Of the entries that the source has now, the keys. */
  readonly #present: ReadonlySet<string>;
  readonly #unowned: ReadonlyMap<string, ManifestRow[]>;
  /** Paths that entries of this run took, lower case: some file systems do not tell `A.jpg` from `a.jpg`. */
  readonly #taken = new Set<string>();
  readonly #folders = new Set<string>();
  readonly #guard: LinkGuard;

  constructor(source: Source, options: IngestionOptions, state: IngestionState) {
    this.#source = source;
    this.#options = options;
    this.#guard = options.guard ?? new LinkGuard(options.outDir);
    this.#limits = options.limits ?? defaultImageLimits;
    this.#journal = state.journal;
    this.#quarantine = state.quarantine;
    this.#owners = state.owners;
    this.#present = state.present;
    this.#unowned = state.unowned;
    this.inPlace = state.inPlace;
  }

  async process(entry: SourceEntry): Promise<Outcome> {
    const before = this.#journal.get(this.#source.id, entry.name);
    const path = this.#takePath(entry, before);
    const version = `${entry.version}/${inspectionVersion}`;
    if (before?.version === version && isPlacedAs(before, entry) && (before.row === undefined || before.row.path === path)) {
      if (await this.#isOnDisk(before)) return this.#outcome(entry, before, false, before);
      const moved = await this.#movedByHand(before);
      if (moved !== undefined) return { line: before, row: moved, fresh: false, before: undefined };
    }
    const base = { source: this.#source.id, name: entry.name, version };
    if (entry.fault !== undefined) return this.#outcome(entry, { ...base, ...entry.fault }, false, before);
    this.processed++;
    if (path === undefined) return this.#outcome(entry, { ...base, ...unlabelled(entry) }, true, before);
    let bytes: Uint8Array | undefined;
    try {
      bytes = await readEntry(entry, this.#limits.maxBytes);
      const { dhash, width, height, format } = await inspectImage(bytes, this.#limits);
      const written = await this.#write(entry, path, bytes);
      const row: ManifestRow = { path: written.path, label: entry.label ?? "", sha256: sha256(bytes), dhash, width, height, format };
      return this.#outcome(entry, { ...base, row, sizeBytes: bytes.byteLength, mtimeMs: written.mtimeMs }, true, before);
    } catch (error) {
      if (!isAboutTheFile(error)) throw error;
      await this.#setAside(entry, bytes);
      return this.#outcome(entry, { ...base, code: error.code, message: error.message }, true, before);
    }
  }

  #outcome(entry: SourceEntry, line: JournalLine, fresh: boolean, before: JournalLine | undefined): Outcome {
    if (line.row === undefined) return { line, fresh, before };
    return { line, fresh, before, row: { ...line.row, ...(entry.split !== undefined && { split: entry.split }) } };
  }

  /** Decides synchronously, in the order of the entries, so that the result does not depend on timing. */
  #takePath(entry: SourceEntry, before: JournalLine | undefined): string | undefined {
    if (entry.path === undefined || entry.fault !== undefined) return undefined;
    if (this.inPlace) return entry.name;
    // The journal may be of a version that took other names.
    const kept = before?.row !== undefined && before.row.label === entry.label && isSafePath(before.row.path);
    const wanted = kept ? before.row.path : entry.path;
    const path = this.#taken.has(wanted.toLowerCase()) || this.#isOfAnother(entry, wanted) ? this.#otherPath(entry) : wanted;
    this.#taken.add(path.toLowerCase());
    return path;
  }

  /** Whether a path belongs to another entry that the source still has. */
  #isOfAnother(entry: SourceEntry, path: string): boolean {
    const owner = this.#owners.get(path);
    return owner !== undefined && owner !== key(this.#source.id, entry.name) && this.#present.has(owner);
  }

  /** For a file whose name another file has: the name with a mark that depends on where the file comes from alone. */
  #otherPath(entry: SourceEntry): string {
    const path = entry.path ?? entry.name;
    const extension = extname(path);
    const mark = sha256(key(this.#source.id, entry.name)).slice(0, 8);
    return `${path.slice(0, path.length - extension.length)}~${mark}${extension}`;
  }

  async #isOnDisk(known: JournalLine): Promise<boolean> {
    if (known.row === undefined) return true;
    const there = await statIfThere(join(this.#options.outDir, known.row.path));
    return there?.size === known.sizeBytes && Math.round(there?.mtimeMs ?? 0) === known.mtimeMs;
  }

  /** Where a picture is that is no longer at its path: the manifest has its bytes under another one, which no source brought. */
  async #movedByHand(known: JournalLine): Promise<ManifestRow | undefined> {
    const { outDir } = this.#options;
    if (known.row === undefined || (await statIfThere(join(outDir, known.row.path))) !== undefined) return undefined;
    const row = this.#unowned.get(known.row.sha256)?.shift();
    if (row === undefined || (await statIfThere(join(outDir, row.path)))?.size !== known.sizeBytes) return undefined;
    return row;
  }

  async #checkFolder(folder: string): Promise<void> {
    await this.#guard.check(relative(this.#guard.root, folder).split(sep).join("/"), true);
  }

  /** Writes the bytes unless a file that we did not put there has the name; returns the path that it got. */
  async #write(entry: SourceEntry, path: string, bytes: Uint8Array): Promise<{ path: string; mtimeMs: number }> {
    const { outDir, dry } = this.#options;
    const target = join(outDir, path);
    if (this.inPlace) return { path, mtimeMs: await mtimeOf(target) };
    if (dry === true) {
      const free = (await statIfThere(target)) === undefined || (await this.#mayReplace(entry, path, target, bytes));
      return { path: free ? path : this.#otherPath(entry), mtimeMs: 0 };
    }
    const folder = dirname(target);
    if (!this.#folders.has(folder)) {
      await this.#checkFolder(folder);
      await mkdir(folder, { recursive: true });
    }
    this.#folders.add(folder);
    if (!(await writeNew(target, bytes))) {
      if (!(await this.#mayReplace(entry, path, target, bytes))) {
        const other = this.#otherPath(entry);
        await replaceFile(join(outDir, other), bytes);
        return { path: other, mtimeMs: await mtimeOf(join(outDir, other)) };
      }
      await replaceFile(target, bytes);
    }
    return { path, mtimeMs: await mtimeOf(target) };
  }

  /** Ours by the journal, the same picture, or what a killed import left of it. */
  async #mayReplace(entry: SourceEntry, path: string, target: string, bytes: Uint8Array): Promise<boolean> {
    const owner = this.#owners.get(path);
    if (owner === key(this.#source.id, entry.name)) return true;
    const there = await readFile(target);
    // What another source brought as well is one picture of both: a folder that was renamed brings nothing twice.
    if (owner !== undefined) return there.equals(bytes);
    return there.byteLength <= bytes.byteLength && there.equals(bytes.subarray(0, there.byteLength));
  }

  async #setAside(entry: SourceEntry, bytes: Uint8Array | undefined): Promise<void> {
    if (this.#options.dry === true) return;
    if (this.inPlace) await this.#quarantine.take(entry.name, join(this.#options.outDir, entry.name));
    else if (bytes !== undefined) await this.#quarantine.write(entry.name, bytes);
  }

  /** Removes a file of data/raw; not through a link. */
  async remove(path: string): Promise<void> {
    const target = join(this.#options.outDir, path);
    await this.#checkFolder(dirname(target));
    await rm(target, { force: true });
  }
}

export interface IngestionState {
  readonly journal: ImportJournal;
  readonly quarantine: Quarantine;
  readonly owners: ReadonlyMap<string, string>;
  readonly present: ReadonlySet<string>;
  /** Rows of the manifest that no source brought, by sha256. */
  readonly unowned: ReadonlyMap<string, ManifestRow[]>;
  readonly inPlace: boolean;
}

/** Everything in the source but the manifest, which lies among the pictures where the source is data/raw itself. */
export async function* entriesOf(source: Source, inPlace: boolean): AsyncGenerator<SourceEntry> {
  for await (const entry of source.entries()) if (!inPlace || entry.name !== manifestName) yield entry;
}

/** Whether the source puts the entry where it did when the line was written: a stray may have got a class, or a class another name. */
function isPlacedAs(known: JournalLine, entry: SourceEntry): boolean {
  if (known.row !== undefined) return known.row.label === entry.label;
  return (known.code === "E_LABEL_MISSING") === (entry.path === undefined) && entry.fault === undefined;
}

function unlabelled(entry: SourceEntry): { code: string; message: string } {
  return { code: "E_LABEL_MISSING", message: `"${entry.name}" ${entry.reason ?? "has no class; it was left where it is"}.` };
}

async function mtimeOf(path: string): Promise<number> {
  return Math.round((await stat(path)).mtimeMs);
}

async function writeNew(path: string, bytes: Uint8Array): Promise<boolean> {
  try {
    await writeFile(path, bytes, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Puts a new file in the place of what has the name: a link, or one file of many names in a cache, is not written through. */
async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  await rm(path, { force: true });
  await writeFile(path, bytes, { flag: "wx" });
}

/** Errors that say something about one file: it is set aside and the import continues. */
function isAboutTheFile(error: unknown): error is ServalError {
  return error instanceof ServalError && (error.code.startsWith("E_IMAGE_") || error.code === "E_ARCHIVE_CORRUPT");
}
