import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inject } from "vitest";
import { writeClassFolders } from "../helpers/class-folders.ts";

const run = promisify(execFile);
const perClass = 30;

/** A new folder of a user with that name, the package installed in it, and 30 pictures of each of two classes in images/. */
export async function makeUserFolder(name: string): Promise<{ readonly dir: string; remove(): Promise<void> }> {
  const above = await mkdtemp(join(tmpdir(), "serval-user-"));
  const dir = join(above, name);
  await run("cp", ["--archive", "--link", inject("installed"), dir]);
  await writeClassFolders(join(dir, "images"), perClass);
  return { dir, remove: async () => await rm(above, { recursive: true }) };
}
