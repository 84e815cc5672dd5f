import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CaseFolder, caseInputs, numbered } from "../helpers/case-folder.ts";
import { zipFile } from "../helpers/zip-file.ts";

let folder: CaseFolder;
beforeEach(async () => {
  folder = await CaseFolder.make();
});
afterEach(() => folder.remove());

test("case-merge: classes that differ in upper case alone are joined with a remark", async () => {
  const { counts, report, stderr } = await folder.import(join(caseInputs, "case-merge/letters"));
  expect(counts).toEqual({ a: 6, b: 3 });
  const remark =
    'The folders "A" and "a" were joined into one class, "a" (6 files), because names of classes are lower case. If they are different classes, rename one.';
  expect(report!.remarks).toEqual([remark]);
  expect(stderr).toContain(remark);
});

test("dot-folder: a class folder whose name begins with a dot is named in the report", async () => {
  await folder.pictures(...numbered("in/.net", 3), ...numbered("in/java"), ...numbered("in/rust"));
  const { counts, report } = await folder.import("in");
  expect(counts).toEqual({ java: 4, rust: 4 });
  expect(report!.remarks).toEqual([
    'The folder ".net/" was passed over (3 pictures), because its name begins with a dot. If it is a class, rename it.',
  ]);
});

test("empty class: an empty class folder is named in the report", async () => {
  await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
  await mkdir(folder.path("in/c"));
  const { counts, report } = await folder.import("in");
  expect([counts, report!.remarks]).toEqual([{ a: 4, b: 4 }, ['The folder "c/" is empty: no class was made of it.']]);
});

test("no source: in an empty folder an import without a source asks for one, and draws nothing", async () => {
  const { code, stderr } = await folder.run("data", "import");
  expect(code).toBe(2);
  expect(stderr).toContain("No source was given, and there is no params.yaml in this folder that names one.");
  expect(stderr).toContain("serval data import sample");
  await expect(folder.rows()).rejects.toMatchObject({ code: "E_MANIFEST_MISSING" });
});

test("the whole way: train and prepare in an empty folder say what comes before them", async () => {
  const prepared = await folder.run("prepare");
  expect([prepared.code, prepared.stderr]).toEqual([2, expect.stringContaining("Run `serval data import SOURCE` first.") as string]);
  const trained = await folder.run("train");
  expect([trained.code, trained.stderr]).toEqual([
    2,
    expect.stringContaining("Run `serval data import SOURCE`, then `serval prepare`, then this command again.") as string,
  ]);
  await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
  await folder.import("in");
  const imported = await folder.run("train");
  expect([imported.code, imported.stderr]).toEqual([
    2,
    expect.stringMatching(/\n {2}Run `serval prepare`, then this command again\.\n/) as string,
  ]);
});

describe("remarks, relatives:", () => {
  test.each<[string, string[], RegExp]>([
    [
      "spaces around a name",
      ["in/rose /1.jpg", "in/rose/2.jpg", "in/tulip/3.jpg"],
      /The folders "rose" and "rose " were joined into one class, "rose"/,
    ],
    ["three spellings", ["in/A/1.jpg", "in/a/2.jpg", "in/ a/3.jpg", "in/b/4.jpg"], /The folders " a", "A" and "a" were joined/],
    [
      "characters that a file system may not have",
      ["in/a:b/1.jpg", "in/a?b/2.jpg", "in/c/3.jpg"],
      /The folders "a:b" and "a\?b" were joined into one class, "a_b"/,
    ],
    ["two forms of an accent", ["in/\u00e9/1.jpg", "in/e\u0301/2.jpg", "in/c/3.jpg"], /^$/],
    ["in splits", ["in/train/A/1.jpg", "in/train/b/2.jpg", "in/test/a/3.jpg", "in/test/b/4.jpg"], /The folders "A" and "a" were joined/],
    [
      "a hidden folder in a class",
      ["in/a/.old/1.jpg", "in/a/2.jpg", "in/b/3.jpg"],
      /The folder "a\/\.old\/" was passed over \(1 picture\)/,
    ],
    [
      "a hidden folder of a tool",
      ["in/.git/1.jpg", "in/.ipynb_checkpoints/1.jpg", "in/.Trash-1000/1.jpg", "in/a/2.jpg", "in/b/3.jpg"],
      /^$/,
    ],
  ])("%s", async (_what, paths, remark) => {
    await folder.pictures(...paths);
    const { code, report } = await folder.import("in");
    expect([code, report!.remarks.join("\n")]).toEqual([0, expect.stringMatching(remark) as string]);
  });

  test("a class folder with other files alone, and one in a wrapper and in a split", async () => {
    await folder.pictures(...numbered("in/set/a"), ...numbered("in/set/b"));
    await folder.put("in/set/c/readme.txt", "no pictures yet");
    await mkdir(folder.path("in/set/d/deeper"), { recursive: true });
    await mkdir(folder.path("in/elsewhere"));
    const { report } = await folder.import("in");
    expect(report!.remarks).toEqual([
      'The folder "set/d/" is empty: no class was made of it.',
      'The class "c" has no picture here: its one file was set aside.',
    ]);
  });

  test("the same in a zip", async () => {
    const { picture } = await import("../helpers/case-folder.ts");
    const named = await Promise.all(
      ["a/1.jpg", ".net/2.jpg", "B/3.jpg", "b/4.jpg"].map(async (name) => ({ name, bytes: await picture(name) })),
    );
    await folder.put("set.zip", zipFile([{ name: "empty/" }, ...named]));
    const { report } = await folder.import("set.zip");
    expect(report!.remarks).toEqual([
      expect.stringContaining('The folders "B" and "b" were joined') as string,
      expect.stringContaining('The folder ".net/" was passed over (1 picture)') as string,
      'The folder "empty/" is empty: no class was made of it.',
    ]);
  });

  test("a params.yaml that names no source is not enough for an import without one", async () => {
    await folder.put("params.yaml", "train:\n  epochs: 3\n");
    const { code, stderr } = await folder.import();
    expect([code, stderr]).toEqual([2, expect.stringContaining("No source was given, and params.yaml has no data.source.") as string]);
  });

  test("a params.yaml is enough for an import without a source", async () => {
    await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
    await folder.put("params.yaml", "data:\n  source: in\n");
    expect((await folder.import()).counts).toEqual({ a: 4, b: 4 });
  });
});
