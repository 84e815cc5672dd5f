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
}

const flushEveryLines = 200;

/**
 * Remembers what was imported, so that a second import does nothing twice and a killed one goes on. Lines are appended
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

  static async load(path: string): Promise<ImportJournal> {
    // Lines are appended, and a link would lead them into another file.
    if ((await lstat(path).catch(() => undefined))?.isSymbolicLink() === true) await rm(path);
    const text = (await readIfThere(path)) ?? "";
    const lines = new Map<string, JournalLine>();
    const texts = text.split("\n").filter((line) => line !== "");
    for (const line of texts) {
      const parsed = parseLine(line);
      if (parsed !== undefined) setLast(lines, parsed);
    }
    await mkdir(dirname(path), { recursive: true });
    return new ImportJournal(path, lines, texts.length);
  }

  get(source: string, name: string): JournalLine | undefined {
    return this.#lines.get(key(source, name));
  }

  /** Who put which file into data/raw, last: path to entry. */
  owners(): Map<string, string> {
    const owners = new Map<string, string>();
    for (const [entry, line] of this.#lines) if (line.row !== undefined) owners.set(line.row.path, entry);
    return owners;
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
  lines.set(entry, line);
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
