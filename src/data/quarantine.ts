import { copyFile, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative, sep } from "node:path";
import { readIfThere, sha256, writeFileAtomic } from "../files.ts";
import { isSafePath, LinkGuard } from "../safe-path.ts";
import { safePath } from "./layout/entry-names.ts";
import { compareBytes } from "./manifest.ts";

/** One file that was set aside, and why. `path` is where its bytes lie below data/quarantine, where they were kept. */
export interface SetAside {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

/** A line of report.jsonl. */
interface ReportRow extends SetAside {
  /** Id of the source; not there in reports of earlier versions. */
  readonly source?: string;
}

const reportName = "report.jsonl";

/** data/quarantine as one source sees it: what other sources brought stays as it is. */
export class Quarantine {
  readonly #dir: string;
  readonly #guard: LinkGuard;
  readonly #source: string;
  readonly #own: readonly ReportRow[];
  readonly #others: readonly ReportRow[];
  readonly #othersPaths: ReadonlySet<string>;

  private constructor(dir: string, source: string, rows: readonly ReportRow[], guard: LinkGuard) {
    this.#dir = dir;
    this.#guard = guard;
    this.#source = source;
    this.#own = rows.filter((row) => row.source === undefined || row.source === source);
    this.#others = rows.filter((row) => !this.#own.includes(row));
    this.#othersPaths = new Set(this.#others.map(({ path }) => path.toLowerCase()));
  }

  static async open(dir: string, source: string, guard: LinkGuard = new LinkGuard(dir)): Promise<Quarantine> {
    const text = (await readIfThere(join(dir, reportName))) ?? "";
    const lines = text.split("\n").filter((line) => line !== "");
    return new Quarantine(
      dir,
      source,
      // Files of rows are removed, so none may lie elsewhere.
      lines.map((line) => JSON.parse(line) as ReportRow).filter(({ path }) => isSafePath(path)),
      guard,
    );
  }

  /** Where an entry's bytes lie below data/quarantine: under its name, with a mark where another source's file has that. */
  pathOf(name: string): string {
    const path = safePath(name);
    if (!this.#othersPaths.has(path.toLowerCase())) return path;
    const extension = extname(path);
    return `${path.slice(0, path.length - extension.length)}~${sha256(`${this.#source}\n${name}`).slice(0, 8)}${extension}`;
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    const target = await this.#place(name);
    await rm(target, { force: true });
    await writeFile(target, bytes, { flag: "wx" });
  }

  /** For a file that was broken inside data/raw itself: it leaves the folder. */
  async take(name: string, from: string): Promise<void> {
    const target = await this.#place(name);
    await rename(from, target).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "EXDEV") throw error;
      await copyFile(from, target);
      await rm(from);
    });
  }

  async #place(name: string): Promise<string> {
    const target = join(this.#dir, this.pathOf(name));
    const folder = relative(this.#guard.root, dirname(target)).split(sep).join("/");
    if (folder !== "") await this.#guard.check(folder, true);
    await mkdir(dirname(target), { recursive: true });
    return target;
  }

  /**
   * Brings report.jsonl up to date after an import: `seen` are the paths of all entries that were looked at, `setAside`
   * those among them that are broken. The bytes of an entry that is whole now go, unless they are the only copy; with `follows` also
   * the rows and bytes of entries that the source no longer has.
   */
  async update(
    seen: ReadonlySet<string>,
    setAside: readonly SetAside[],
    { onlyCopy, follows }: { readonly onlyCopy: boolean; readonly follows: boolean },
  ): Promise<void> {
    const broken = new Set(setAside.map(({ path }) => path));
    const left = (row: ReportRow): boolean => follows && row.source === this.#source && !onlyCopy && !seen.has(row.path);
    const unseen = this.#own.filter((row) => !seen.has(row.path) && !left(row));
    for (const row of this.#own) {
      const { path } = row;
      const repaired = !onlyCopy && seen.has(path) && !broken.has(path);
      if (repaired || (left(row) && !this.#othersPaths.has(path.toLowerCase()))) await rm(join(this.#dir, path), { force: true });
    }
    const own = setAside.map((row): ReportRow => ({ ...row, source: this.#source }));
    const rows = [...this.#others, ...unseen, ...own].sort((a, b) => compareBytes(a.path, b.path));
    if (rows.length === 0 && this.#own.length === 0) return;
    const text = rows.map(({ path, code, message, source }) => `${JSON.stringify({ path, code, message, source })}\n`).join("");
    await writeFileAtomic(join(this.#dir, reportName), text);
  }
}
