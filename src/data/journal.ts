import { appendFile, lstat, mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { readIfThere, writeFileAtomic } from "../files.ts";
import { isSafePath } from "../safe-path.ts";
import type { ManifestRow } from "./manifest.ts";

/** What an import did with one entry: kept it (row and the file's state on disk) or set it aside (code and message). */
export interface JournalLine {
  readonly source: string;
  readonly name: string;
  readonly version: string;
  readonly row?: ManifestRow;
  readonly sizeBytes?: number;
  readonly mtimeMs?: number;
  readonly code?: string;
  readonly message?: string;
  /** The source no longer has the entry: earlier lines of it count no more. */
  readonly gone?: true;
}

const flushEveryLines = 200;

/**
 * Remembers what was imported, so that a second import does nothing twice and a killed one continues. Lines are appended
 * after the files they speak of; at most the last few hundred are lost with the process, and their files done again.
 */
export class ImportJournal {
  readonly #path: string;
  readonly #lines: Map<string, JournalLine>;
  #pending = "";
  #pendingLines = 0;
  #linesOnDisk: number;

  private constructor(path: string, lines: Map<string, JournalLine>, linesOnDisk: number) {
    this.#path = path;
    this.#lines = lines;
    this.#linesOnDisk = linesOnDisk;
  }

  /** With `dry` nothing is made or removed, and nothing may be added. */
  static async load(path: string, { dry = false }: { readonly dry?: boolean } = {}): Promise<ImportJournal> {
    // Lines are appended, and a link would lead them into another file.
    const isLink = (await lstat(path).catch(() => undefined))?.isSymbolicLink() === true;
    if (isLink && dry) return new ImportJournal(path, new Map(), 0);
    if (isLink) await rm(path);
    const text = (await readIfThere(path)) ?? "";
    const lines = new Map<string, JournalLine>();
    const texts = text.split("\n").filter((line) => line !== "");
    for (const line of texts) {
      const parsed = parseLine(line);
      if (parsed !== undefined) setLast(lines, parsed);
    }
    if (!dry) await mkdir(dirname(path), { recursive: true });
    return new ImportJournal(path, lines, texts.length);
  }

  get(source: string, name: string): JournalLine | undefined {
    return this.#lines.get(key(source, name));
  }

  /** All lines that count, each with its key. */
  lines(): IterableIterator<[string, JournalLine]> {
    return this.#lines.entries();
  }

  /** Forgets an entry. */
  async drop({ source, name }: JournalLine): Promise<void> {
    await this.add({ source, name, version: "", gone: true });
  }

  async add(line: JournalLine): Promise<void> {
    setLast(this.#lines, line);
    this.#pending += `${JSON.stringify(line)}\n`;
    if (++this.#pendingLines >= flushEveryLines) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#pendingLines === 0) return;
    const text = this.#pending;
    this.#linesOnDisk += this.#pendingLines;
    this.#pending = "";
    this.#pendingLines = 0;
    await appendFile(this.#path, text);
  }

  /** Flushes, and drops overtaken lines once they are most of the file. */
  async finish(): Promise<void> {
    await this.flush();
    if (this.#linesOnDisk < 2 * this.#lines.size + flushEveryLines) return;
    await writeFileAtomic(this.#path, Array.from(this.#lines.values(), (line) => `${JSON.stringify(line)}\n`).join(""));
    this.#linesOnDisk = this.#lines.size;
  }
}

function setLast(lines: Map<string, JournalLine>, line: JournalLine): void {
  const entry = key(line.source, line.name);
  lines.delete(entry);
  if (line.gone !== true) lines.set(entry, line);
}

export function key(source: string, name: string): string {
  return `${source}\n${name}`;
}

/** A process that was killed may leave half a line at the end; what cannot be read is imported again. */
function parseLine(line: string): JournalLine | undefined {
  try {
    const parsed = JSON.parse(line) as Partial<JournalLine> | null;
    const valid = typeof parsed?.source === "string" && typeof parsed.name === "string" && typeof parsed.version === "string";
    // The file of a row is removed when its source is damaged: a row for a path elsewhere is not ours.
    return valid && (parsed.row === undefined || isSafePath(parsed.row.path)) ? (parsed as JournalLine) : undefined;
  } catch {
    return undefined;
  }
}
