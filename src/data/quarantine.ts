import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeFileAtomic } from "../files.ts";
import { safeName } from "./layout.ts";
import { compareBytes } from "./manifest.ts";

/** One file that was set aside, and why. `path` is its name in the source, and below data/quarantine where its bytes were kept. */
export interface SetAside {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

const reportName = "report.jsonl";

/** Where an entry's bytes lie below data/quarantine. */
export function quarantinePath(name: string): string {
  return name.split("/").map(safeName).join("/");
}

export async function writeToQuarantine(dir: string, path: string, bytes: Uint8Array): Promise<void> {
  const target = join(dir, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, bytes);
}

/** For a file that was broken inside data/raw itself: it leaves the folder. */
export async function moveToQuarantine(dir: string, path: string, from: string): Promise<void> {
  const target = join(dir, path);
  await mkdir(dirname(target), { recursive: true });
  await rename(from, target).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EXDEV") throw error;
    await copyFile(from, target);
    await rm(from);
  });
}

async function readReport(dir: string): Promise<SetAside[]> {
  const text = await readFile(join(dir, reportName), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as SetAside);
}

/**
 * Brings report.jsonl up to date after an import: `seen` are the quarantine paths of all entries that were looked at,
 * `setAside` those among them that are broken. Lines about other sources stay.
 */
export async function updateReport(dir: string, seen: ReadonlySet<string>, setAside: readonly SetAside[]): Promise<void> {
  const before = await readReport(dir);
  const rows = [...before.filter((row) => !seen.has(row.path)), ...setAside].sort((a, b) => compareBytes(a.path, b.path));
  const broken = new Set(setAside.map((row) => row.path));
  for (const row of before) if (seen.has(row.path) && !broken.has(row.path)) await rm(join(dir, row.path), { force: true });
  if (rows.length === 0 && before.length === 0) return;
  const text = rows.map(({ path, code, message }) => `${JSON.stringify({ path, code, message })}\n`).join("");
  await writeFileAtomic(join(dir, reportName), text);
}
