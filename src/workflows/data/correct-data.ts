import { userInfo } from "node:os";
import { join, relative, resolve, sep } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { correctionActions, formatCorrection, parseCorrections, type Correction, type CorrectionAction } from "../../data/corrections.ts";
import { parseCsv } from "../../data/csv.ts";
import { readManifest, type ManifestRow } from "../../data/manifest.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere, readTextFile, writeFileAtomic } from "../../files.ts";
import { correctionsFile, rawDir } from "../../paths.ts";
import { git } from "../../pipeline/dvc-files/git.ts";
import { takeLocks } from "../../pipeline/run/path-locks.ts";
import { guardFolders } from "../guard-folders.ts";
import type { UseCaseOptions } from "../reporter.ts";

export interface Verdict {
  readonly action: CorrectionAction;
  /** With relabel. */
  readonly label?: string | undefined;
  readonly why?: string | undefined;
}

export interface CorrectDataOptions extends UseCaseOptions {
  /** Paths of the manifest (with or without data/raw before them), or SHA-256 of pictures. */
  readonly pictures?: readonly string[] | undefined;
  /** All pictures of a class, in the place of `pictures`. */
  readonly class?: string | undefined;
  /** About those pictures, or that class. */
  readonly verdict?: Verdict | undefined;
  /** A CSV with the columns path or sha256, action, label and why, such as that of the report; relative to `cwd`. Lines without an action are passed over. */
  readonly from?: string | undefined;
  /** Who decided. Default: Git's user.name, else the name of the account. */
  readonly by?: string | undefined;
}

export interface CorrectReport {
  readonly file: string;
  readonly added: readonly Correction[];
  /** Lines of the CSV without an action. */
  readonly undecided: number;
}

const largestCsvBytes = 64 * 1024 * 1024;

/** Adds lines to data/corrections.jsonl; the next import applies them. Throws E_CORRECTIONS, E_FILE_NOT_FOUND and E_USAGE, and then adds none. */
export async function correctData(options: CorrectDataOptions): Promise<CorrectReport> {
  const { cwd, from, verdict, pictures = [] } = options;
  await guardFolders(cwd, [], ["data", stateDirectory()]);
  const by = options.by ?? (await nameOfUser(cwd));
  const signature = { by, at: new Date().toISOString() };
  const { rows } = await readManifest(join(cwd, rawDir));
  const places = new Places(cwd, rows);
  const decided = from === undefined ? [] : readDecisions(resolve(cwd, from), from, places);
  const added: Correction[] = decided.flatMap((one) => (one === undefined ? [] : [{ ...one, ...signature }]));
  if (verdict !== undefined) {
    const why = verdict.why === undefined ? {} : { why: verdict.why };
    const what = { action: verdict.action, ...(verdict.label !== undefined && { label: verdict.label }), ...signature, ...why };
    if (options.class !== undefined) added.push({ class: options.class, ...what });
    for (const name of pictures) added.push({ sha256: places.find(name), ...what });
  }
  const file = join(cwd, correctionsFile);
  // Written as they are read: what cannot be read back is not written.
  const text = added.map(formatCorrection).join("");
  parseCorrections(text, "The new correction");
  const release = await takeLocks(resolve(cwd, stateDirectory(), "locks"), [{ name: `correct ${file}`, mode: "write" }]);
  try {
    const before = (await readIfThere(file)) ?? "";
    parseCorrections(before, file);
    if (text !== "") await writeFileAtomic(file, `${before}${before === "" || before.endsWith("\n") ? "" : "\n"}${text}`);
  } finally {
    release();
  }
  return { file: correctionsFile, added, undecided: decided.filter((one) => one === undefined).length };
}

/** Where pictures are, by what people call them. */
class Places {
  readonly #cwd: string;
  readonly #byPath: ReadonlyMap<string, string>;
  readonly #hashes: ReadonlySet<string>;

  constructor(cwd: string, rows: readonly ManifestRow[]) {
    this.#cwd = cwd;
    this.#byPath = new Map(rows.map((row) => [row.path, row.sha256]));
    this.#hashes = new Set(rows.map((row) => row.sha256));
  }

  /** The SHA-256 of a picture. */
  find(name: string): string {
    const inRaw = relative(join(this.#cwd, rawDir), resolve(this.#cwd, name)).split(sep).join("/");
    const found = this.#byPath.get(name.normalize("NFC")) ?? this.#byPath.get(inRaw.normalize("NFC"));
    if (found !== undefined) return found;
    if (this.#hashes.has(name.toLowerCase())) return name.toLowerCase();
    throw new ServalError("E_FILE_NOT_FOUND", `The manifest of ${rawDir} has no picture ${JSON.stringify(name)}.`, {
      hint: "Name its path as `serval data check` prints it, such as rose/12.jpg, or its SHA-256.",
    });
  }
}

/** A decision for each line of a CSV, undefined where the line has none. */
function readDecisions(path: string, name: string, places: Places): (Omit<Correction, "by" | "at"> | undefined)[] {
  return parseCsv(readTextFile(path, largestCsvBytes), name).map(({ line, values }) => {
    const { path: picture, sha256, action = "", label = "", why = "" } = values;
    if (action === "") return undefined;
    const wanted = correctionActions.find((one) => one === action.toLowerCase());
    const called = sha256 !== undefined && sha256 !== "" ? sha256 : (picture ?? "");
    const wrong = (what: string): ServalError => new ServalError("E_CORRECTIONS", `${name}:${line}: ${what}.`);
    if (wanted === undefined) throw wrong(`expected one of the actions ${correctionActions.join(", ")}, got ${JSON.stringify(action)}`);
    if (called === "") throw wrong("expected a path or a sha256 of a picture, got neither");
    if (wanted === "relabel" && label === "") throw wrong("expected the new label in the column label, got none");
    const own = { sha256: places.find(called), action: wanted };
    return { ...own, ...(wanted === "relabel" && { label }), ...(why !== "" && { why }) };
  });
}

async function nameOfUser(cwd: string): Promise<string> {
  const name = (await git(cwd, "config", "user.name"))?.trim();
  return name === undefined || name === "" ? userInfo().username : name;
}
