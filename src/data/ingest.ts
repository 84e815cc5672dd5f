import { mkdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, extname, join, relative, sep } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { sha256 } from "../files.ts";
import { isSafePath, LinkGuard } from "../safe-path.ts";
import { type ImageLimits, defaultImageLimits } from "../image/check-image.ts";
import { inspectionVersion } from "../image/decode.ts";
import { inspectImage } from "../image/inspect-image.ts";
import { ImportJournal, key, type JournalLine } from "./journal.ts";
import { manifestName, readManifest, writeManifest, type ManifestRow } from "./manifest.ts";
import { mapOrdered } from "./map-ordered.ts";
import { Quarantine, type SetAside } from "./quarantine.ts";
import { readEntry, type Source, type SourceEntry } from "./sources/source.ts";

export interface IngestOptions {
  /** data/raw: pictures and manifest.jsonl. */
  readonly outDir: string;
  readonly quarantineDir: string;
  /** Remembers what was imported into `outDir`; lies outside it, because `outDir` is versioned data. */
  readonly journalPath: string;
  /** Keeps what is written from being led elsewhere by links; its root holds `outDir`. Without one no link below `outDir` is followed. */
  readonly guard?: LinkGuard;
  readonly limits?: ImageLimits;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface IngestReport {
  readonly source: string;
  /** Entries of this source that are in data/raw now. */
  readonly kept: number;
  /** Of those, the ones that an earlier import had done. */
  readonly reused: number;
  readonly setAside: readonly SetAside[];
  /** Pictures by class in the whole of data/raw, classes sorted. */
  readonly counts: Readonly<Record<string, number>>;
  readonly dataVersion: string;
  /** False when nothing had to be read, written or recorded. */
  readonly changed: boolean;
  readonly seconds: number;
  readonly filesPerSecond: number;
}

/**
 * Brings a source's pictures into data/raw with their bytes unchanged, decodes each once to check it, sets broken ones
 * aside and writes the manifest. Adds and updates, never deletes what other sources brought. A source that is `outDir`
 * itself is checked in place: afterwards the manifest lists what lies there. Throws E_SOURCE_EMPTY, E_DISK_FULL; the
 * signal's reason when aborted, and what was done until then is not done again.
 */
export async function ingest(source: Source, options: IngestOptions): Promise<IngestReport> {
  const startedAt = performance.now();
  await mkdir(options.outDir, { recursive: true });
  const quarantine = await Quarantine.open(options.quarantineDir, source.id, options.guard);
  const journal = await ImportJournal.load(options.journalPath);
  const run = new Ingestion(source, options, journal, quarantine, await isSameFolder(source, options.outDir));
  const rows = new Map<string, ManifestRow>();
  const setAside: SetAside[] = [];
  const seen = new Set<string>();
  let done = 0;
  let reused = 0;
  // Twice the cores: while some pictures are decoded, others are read and written.
  const outcomes = mapOrdered(run.entries(), 2 * availableParallelism(), (entry) => run.process(entry));
  try {
    for await (const { line, fresh } of outcomes) {
      options.signal?.throwIfAborted();
      seen.add(quarantine.pathOf(line.name));
      // What took too long on a busy machine may be decoded next time.
      if (fresh && line.code !== "E_IMAGE_COST") await run.journal.add(line);
      if (line.row === undefined) {
        setAside.push({ path: quarantine.pathOf(line.name), code: line.code ?? "E_INTERNAL", message: line.message ?? "" });
      } else {
        rows.set(line.row.path, line.row);
        if (!fresh) reused++;
      }
      done++;
      options.onProgress?.(done, source.count);
    }
  } finally {
    await run.journal.finish();
  }
  await quarantine.update(seen, setAside, run.inPlace);
  if (rows.size === 0) {
    throw new ServalError("E_SOURCE_EMPTY", `"${source.title}" holds ${done} files, none of them a readable picture in a class folder.`, {
      details: { setAside },
    });
  }
  const kept = rows.size;
  if (!run.inPlace) await keepOthers(options.outDir, rows);
  const manifest = await writeManifest(options.outDir, [...rows.values()]);
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    source: source.title,
    kept,
    reused,
    setAside,
    counts: countLabels(manifest.rows),
    dataVersion: manifest.dataVersion,
    changed: manifest.changed || run.processed > 0,
    seconds,
    filesPerSecond: done / seconds,
  };
}

