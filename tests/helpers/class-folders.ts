import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openSource } from "../../src/data/sources/open-source.ts";
import { readEntry } from "../../src/data/sources/source.ts";

/** Writes that many pictures of each of two classes below the folder: photographs where SERVAL_TEST_PHOTOS names them, else drawings. */
export async function writeClassFolders(target: string, perClass: number): Promise<void> {
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
