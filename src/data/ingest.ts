import { mkdir, realpath } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve, sep } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { sha256, statIfThere } from "../files.ts";
import type { ImageLimits } from "../image/check-image.ts";
import type { LinkGuard } from "../safe-path.ts";
import { applyCorrections, type Correction } from "./corrections.ts";
import { SourceHistory } from "./follow-source.ts";
import { entriesOf, Ingestion, type Outcome } from "./ingestion.ts";
import { ImportJournal } from "./journal.ts";
import { findChanges, type DataChanges } from "./manifest-changes.ts";
import { formatManifest, readRows, writeManifest, type ManifestRow } from "./manifest.ts";
import { mapOrdered } from "./map-ordered.ts";
import { Quarantine, type SetAside } from "./quarantine.ts";
import type { Source } from "./sources/source.ts";

export interface IngestOptions {
  /** data/raw: pictures and manifest.jsonl. */
  readonly outDir: string;
  readonly quarantineDir: string;
  /** Remembers what was imported into `outDir`; lies outside it, because `outDir` is versioned data. */
  readonly journalPath: string;
  /** Keeps what is written from being led elsewhere by links; its root holds `outDir`. Without one no link below `outDir` is followed. */
  readonly guard?: LinkGuard;
  readonly limits?: ImageLimits;
  /** What people decided about labels and pictures, applied to all that the manifest lists. Null and undefined: nothing. */
  readonly corrections?: readonly Correction[] | null;
  readonly signal?: AbortSignal;
  /** Looks at everything and writes nothing: the report says what an import would change. */
  readonly dry?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface IngestReport {
  readonly source: string;
  /** Whether nothing was written. */
  readonly dry: boolean;
  /** Entries of this source that are in data/raw now. */
  readonly kept: number;
  /** Of those, the ones that an earlier import had done. */
  readonly reused: number;
  readonly setAside: readonly SetAside[];
  /** What is different in data/raw, compared with the manifest before. */
  readonly changes: DataChanges;
  /** Pictures that corrections gave another label or left out, and lines about pictures that are not there; null without corrections. */
  readonly corrections: { readonly relabelled: number; readonly excluded: number; readonly unused: number } | null;
  /** What was joined, passed over or kept and somebody might not expect, a sentence each. */
  readonly remarks: readonly string[];
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
 * aside and writes the manifest. Follows the source: what it no longer has leaves data/raw, unless another source brought it too or it
 * was changed there; what other sources brought stays. A source that is `outDir` itself is checked in place: afterwards the manifest lists
 * what lies there. Files are removed last, when the manifest no longer lists them, so that an import that is killed loses
 * nothing. Throws E_SOURCE_EMPTY, E_DISK_FULL; the signal's reason when aborted, and what was done until then is not done again.
 */
export async function ingest(source: Source, options: IngestOptions): Promise<IngestReport> {
  const startedAt = performance.now();
  const { outDir, dry = false } = options;
  if (!dry) await mkdir(outDir, { recursive: true });
  const inPlace = await isSameFolder(source, outDir);
  const quarantine = await Quarantine.open(options.quarantineDir, source.id, options.guard);
  const journal = await ImportJournal.load(options.journalPath, { dry });
  const present = new Set<string>();
  const inPlaceId = `folder:${await realFolder(outDir)}`;
  const history = new SourceHistory(outDir, journal, source.id, inPlaceId, present);
  for await (const { name } of entriesOf(source, inPlace)) present.add(history.keyOf(name));
  const before = await readRows(outDir);
  const state = { journal, quarantine, owners: history.owners(), present, unowned: history.unowned(before), inPlace };
  const ingestion = new Ingestion(source, options, state);
  const passed = await runEntries(source, ingestion, journal, quarantine, options);
  const { rows, setAside, labels } = passed;
  const kept = rows.size;
  const own = new Set([...rows.values()].map((row) => row.label));
  const vanished = history.vanished();
  const follows = vanished.length === 0 || history.isSameSet(vanished, passed.known, rows.values());
  if (!dry) await quarantine.update(passed.seen, setAside, { onlyCopy: inPlace, follows: follows && kept > 0 });
  if (kept === 0) throw emptySource(source, passed.done, setAside);
  const given = [...passed.givenUp, ...(follows && !inPlace ? vanished.flatMap(({ row }) => (row === undefined ? [] : [row])) : [])];
  const gone = await history.removable(given, new Set(rows.keys()));
  if (inPlace) keepSplits(before, rows);
  else await keepOthers(outDir, before, rows, new Set(gone));
  const lines = options.corrections ?? null;
  const corrected = lines === null ? null : applyCorrections(history.asGiven([...rows.values()]), lines);
  const manifest = await finish(outDir, corrected?.rows ?? [...rows.values()], before, dry);
  if (!dry) {
    for (const path of gone) await ingestion.remove(path);
    if (follows) for (const line of vanished) await journal.drop(line);
    await journal.finish();
  }
  const counts = countLabels(manifest.rows);
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    source: source.title,
    dry,
    kept,
    reused: passed.reused,
    setAside,
    changes: findChanges(before, manifest.rows),
    corrections: corrected && { relabelled: corrected.relabelled, excluded: corrected.excluded, unused: corrected.unused },
    remarks: [...source.remarks, ...lostClasses(labels, own), ...(follows ? [] : [describeOtherSet(source, vanished.length)])],
    counts,
    dataVersion: manifest.dataVersion,
    changed: manifest.changed || ingestion.processed > 0 || gone.length > 0,
    seconds,
    filesPerSecond: passed.done / seconds,
  };
}

interface Passed {
  readonly rows: Map<string, ManifestRow>;
  readonly setAside: SetAside[];
  /** Paths of all entries below the quarantine. */
  readonly seen: Set<string>;
  /** Class folders with the number of their files. */
  readonly labels: Map<string, number>;
  /** Files that entries had in data/raw and have no longer: they got another class, or broke. */
  readonly givenUp: ManifestRow[];
  done: number;
  reused: number;
  /** Entries that an earlier import had seen with these bytes. */
  known: number;
}

async function runEntries(
  source: Source,
  ingestion: Ingestion,
  journal: ImportJournal,
  quarantine: Quarantine,
  { signal, dry = false, onProgress }: IngestOptions,
): Promise<Passed> {
  const passed: Passed = { rows: new Map(), setAside: [], seen: new Set(), labels: new Map(), givenUp: [], done: 0, reused: 0, known: 0 };
  // Twice the cores: while some pictures are decoded, others are read and written.
  const outcomes = mapOrdered(entriesOf(source, ingestion.inPlace), 2 * availableParallelism(), async (entry) => ({
    label: entry.label,
    outcome: await ingestion.process(entry),
  }));
  try {
    for await (const { label, outcome } of outcomes) {
      signal?.throwIfAborted();
      const { line, fresh } = outcome;
      passed.seen.add(quarantine.pathOf(line.name));
      if (label !== undefined) passed.labels.set(label, (passed.labels.get(label) ?? 0) + 1);
      // What took too long on a busy machine may be decoded next time.
      if (fresh && !dry && line.code !== "E_IMAGE_COST") await journal.add(line);
      note(passed, outcome, quarantine);
      passed.done++;
      onProgress?.(passed.done, source.count);
    }
  } finally {
    if (!dry) await journal.finish();
  }
  return passed;
}

function note(passed: Passed, { line, row, fresh, before }: Outcome, quarantine: Quarantine): void {
  if (row === undefined) {
    passed.setAside.push({ path: quarantine.pathOf(line.name), code: line.code ?? "E_INTERNAL", message: line.message ?? "" });
  } else {
    passed.rows.set(row.path, row);
    if (!fresh) passed.reused++;
  }
  if (before?.version === line.version) passed.known++;
  if (before?.row !== undefined && before.row.path !== row?.path) passed.givenUp.push(before.row);
}

/** Whether the source is data/raw itself. A source around data/raw would import its own copies: E_SOURCE. */
async function isSameFolder(source: Source, outDir: string): Promise<boolean> {
  if (source.folder === undefined) return false;
  const out = await realFolder(outDir);
  if (out.startsWith(source.folder + sep)) {
    throw new ServalError("E_SOURCE", `"${outDir}" lies within the source "${source.folder}".`, {
      hint: "Name the folder that holds the class folders, or another --out.",
    });
  }
  return out === source.folder;
}

/** A folder that a dry run has not made has only the path that it would get. */
async function realFolder(path: string): Promise<string> {
  return await realpath(path).catch(() => resolve(path));
}

/** Pictures by class, classes in the order of their code units. */
export function countLabels(rows: readonly Pick<ManifestRow, "label">[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { label } of rows) counts.set(label, (counts.get(label) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Adds the rows that other sources brought and whose files are still there. */
async function keepOthers(
  outDir: string,
  before: readonly ManifestRow[],
  rows: Map<string, ManifestRow>,
  gone: ReadonlySet<string>,
): Promise<void> {
  const others = before.filter((row) => !rows.has(row.path) && !gone.has(row.path));
  const checked = mapOrdered(others, 16, async (row) => ({ row, there: await statIfThere(join(outDir, row.path)) }));
  for await (const { row, there } of checked) if (there !== undefined) rows.set(row.path, row);
}

/** data/raw has no split folders: its manifest says what is known of splits. */
function keepSplits(before: readonly ManifestRow[], rows: Map<string, ManifestRow>): void {
  const splits = new Map(before.flatMap(({ sha256, split }) => (split === undefined ? [] : [[sha256, split] as const])));
  for (const [path, row] of rows) {
    const split = splits.get(row.sha256);
    if (split !== undefined) rows.set(path, { ...row, split });
  }
}

async function finish(
  outDir: string,
  rows: readonly ManifestRow[],
  before: readonly ManifestRow[],
  dry: boolean,
): Promise<{ readonly rows: readonly ManifestRow[]; readonly dataVersion: string; readonly changed: boolean }> {
  if (!dry) return await writeManifest(outDir, rows);
  const text = formatManifest(rows);
  return { rows, dataVersion: sha256(text), changed: text !== formatManifest(before) };
}

/** Says what most of the files are, where it is something else than "in no class folder". */
function emptySource(source: Source, files: number, setAside: readonly SetAside[]): ServalError {
  const counts = new Map<string, { code: string; count: number }>();
  for (const { code, message } of setAside) counts.set(message, { code, count: (counts.get(message)?.count ?? 0) + 1 });
  const [most] = [...counts].sort(([, a], [, b]) => b.count - a.count);
  const unlabelled = setAside.filter(({ code }) => code === "E_LABEL_MISSING").length;
  const hint = most === undefined || unlabelled * 2 >= files ? folderHint(source, setAside) : `${most[1].count} of ${files}: ${most[0]}`;
  return new ServalError("E_SOURCE_EMPTY", `"${source.title}" holds ${files} files, none of them a readable picture in a class folder.`, {
    ...(hint !== undefined && { hint }),
    details: { setAside },
  });
}

const unreadExtension = /\.(heic|heif|avif|tiff?|bmp|jxl|jp2)$/i;

/** For pictures in no class folder; their names may say that folders alone will not help. */
function folderHint(source: Source, setAside: readonly SetAside[]): string | undefined {
  const unread = setAside.filter(({ path }) => unreadExtension.test(path));
  if (unread.length * 2 <= setAside.length) return source.hint;
  const kind = unreadExtension.exec(unread[0]!.path)![1]!.toUpperCase();
  const folders = "Then put the pictures of each class into their own folder: rose/1.jpg, tulip/1.jpg.";
  return `${unread.length} of ${setAside.length} are called like ${kind}, which is not read: convert them to JPEG. ${source.hint ?? folders}`;
}

function lostClasses(labels: ReadonlyMap<string, number>, kept: ReadonlySet<string>): string[] {
  return [...labels]
    .filter(([label]) => !kept.has(label))
    .map(
      ([label, files]) =>
        `The class "${label}" has no picture here: ${files === 1 ? "its one file was" : `all ${files} of its files were`} set aside.`,
    );
}

function describeOtherSet(source: Source, count: number): string {
  return `None of the ${count} files that "${source.title}" had before is in it now, so it was taken for another set of the same name: the earlier pictures were kept. To remove them, delete them in data/raw and run \`serval data import data/raw\`.`;
}
