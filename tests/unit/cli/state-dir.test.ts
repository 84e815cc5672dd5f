import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createRun, findRun, rangeTestFile } from "../../../src/train/run-folder.ts";
import { patternPicture } from "../../helpers/pattern-set.ts";
import { runServal } from "../../helpers/serval-process.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-state-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("SERVAL_STATE_DIR holds what an import remembers, in place of .serval", async () => {
  const cwd = join(dir, "work");
  for (const label of ["rows", "checks"]) {
    await mkdir(join(cwd, "images", label), { recursive: true });
    for (let i = 0; i < 3; i++) await writeFile(join(cwd, "images", label, `${i}.jpg`), await patternPicture(label, i, "rgb"));
  }
  const first = await runServal(cwd, ["data", "import", "images"], { SERVAL_STATE_DIR: "../state" });
  expect(first.stderr).toBe('"images" is read as\n  ./ 2 classes: checks 3, rows 3\n');
  expect(await readdir(join(dir, "state"))).toEqual(["import"]);
  expect((await readdir(cwd)).sort()).toEqual(["data", "images"]);
  const again = await runServal(cwd, ["data", "import", "images"], { SERVAL_STATE_DIR: "../state" });
  expect(again.stdout).toMatch(/^Nothing to do/);
});

test("a run is made and found in the state folder", async () => {
  const made = await createRun(dir, "elsewhere", new Date("2026-01-02T03:04:05Z"));
  expect(made).toMatch(/elsewhere\/runs\/20260102-030405-[0-9a-f]{4}$/);
  expect(await findRun(dir, undefined, "elsewhere")).toBe(made);
  await expect(findRun(dir)).rejects.toMatchObject({ code: "E_RUN_NOT_FOUND" });
});

test("a range test cannot be resumed, even where it is the latest run", async () => {
  const training = await createRun(dir, "state", new Date("2026-01-02T03:04:05Z"));
  const rangeTest = await createRun(dir, "state", new Date("2026-01-02T04:04:05Z"));
  await writeFile(join(rangeTest, rangeTestFile), "{}");
  expect(await findRun(dir, undefined, "state")).toBe(training);
  await expect(findRun(dir, basename(rangeTest), "state")).rejects.toMatchObject({ code: "E_RUN_NOT_FOUND" });
});
