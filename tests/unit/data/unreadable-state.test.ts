import { lstat, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ImportJournal } from "../../../src/data/journal.ts";
import { writeManifest } from "../../../src/data/manifest.ts";
import { Quarantine } from "../../../src/data/quarantine.ts";

// What is there and cannot be read, as a file on a broken disk (EIO) or while too many are open (EMFILE).
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-state-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("a report of what was set aside that cannot be read is not taken for an empty one, and stays", async () => {
  await symlink("report.jsonl", join(dir, "report.jsonl"));
  await expect(Quarantine.open(dir, "folder")).rejects.toThrow("ELOOP");
  expect((await lstat(join(dir, "report.jsonl"))).isSymbolicLink()).toBe(true);
});

test("a journal that cannot be read ends the import before it does everything a second time", async () => {
  await mkdir(join(dir, "journal.jsonl"));
  await expect(ImportJournal.load(join(dir, "journal.jsonl"))).rejects.toThrow("EISDIR");
});

test("a manifest that cannot be read is not replaced", async () => {
  await symlink("manifest.jsonl", join(dir, "manifest.jsonl"));
  await expect(writeManifest(dir, [])).rejects.toThrow("ELOOP");
  expect((await lstat(join(dir, "manifest.jsonl"))).isSymbolicLink()).toBe(true);
});
