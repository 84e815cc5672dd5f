import { link, mkdir, open, rm, stat, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { dirname, resolve } from "node:path";
import { readIfThere } from "../files.ts";
import { defaultStateDir } from "../paths.ts";
import { readLink } from "../safe-path.ts";

/** One look at the test split. */
export interface Look {
  /** YYYY-MM-DD, UTC. */
  readonly date: string;
  readonly modelName: string;
  /** Of the bundle; the first twelve digits are written. */
  readonly digest: string;
  /** Of the data; the first twelve digits are written. */
  readonly dataVersion: string;
  readonly split: string;
  readonly count: number;
  readonly accuracy: number;
  readonly accuracyInterval: readonly [low: number, high: number];
  readonly loss: number;
  readonly command: string;
}

export interface RecordedLook {
  /** Of the log, as a person in the working repository would type it. */
  readonly path: string;
  /** The line as it is in the file. */
  readonly line: string;
  /** False where this model had been looked at on this data before: then `line` is the earlier one. */
  readonly added: boolean;
}

const introduction = `# Looks at the test split

The test split tells how good a model is on images that had no part in making it. That holds only while no choice
is based on it: each further look makes the figure a little too good. So it is looked at once for each model, and every
look is written here by \`serval evaluate\`; choices between models are made on the validation split. The same model on
the same data is not written twice.

Accuracy is followed by its 95 % Wilson interval. The loss is the mean negative log-likelihood (natural logarithm).

| date | model | data version | split | images | accuracy | loss | command |
|---|---|---|---|---:|---|---:|---|
`;

/** Digits of a SHA-256 that are written: no two models of one repository share them. */
const shownDigits = 12;

/** With a docs/ folder the log is part of the repository; without one it stays with the rest of the local state. */
const documentedPath = "docs/accuracy.md";
const stateName = "accuracy.md";

/**
 * Adds a look to the log of the working repository `cwd`, docs/accuracy.md or else accuracy.md in `stateDir`, unless the same
 * model was looked at on the same data before. Writers need no lock: the file comes into being with its head in one step
 * (link(2) fails where it exists), and a line is one appending write, which the system never interleaves.
 */
export async function recordLook(cwd: string, look: Look, stateDir: string = defaultStateDir): Promise<RecordedLook> {
  const [, statePath] = logPaths(stateDir);
  const hasDocs = (await stat(resolve(cwd, dirname(documentedPath))).catch(() => undefined))?.isDirectory() ?? false;
  // A line that is appended to a link goes wherever the link leads.
  const documented = hasDocs && (await readLink(resolve(cwd, documentedPath))) === undefined;
  for (const path of logPaths(stateDir)) {
    const line = findLook((await readIfThere(resolve(cwd, path))) ?? "", look);
    if (line !== undefined) return { path, line, added: false };
  }
  const path = documented ? documentedPath : statePath;
  const line = formatLook(look);
  await createLog(resolve(cwd, path));
  await appendLine(resolve(cwd, path), line);
  return { path, line, added: true };
}

/** What a model had when it was looked at; undefined where it was not, or not on this data. The accuracy as it is written: to a hundredth of a percent. */
export async function readLook(
  cwd: string,
  look: Pick<Look, "digest" | "dataVersion" | "split">,
  stateDir: string = defaultStateDir,
): Promise<Pick<Look, "count" | "accuracy"> | undefined> {
  for (const path of logPaths(stateDir)) {
    const [, , , , , images = "", share = ""] = cellsOf(findLook((await readIfThere(resolve(cwd, path))) ?? "", look) ?? "");
    const [count, percent] = [Number.parseInt(images.replaceAll(",", ""), 10), Number.parseFloat(share)];
    if (count > 0 && percent >= 0) return { count, accuracy: percent / 100 };
  }
  return undefined;
}

function logPaths(stateDir: string): readonly [documented: string, state: string] {
  return [documentedPath, `${stateDir}/${stateName}`];
}

function cellsOf(line: string): string[] {
  return line.split(/(?<!\\)\|/).map((cell) => cell.trim());
}

/** The log's line about the same model, data and split, if there is one. */
export function findLook(text: string, look: Pick<Look, "digest" | "dataVersion" | "split">): string | undefined {
  return text.split("\n").find((line) => {
    const [, , model = "", dataVersion = "", split = ""] = cellsOf(line);
    return (
      model.endsWith(`\`${look.digest.slice(0, shownDigits)}\``) &&
      dataVersion === code(look.dataVersion.slice(0, shownDigits)) &&
      split === look.split
    );
  });
}

export function formatLook(look: Look): string {
  const percent = (share: number): string => (100 * share).toFixed(2);
  const [low, high] = look.accuracyInterval;
  const cells = [
    look.date,
    `${look.modelName} ${code(look.digest.slice(0, shownDigits))}`,
    code(look.dataVersion.slice(0, shownDigits)),
    look.split,
    look.count.toLocaleString("en-US"),
    `${percent(look.accuracy)} % (${percent(low)} to ${percent(high)})`,
    look.loss.toFixed(4),
    code(look.command),
  ];
  return `| ${cells.map((cell) => cell.replaceAll(/[\r\n]+/g, " ").replaceAll("|", "\\|")).join(" | ")} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}

async function createLog(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  await writeFile(temporary, introduction, { flag: "wx", flush: true });
  try {
    await link(temporary, path);
  } catch (error) {
    // A file system without hard links: then two first writers at the same moment may put a line before the head.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") await writeFile(path, introduction, { flag: "ax" }).catch(ignoreExisting);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function appendLine(path: string, line: string): Promise<void> {
  const file = await open(path, "a+");
  try {
    const { size } = await file.stat();
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, Math.max(0, size - 1));
    // An editor may have left the last line without its end.
    const glue = size > 0 && buffer[0] !== 0x0a ? "\n" : "";
    await file.write(`${glue}${line}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

function ignoreExisting(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
}
