import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { syncFolder } from "../files.ts";

/** Where a folder is between the two renames of its replacement, and after a crash at that moment. */
export function setAsideFolder(dir: string): string {
  return join(dirname(dir), `.${basename(dir)}.previous`);
}

/**
 * Replaces a folder by what `fill` writes into a temporary one beside it. Nothing of `dir` changes when `fill` fails. No
 * portable call swaps two folders, so the old one is set aside by a rename first; readers look there too.
 */
export async function replaceFolder(dir: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  const parent = dirname(dir);
  const temporary = join(parent, `.${basename(dir)}.${randomUUID()}.tmp`);
  await mkdir(temporary, { recursive: true });
  try {
    await fill(temporary);
    await syncFolder(temporary);
    const aside = setAsideFolder(dir);
    if (await exists(dir)) {
      await rm(aside, { recursive: true, force: true });
      await rename(dir, aside);
    }
    await rename(temporary, dir);
    await syncFolder(parent);
    await rm(aside, { recursive: true, force: true });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || (error as NodeJS.ErrnoException).code === "ENOTDIR") return false;
    throw error;
  }
}
