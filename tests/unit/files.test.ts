import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { listIfThere, readBytesIfThere, readIfThere, statIfThere } from "../../src/files.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-files-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("a file, its bytes, its size and the names beside it", async () => {
  await writeFile(join(dir, "a"), "ä");
  expect(await readIfThere(join(dir, "a"))).toBe("ä");
  expect(await readBytesIfThere(join(dir, "a"))).toEqual(Buffer.from("ä"));
  expect((await statIfThere(join(dir, "a")))?.size).toBe(2);
  expect(await listIfThere(dir)).toEqual(["a"]);
});

test("what is not there, and what would lie below a file, is absent", async () => {
  await writeFile(join(dir, "file"), "");
  for (const path of [join(dir, "none"), join(dir, "file", "below")]) {
    expect([await readIfThere(path), await readBytesIfThere(path), await statIfThere(path)]).toEqual([undefined, undefined, undefined]);
  }
  expect(await listIfThere(join(dir, "none"))).toEqual([]);
});

test("what cannot be read is not absent", async () => {
  // To the program the same as a broken disk (EIO), too many open files (EMFILE) or no permission (EACCES).
  await symlink("loop", join(dir, "loop"));
  const path = join(dir, "loop");
  for (const read of [readIfThere, readBytesIfThere, statIfThere, listIfThere]) await expect(read(path)).rejects.toThrow("ELOOP");
  await mkdir(join(dir, "folder"));
  await expect(readIfThere(join(dir, "folder"))).rejects.toThrow("EISDIR");
});