/** Whether the source is data/raw itself. A source around data/raw would import its own copies: E_SOURCE. */
async function isSameFolder(source: Source, outDir: string): Promise<boolean> {
  if (source.folder === undefined) return false;
  const out = await realpath(outDir);
  if (out.startsWith(source.folder + sep)) {
    throw new ServalError("E_SOURCE", `"${outDir}" lies within the source "${source.folder}".`, {
      hint: "Name the folder that holds the class folders, or another --out.",
    });
  }
  return out === source.folder;
}

/** Pictures by class, classes in the order of their code units. */
export function countLabels(rows: readonly Pick<ManifestRow, "label">[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { label } of rows) counts.set(label, (counts.get(label) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Adds the manifest rows that other sources brought and whose files are still there. */
async function keepOthers(outDir: string, rows: Map<string, ManifestRow>): Promise<void> {
  const before = await readManifest(outDir).catch((error: unknown) => {
    if (error instanceof ServalError && error.code === "E_MANIFEST_MISSING") return undefined;
    throw error;
  });
  const others = (before?.rows ?? []).filter((row) => !rows.has(row.path));
  const checked = mapOrdered(others, 16, async (row) => ({ row, there: await stat(join(outDir, row.path)).catch(() => undefined) }));
  for await (const { row, there } of checked) if (there !== undefined) rows.set(row.path, row);
}

interface Outcome {
  readonly line: JournalLine;
  /** Whether the entry was read this time; false when the journal knew it. */
  readonly fresh: boolean;
}

class Ingestion {
  readonly journal: ImportJournal;
  readonly inPlace: boolean;
  processed = 0;
  readonly #source: Source;
  readonly #options: IngestOptions;
  readonly #limits: ImageLimits;
  readonly #quarantine: Quarantine;
  readonly #owners: Map<string, string>;
  /** Paths that entries of this run took, lower case: some file systems do not tell `A.jpg` from `a.jpg`. */
  readonly #taken = new Set<string>();
  readonly #folders = new Set<string>();
  readonly #guard: LinkGuard;

  constructor(source: Source, options: IngestOptions, journal: ImportJournal, quarantine: Quarantine, inPlace: boolean) {
    this.#source = source;
    this.#options = options;
    this.#guard = options.guard ?? new LinkGuard(options.outDir);
    this.#limits = options.limits ?? defaultImageLimits;
    this.journal = journal;
    this.#quarantine = quarantine;
    this.#owners = journal.owners();
    this.inPlace = inPlace;
  }

  /** Everything in the source but the manifest, which lies among the pictures where the source is data/raw itself. */
  async *entries(): AsyncGenerator<SourceEntry> {
    for await (const entry of this.#source.entries()) if (!this.inPlace || entry.name !== manifestName) yield entry;
  }

  async process(entry: SourceEntry): Promise<Outcome> {
    const known = this.journal.get(this.#source.id, entry.name);
    const path = this.#takePath(entry, known);
    const version = `${entry.version}/${inspectionVersion}`;
    if (known?.version === version && (await this.#isOnDisk(known))) return { line: known, fresh: false };
    this.processed++;
    const base = { source: this.#source.id, name: entry.name, version };
    if (path === undefined) return { line: { ...base, ...this.#unlabelled(entry) }, fresh: true };
    let bytes: Uint8Array | undefined;
    try {
      bytes = await readEntry(entry, this.#limits.maxBytes);
      const { dhash, width, height, format } = await inspectImage(bytes, this.#limits);
      const written = await this.#write(entry, path, bytes);
      const row: ManifestRow = { path: written.path, label: entry.label ?? "", sha256: sha256(bytes), dhash, width, height, format };
      return { line: { ...base, row, sizeBytes: bytes.byteLength, mtimeMs: written.mtimeMs }, fresh: true };
    } catch (error) {
      if (!isAboutTheFile(error)) throw error;
      await this.#setAside(entry, bytes);
      if (known?.row !== undefined) await this.#checkFolder(dirname(join(this.#options.outDir, known.row.path)));
      if (known?.row !== undefined) await rm(join(this.#options.outDir, known.row.path), { force: true });
      return { line: { ...base, code: error.code, message: reasonOf(error) }, fresh: true };
    }
  }

  /** Decides synchronously, in the order of the entries, so that the result does not depend on timing. */
  #takePath(entry: SourceEntry, known: JournalLine | undefined): string | undefined {
    if (entry.path === undefined) return undefined;
    if (this.inPlace) return entry.name;
    // The journal may be of a version that took other names.
    const wanted = known?.row !== undefined && isSafePath(known.row.path) ? known.row.path : entry.path;
    const path = this.#taken.has(wanted.toLowerCase()) ? this.#otherPath(entry) : wanted;
    this.#taken.add(path.toLowerCase());
    return path;
  }

  /** For a file whose name another file has: the name with a mark that depends on where the file comes from alone. */
  #otherPath(entry: SourceEntry): string {
    const path = entry.path ?? entry.name;
    const extension = extname(path);
    const mark = sha256(key(this.#source.id, entry.name)).slice(0, 8);
    return `${path.slice(0, path.length - extension.length)}~${mark}${extension}`;
  }

  #unlabelled(entry: SourceEntry): { code: string; message: string } {
    return { code: "E_LABEL_MISSING", message: `"${entry.name}" lies in no class folder; it was left where it is.` };
  }

  async #isOnDisk(known: JournalLine): Promise<boolean> {
    if (known.row === undefined) return true;
    const there = await stat(join(this.#options.outDir, known.row.path)).catch(() => undefined);
    return there?.size === known.sizeBytes && Math.round(there?.mtimeMs ?? 0) === known.mtimeMs;
  }

  async #checkFolder(folder: string): Promise<void> {
    await this.#guard.check(relative(this.#guard.root, folder).split(sep).join("/"), true);
  }

  /** Writes the bytes unless a file that we did not put there has the name; returns the path that it got. */
  async #write(entry: SourceEntry, path: string, bytes: Uint8Array): Promise<{ path: string; mtimeMs: number }> {
    const target = join(this.#options.outDir, path);
    if (!this.inPlace) {
      const folder = dirname(target);
      if (!this.#folders.has(folder)) {
        await this.#checkFolder(folder);
        await mkdir(folder, { recursive: true });
      }
      this.#folders.add(folder);
      const created = await writeNew(target, bytes);
      if (!created && !(await this.#mayReplace(entry, path, target, bytes))) {
        const other = this.#otherPath(entry);
        await replaceFile(join(this.#options.outDir, other), bytes);
        return { path: other, mtimeMs: Math.round((await stat(join(this.#options.outDir, other))).mtimeMs) };
      }
      if (!created) await replaceFile(target, bytes);
    }
    return { path, mtimeMs: Math.round((await stat(target)).mtimeMs) };
  }

  /** Ours by the journal, the same picture, or what a killed import left of it. */
  async #mayReplace(entry: SourceEntry, path: string, target: string, bytes: Uint8Array): Promise<boolean> {
    const owner = this.#owners.get(path);
    if (owner !== undefined) return owner === key(this.#source.id, entry.name);
    const there = await readFile(target);
    return there.byteLength <= bytes.byteLength && there.equals(bytes.subarray(0, there.byteLength));
  }

  async #setAside(entry: SourceEntry, bytes: Uint8Array | undefined): Promise<void> {
    if (this.inPlace) await this.#quarantine.take(entry.name, join(this.#options.outDir, entry.name));
    else if (bytes !== undefined) await this.#quarantine.write(entry.name, bytes);
  }
}

/** The message, and for a format that has a name what to do about it: the report has no place for hints. */
function reasonOf(error: ServalError): string {
  return error.code === "E_IMAGE_FORMAT" && error.details["format"] !== undefined ? `${error.message} ${error.hint}` : error.message;
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

/** Errors that say something about one file: it is set aside and the import goes on. */
function isAboutTheFile(error: unknown): error is ServalError {
  return error instanceof ServalError && (error.code.startsWith("E_IMAGE_") || error.code === "E_ARCHIVE_CORRUPT");
}
