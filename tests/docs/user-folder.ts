import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { inject } from "vitest";
import { openSource } from "../../src/data/sources/open-source.ts";
import { readEntry } from "../../src/data/sources/source.ts";

const run = promisify(execFile);
const perClass = 30;

/** A new folder of a user with that name, the package installed in it, and 30 pictures of each of two classes in images/. */
export async function makeUserFolder(name: string): Promise<{ readonly dir: string; remove(): Promise<void> }> {
  const above = await mkdtemp(join(tmpdir(), "serval-user-"));
  const dir = join(above, name);
  await run("cp", ["--archive", "--link", inject("installed"), dir]);
  await writeImages(join(dir, "images"));
  return { dir, remove: async () => await rm(above, { recursive: true }) };
}

/** Photographs where SERVAL_TEST_PHOTOS names them, else drawings. */
async function writeImages(target: string): Promise<void> {
  const source = await openSource(process.env["SERVAL_TEST_PHOTOS"] ?? "sample");
  const written: Record<string, number> = {};
  for await (const entry of source.entries()) {
    if (entry.label === undefined || entry.path === undefined) continue;
    const count = (written[entry.label] = (written[entry.label] ?? 0) + 1);
    if (count > perClass) continue;
    const path = join(target, entry.label, `${count}.jpg`);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, await readEntry(entry, 1 << 24));
    if (Object.values(written).length === 2 && Object.values(written).every((all) => all >= perClass)) break;
  }
  await source.close();
}
