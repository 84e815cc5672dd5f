import { join } from "node:path";
import { sha256File, statIfThere } from "../files.ts";
import { key, type ImportJournal, type JournalLine } from "./journal.ts";
import type { ManifestRow } from "./manifest.ts";

/** What a source had at an earlier import and has no longer. */
export class SourceHistory {
  readonly #outDir: string;
  readonly #lines: ReadonlyMap<string, JournalLine>;
  readonly #source: string;
  readonly #inPlaceSource: string;
  readonly #present: ReadonlySet<string>;

  /** `inPlaceSource` is the id that data/raw has as a source: what was checked in place is owned by those who brought it. */
  constructor(outDir: string, journal: ImportJournal, source: string, inPlaceSource: string, present: ReadonlySet<string>) {
    this.#outDir = outDir;
    this.#lines = new Map(journal.lines());
    this.#source = source;
    this.#inPlaceSource = inPlaceSource;
    this.#present = present;
  }

  /** Lines of entries that the source no longer has. */
  vanished(): JournalLine[] {
    return [...this.#lines].filter(([entry, line]) => line.source === this.#source && !this.#present.has(entry)).map(([, line]) => line);
  }

  /** Who put which file into data/raw, last: path to entry, without entries that their source no longer has. */
  owners(): Map<string, string> {
    const owners = new Map<string, string>();
    for (const [entry, line] of this.#lines) {
      if (line.row === undefined || line.source === this.#inPlaceSource) continue;
      if (line.source !== this.#source || this.#present.has(entry)) owners.set(line.row.path, entry);
    }
    return owners;
  }

  /**
   * Pictures of the manifest that no source brought under their path, by their bytes: where a source's picture is no longer at the path that it got,
   * somebody moved it by hand, and the class that they gave it counts.
   */
  unowned(rows: readonly ManifestRow[]): Map<string, ManifestRow[]> {
    const owned = new Set<string>();
    for (const { row, source } of this.#lines.values()) if (row !== undefined && source !== this.#inPlaceSource) owned.add(row.path);
    return Map.groupBy(
      rows.filter(({ path }) => !owned.has(path)),
      (row) => row.sha256,
    );
  }

  /** Rows with the labels that their sources gave them: those of other sources are in the manifest as the corrections of an earlier import made them. */
  asGiven(rows: readonly ManifestRow[]): ManifestRow[] {
    const given = new Map<string, ManifestRow>();
    for (const { row, source } of this.#lines.values()) {
      if (row !== undefined && source !== this.#source && source !== this.#inPlaceSource) given.set(row.path, row);
    }
    return rows.map((row) => {
      const own = given.get(row.path);
      return own?.sha256 === row.sha256 ? { ...row, label: own.label } : row;
    });
  }

  /** Of files that this source gave up, those that no other source brought and that still have the bytes that were brought. */
  async removable(given: readonly ManifestRow[], kept: ReadonlySet<string>): Promise<string[]> {
    const others = new Set<string>();
    for (const line of this.#lines.values()) {
      if (line.row !== undefined && line.source !== this.#source && line.source !== this.#inPlaceSource) others.add(line.row.path);
    }
    const paths: string[] = [];
    for (const { path, sha256 } of given) {
      if (kept.has(path) || others.has(path)) continue;
      const full = join(this.#outDir, path);
      const there = await statIfThere(full);
      if (there === undefined || (there.isFile() && (await sha256File(full)) === sha256)) paths.push(path);
    }
    return paths;
  }

  /**
   * Whether this is what was imported before, changed, and not another set of pictures under the same name: something of it was
   * there before, by name and version or by its bytes.
   */
  isSameSet(vanished: readonly JournalLine[], known: number, rows: Iterable<ManifestRow>): boolean {
    if (known > 0) return true;
    const gone = new Set(vanished.flatMap(({ row }) => (row === undefined ? [] : [row.sha256])));
    return [...rows].some((row) => gone.has(row.sha256));
  }

  keyOf(name: string): string {
    return key(this.#source, name);
  }
}
