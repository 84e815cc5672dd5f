import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readShardIndex } from "../../src/data/shard-index.ts";
import { splitNames, type Split } from "../../src/data/split.ts";
import { sha256 } from "../../src/files.ts";
import { CaseFolder, numbered, picture } from "../helpers/case-folder.ts";

let folder: CaseFolder;
beforeEach(async () => {
  folder = await CaseFolder.make();
});
afterEach(() => folder.remove());

const labels = ["a", "b"];

/** Which split each source path ended in after import and prepare. */
async function prepared(paths: readonly string[], ...sets: readonly string[]): Promise<Record<string, Split | undefined>> {
  const settings = ["prepare.width=16", "prepare.height=16", "train.cropSize=16", "train.sizes=[16]", ...sets];
  const ran = await folder.run("prepare", "--set", ...settings);
  expect([ran.code, ran.stderr]).toEqual([0, expect.any(String)]);
  const index = await readShardIndex(folder.path("data/processed"));
  const of = new Map(splitNames.flatMap((split) => index.splits[split].rows.map(([hash]) => [hash, split] as const)));
  return Object.fromEntries(await Promise.all(paths.map(async (path) => [path, of.get(sha256(await folder.read(path)))] as const)));
}

function splitFolder(path: string): string {
  return path.split("/")[1]!;
}

describe("splits that a source has are kept:", () => {
  test("train, val and test stay as they are", async () => {
    const paths = ["train", "val", "test"].flatMap((split) =>
      labels.flatMap((label) => numbered(`in/${split}/${label}`, split === "train" ? 6 : 3)),
    );
    await folder.pictures(...paths);
    const { stderr } = await folder.import("in");
    expect(stderr).toContain(
      "  train/ 2 classes, kept as the train split: a 6, b 6\n  val/ 2 classes, kept as the val split: a 3, b 3\n  test/ 2 classes, kept as the test split: a 3, b 3\n",
    );
    expect(await prepared(paths)).toEqual(Object.fromEntries(paths.map((path) => [path, splitFolder(path)])));
  });

  test("with train and test alone, the test split stays, and validation comes out of train", async () => {
    const paths = ["Training", "test_set"].flatMap((split) =>
      labels.flatMap((label) => numbered(`in/${split}/${label}`, split === "Training" ? 20 : 5)),
    );
    await folder.pictures(...paths);
    await folder.import("in");
    const found = await prepared(paths);
    const of = (split: string): (Split | undefined)[] => paths.filter((path) => splitFolder(path) === split).map((path) => found[path]);
    expect(new Set(of("test_set"))).toEqual(new Set(["test"]));
    expect(new Set(of("Training"))).toEqual(new Set(["train", "val"]));
  });

  test("with train and valid alone, validation stays, and a test split comes out of train", async () => {
    const paths = ["train", "valid"].flatMap((split) =>
      labels.flatMap((label) => numbered(`in/${split}/${label}`, split === "train" ? 20 : 5)),
    );
    await folder.pictures(...paths);
    await folder.import("in");
    const found = await prepared(paths);
    const of = (split: string): (Split | undefined)[] => paths.filter((path) => splitFolder(path) === split).map((path) => found[path]);
    expect(new Set(of("valid"))).toEqual(new Set(["val"]));
    expect(new Set(of("train"))).toEqual(new Set(["train", "test"]));
  });

  test("inside the class folders", async () => {
    const paths = labels.flatMap((label) =>
      ["train", "test"].flatMap((split) => numbered(`in/${label}/${split}`, split === "train" ? 12 : 4)),
    );
    await folder.pictures(...paths);
    const { counts } = await folder.import("in");
    const found = await prepared(paths);
    expect(counts).toEqual({ a: 16, b: 16 });
    const inTest = paths.filter((path) => path.includes("/test/")).map((path) => found[path]);
    expect(inTest).toEqual(Array(8).fill("test"));
  });

  test("in names, with --labels-from name", async () => {
    const paths = ["train", "test"].flatMap((split) =>
      ["rose", "tulip"].flatMap((label) => Array.from({ length: 6 }, (_, i) => `in/${split}/${label}.${split}.${i}.jpg`)),
    );
    const named = paths.map((path) => path.replace(/\.(train|test)\./, "."));
    await folder.pictures(...named);
    await folder.import("in", "--labels-from", "name");
    const found = await prepared(named);
    const inTest = named.filter((path) => path.includes("/test/")).map((path) => found[path]);
    expect(inTest).toEqual(Array(12).fill("test"));
  });

  test("and a copy of a test picture in train is left out and named, whatever its class folder", async () => {
    const paths = ["train", "test"].flatMap((split) =>
      labels.flatMap((label) => numbered(`in/${split}/${label}`, split === "train" ? 8 : 4)),
    );
    await folder.pictures(...paths);
    await folder.put("in/train/a/copy.jpg", await picture("in/test/a/0.jpg"));
    await folder.import("in");
    const ran = await folder.run("prepare", "--set", "prepare.width=16", "prepare.height=16", "train.cropSize=16", "train.sizes=[16]");
    expect(ran.code).toBe(0);
    expect(ran.stderr).toBe(
      'Left out "a/copy.jpg": The source has it for train, and nearly the same picture, "a/0.jpg", for test: only that one is used.\n',
    );
    expect((await prepared(["in/test/a/0.jpg"]))["in/test/a/0.jpg"]).toBe("test");
  });

  test("a class that a given split lacks gets one picture there, and the class folder alone does not stop prepare", async () => {
    const paths = [...numbered("in/train/a", 8), ...numbered("in/train/b", 8), ...numbered("in/test/a", 4)];
    await folder.pictures(...paths);
    await folder.import("in");
    const found = await prepared(paths);
    expect(numbered("in/train/b", 8).filter((path) => found[path] === "test")).toHaveLength(1);
  });

  test("splits outlive an import of data/raw in place, and what another source adds is split by the hash", async () => {
    const paths = ["train", "val", "test"].flatMap((split) => labels.flatMap((label) => numbered(`in/${split}/${label}`, 4)));
    await folder.pictures(...paths, ...labels.flatMap((label) => numbered(`more/${label}`, 8)));
    const first = await folder.import("in");
    const again = await folder.import("data/raw");
    expect([again.code, again.report!.dataVersion, again.report!.remarks]).toEqual([0, first.report!.dataVersion, []]);
    await folder.import("more");
    expect(await prepared(paths)).toEqual(Object.fromEntries(paths.map((path) => [path, splitFolder(path)])));
    expect((await folder.rows()).filter((row) => row.split === undefined)).toHaveLength(16);
  });
});
