import { mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { countLabels } from "../../src/data/ingest.ts";
import { CaseFolder, caseInputs, numbered } from "../helpers/case-folder.ts";
import { shadedPicture } from "../helpers/colour-repository.ts";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";

let folder: CaseFolder;
beforeEach(async () => {
  folder = await CaseFolder.make();
});
afterEach(() => folder.remove());

test("stray_top: a picture above the class folders is set aside by name, and the classes stay", async () => {
  const { code, counts, aside, stderr } = await folder.import(join(caseInputs, "layouts/stray_top.zip"));
  expect([code, counts, aside]).toEqual([0, { daisy: 4, rose: 4 }, ["flowers/cover.png"]]);
  expect(stderr).toContain(
    '"stray_top.zip" is read as\n  flowers/ 2 classes: daisy 4, rose 4\n  1 picture in no class folder, left out: flowers/cover.png\n',
  );
});

test("kaggle_mixed: classes come from train/, and the pictures of test/ are listed as without a label", async () => {
  const { code, counts, aside, report, stderr } = await folder.import(join(caseInputs, "layouts/kaggle_mixed.zip"));
  expect([code, counts, aside]).toEqual([0, { cat: 4, dog: 4 }, numbered("test", 5)]);
  expect(report!.setAside[0]!.message).toBe(
    '"test/0.jpg" lies in "test/", which has no class folders: it has no label, and was left where it is.',
  );
  expect(stderr).toContain(
    "  train/ 2 classes, to be split: cat 4, dog 4\n  test/ no class folders: 5 pictures without a label, left out\n",
  );
  expect((await folder.rows()).some((row) => "split" in row)).toBe(false);
});

describe("stray_top, relatives:", () => {
  test.each<[string, string[], Record<string, number>, string[]]>([
    ["at the root beside one wrapper", ["cover.jpg", ...numbered("set/a"), ...numbered("set/b")], { a: 4, b: 4 }, ["cover.jpg"]],
    [
      "several, at several levels",
      ["0.jpg", "x/1.jpg", "x/y/2.jpg", "x/y/3.jpg", ...numbered("x/y/a"), ...numbered("x/y/b")],
      { a: 4, b: 4 },
      ["0.jpg", "x/1.jpg", "x/y/2.jpg", "x/y/3.jpg"],
    ],
    ["at the root, with the classes there", ["logo.png", ...numbered("a"), ...numbered("b")], { a: 4, b: 4 }, ["logo.png"]],
    [
      "more than pictures of a class",
      [...numbered("set", 6), ...numbered("set/a"), ...numbered("set/b")],
      { a: 4, b: 4 },
      numbered("set", 6),
    ],
    [
      "in a separate folder beside the classes' folder",
      [...numbered("set/docs", 5), ...numbered("set/img/a"), ...numbered("set/img/b")],
      { a: 4, b: 4 },
      numbered("set/docs", 5),
    ],
    [
      "one in a folder of another name",
      ["set/other/1.jpg", ...numbered("set/img/a"), ...numbered("set/img/b")],
      { a: 4, b: 4 },
      ["set/other/1.jpg"],
    ],
    [
      "masks beside the pictures",
      [...numbered("masks/a"), ...numbered("masks/b"), ...numbered("images/a"), ...numbered("images/b")],
      { a: 4, b: 4 },
      [...numbered("masks/a"), ...numbered("masks/b")],
    ],
    ["above the only class", ["set/cover.jpg", ...numbered("set/a")], { a: 4 }, ["set/cover.jpg"]],
    [
      "in a split folder",
      ["set/train/x.jpg", ...numbered("set/train/a"), ...numbered("set/train/b"), ...numbered("set/test/a"), ...numbered("set/test/b")],
      { a: 8, b: 8 },
      ["set/train/x.jpg"],
    ],
    [
      "a few in a folder beside many",
      [...numbered("set/other", 5), ...numbered("set/flowers/a", 30), ...numbered("set/flowers/b", 30)],
      { a: 30, b: 30 },
      numbered("set/other", 5),
    ],
    [
      "in a folder that is called for what is not sorted",
      [...numbered("unsorted", 6), ...numbered("flowers/a"), ...numbered("flowers/b")],
      { a: 4, b: 4 },
      numbered("unsorted", 6),
    ],
    [
      "beside a train folder without a test folder",
      [...numbered("train/a"), ...numbered("train/b"), ...numbered("extra1", 3)],
      { a: 4, b: 4 },
      numbered("extra1", 3),
    ],
    [
      "in one of several batches",
      ["batch1/x.jpg", ...numbered("batch1/a"), ...numbered("batch1/b"), ...numbered("batch2/a"), ...numbered("batch2/b")],
      { a: 8, b: 8 },
      ["batch1/x.jpg"],
    ],
    ["a hidden one", ["set/.cover.jpg", "set/._cover.jpg", ...numbered("set/a"), ...numbered("set/b")], { a: 4, b: 4 }, []],
  ])("%s", async (_what, paths, counts, aside) => {
    await folder.pictures(...paths.map((path) => `in/${path}`));
    const found = await folder.import("in");
    expect([found.code, found.counts, found.aside]).toEqual([0, counts, aside]);
  });

  test.each<[string, string[], Record<string, number>]>([
    ["pictures in subfolders of a class, most of them above", [...numbered("rose", 5), ...numbered("rose/old", 2)], { rose: 7 }],
    [
      "classes with subfolders by year beside a small class",
      [...numbered("rose/2023"), ...numbered("rose/2024"), "tulip/1.jpg", "tulip/2.jpg"],
      { rose: 8, tulip: 2 },
    ],
    [
      "subfolders in some classes only",
      [...numbered("rose/garden"), ...numbered("rose/field"), ...numbered("tulip", 3)],
      { rose: 8, tulip: 3 },
    ],
    ["a class that is called like a split", [...numbered("train"), ...numbered("bus")], { bus: 4, train: 4 }],
    [
      "a class that is called like a split, with subfolders",
      [...numbered("train/steam"), ...numbered("train/diesel"), ...numbered("bus/city"), ...numbered("car/red")],
      { bus: 4, car: 4, train: 8 },
    ],
    ["classes of numbers", [...numbered("set/0"), ...numbered("set/1"), "set/readme.jpg"], { 0: 4, 1: 4 }],
  ])("what is not a stray stays: %s", async (_what, paths, counts) => {
    await folder.pictures(...paths.map((path) => `in/${path}`));
    expect((await folder.import("in")).counts).toEqual(counts);
  });

  test("where it cannot be told, a remark names the folder that holds folders", async () => {
    await folder.pictures(...numbered("in/flowers/daisy"), ...numbered("in/flowers/rose"), ...numbered("in/weeds", 6));
    const { counts, report } = await folder.import("in");
    expect(counts).toEqual({ flowers: 8, weeds: 6 });
    expect(report!.remarks).toEqual([
      'The folder "flowers/" was taken as one class, because "weeds/" beside it holds pictures and no folders. If its folders (daisy, rose) are the classes, import "flowers" itself.',
    ]);
  });

  test("a manifest.jsonl of another program says nothing about the layout", async () => {
    await folder.pictures(...numbered("in/train/a"), ...numbered("in/train/b"), ...numbered("in/test/a"), ...numbered("in/test/b"));
    await folder.put("in/manifest.jsonl", '{"image": "train/a/0.jpg"}\n');
    expect((await folder.import("in")).counts).toEqual({ a: 8, b: 8 });
  });

  test("a stray that comes later changes no class, and one that was a stray gets its class when it is moved", async () => {
    await folder.pictures(...numbered("in/set/a"), ...numbered("in/set/b"));
    const first = await folder.import("in");
    await folder.pictures("in/set/cover.jpg");
    const second = await folder.import("in");
    expect([second.counts, second.aside, second.report!.dataVersion]).toEqual([
      { a: 4, b: 4 },
      ["set/cover.jpg"],
      first.report!.dataVersion,
    ]);
  });

  test("data that an earlier version read as one class is put right by the next import", async () => {
    await folder.pictures(...numbered("in/set/a"), ...numbered("in/set/b"));
    await folder.import("in");
    // As 0.1 left it: the wrapping folder was the class.
    await rename(folder.path("data/raw/a"), folder.path("data/a"));
    await rename(folder.path("data/raw/b"), folder.path("data/b"));
    await mkdir(folder.path("data/raw/set"));
    for (const name of ["a", "b"]) await rename(folder.path("data", name), folder.path("data/raw/set", name));
    for (const file of [".serval/import/data-raw.jsonl", "data/raw/manifest.jsonl"]) {
      const text = (await folder.read(file)).toString();
      await folder.put(file, text.replaceAll(/"path":"([ab])\/(\d\.jpg)","label":"[ab]"/g, '"path":"set/$1/$2","label":"set"'));
    }
    expect(countLabels(await folder.rows())).toEqual({ set: 8 });
    const { code, counts } = await folder.import("in");
    expect([code, counts]).toEqual([0, { a: 4, b: 4 }]);
    expect(await readdir(folder.path("data/raw/set/a"))).toEqual([]);
  });
});

describe("kaggle_mixed, relatives:", () => {
  test.each<[string, string[], Record<string, number>, number]>([
    [
      "the split folder twice",
      [
        ...numbered("training_set/training_set/cats"),
        ...numbered("training_set/training_set/dogs"),
        ...numbered("test_set/test_set/cats"),
        ...numbered("test_set/test_set/dogs"),
      ],
      { cats: 8, dogs: 8 },
      0,
    ],
    [
      "seg_train, seg_test and seg_pred",
      [
        ...numbered("seg_train/seg_train/sea"),
        ...numbered("seg_train/seg_train/street"),
        ...numbered("seg_test/seg_test/sea"),
        ...numbered("seg_test/seg_test/street"),
        ...numbered("seg_pred/seg_pred"),
      ],
      { sea: 8, street: 8 },
      4,
    ],
    [
      "a test folder with one folder that is not a class",
      [...numbered("train/cat"), ...numbered("train/dog"), ...numbered("test/unknown")],
      { cat: 4, dog: 4 },
      4,
    ],
    [
      "a test folder with a folder of the same name",
      [...numbered("train/cat"), ...numbered("train/dog"), ...numbered("test/test")],
      { cat: 4, dog: 4 },
      4,
    ],
    [
      "the validation folder without labels",
      [...numbered("a/train/cat"), ...numbered("a/train/dog"), ...numbered("a/val"), ...numbered("a/test/cat"), ...numbered("a/test/dog")],
      { cat: 8, dog: 8 },
      4,
    ],
    [
      "class folders within images/",
      [...numbered("train/n01/images"), ...numbered("train/n02/images"), ...numbered("val/images"), ...numbered("test/images")],
      { n01: 4, n02: 4 },
      8,
    ],
    [
      "a whole copy of the set inside it",
      [
        ...numbered("xray/train/ill"),
        ...numbered("xray/train/well"),
        ...numbered("xray/test/ill"),
        ...numbered("xray/test/well"),
        ...numbered("xray/xray/train/ill"),
        ...numbered("xray/xray/train/well"),
      ],
      { ill: 8, well: 8 },
      8,
    ],
    [
      "more pictures without a label than with one",
      [...numbered("train/cat"), ...numbered("train/dog"), ...numbered("test/cat"), ...numbered("test/dog"), ...numbered("unlabeled", 30)],
      { cat: 8, dog: 8 },
      30,
    ],
    [
      "the same where test has no labels either",
      [...numbered("train/cat"), ...numbered("train/dog"), ...numbered("test"), ...numbered("unlabeled", 30)],
      { cat: 4, dog: 4 },
      34,
    ],
    [
      "files beside the split folders",
      ["sample.jpg", ...numbered("train/cat"), ...numbered("train/dog"), ...numbered("test")],
      { cat: 4, dog: 4 },
      5,
    ],
  ])("%s", async (_what, paths, counts, aside) => {
    await folder.pictures(...paths.map((path) => `in/${path}`));
    const found = await folder.import("in");
    expect([found.code, found.counts, found.aside.length]).toEqual([0, counts, aside]);
  });

  test.each<[string, string[]]>([
    ["train/ and test/ with pictures alone", [...numbered("train"), ...numbered("test")]],
    ["train/ alone", numbered("train")],
    ["train/ and valid/ with images/ in them", [...numbered("train/images"), ...numbered("valid/images")]],
    ["train2017/ and val2017/", [...numbered("images/train2017"), ...numbered("images/val2017")]],
    ["below a wrapper, with a stray", ["set/x.jpg", ...numbered("set/Training"), ...numbered("set/Testing")]],
  ])("a set whose only classes are names of splits is refused with what was seen: %s", async (_what, paths) => {
    await folder.pictures(...paths.map((path) => `in/${path}`));
    const found = await folder.import("in");
    expect(found.code).toBe(3);
    expect(found.stderr).toMatch(
      /"in" gives no classes: its only class folders are called like splits, .*(?:train|training|train2017)\/(?:images\/)? 4/i,
    );
    expect(found.stderr).toContain("their own folder");
  });

  test("names with the class in them are offered, and taken with --labels-from name", async () => {
    const names = ["cat", "dog"].flatMap((label) => Array.from({ length: 5 }, (_, i) => `in/train/${label}.${i}.jpg`));
    await folder.pictures(...names, ...numbered("in/test1"));
    const refused = await folder.import("in");
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining("(cat 5, dog 5): --labels-from name") as string]);
    const found = await folder.import("in", "--labels-from", "name");
    expect([found.code, found.counts, found.aside]).toEqual([0, { cat: 5, dog: 5 }, numbered("test1")]);
    expect((await folder.rows()).map(({ path }) => path)).toContain("cat/cat.0.jpg");
  });

  test.each<[string, string[], Record<string, number>]>([
    ["underscores and hyphens", ["bull_dog_1.jpg", "bull_dog_22.jpg", "Beagle-3.jpg", "beagle-4.jpg"], { beagle: 2, bull_dog: 2 }],
    [
      "numbers in brackets, as Windows gives them",
      ["rose (1).jpg", "rose (2).jpg", "tulip (1).jpg", "tulip (2).jpg"],
      { rose: 2, tulip: 2 },
    ],
    ["numbers in front", ["001_rose.jpg", "002_rose.jpg", "003_tulip.jpg", "004_tulip.jpg"], { rose: 2, tulip: 2 }],
    ["a flat folder", ["rose.jpg", "rose1.jpg", "tulip.jpg", "tulip1.jpg"], { rose: 2, tulip: 2 }],
  ])("labels in names: %s", async (_what, names, counts) => {
    await folder.pictures(...names.map((name) => `in/${name}`));
    const plain = await folder.import("in");
    expect([plain.code, plain.stderr]).toEqual([3, expect.stringContaining("--labels-from name") as string]);
    expect((await folder.import("in", "--labels-from", "name")).counts).toEqual(counts);
  });

  test("one class folder of pictures with classes in their names is imported as one class, with a remark", async () => {
    await folder.pictures(...["rose", "tulip"].flatMap((label) => [0, 1, 2].map((i) => `in/photos/${label}_${i}.jpg`)));
    const { code, counts, stderr } = await folder.import("in");
    expect([code, counts]).toEqual([0, { photos: 6 }]);
    expect(stderr).toContain(
      'There is one class only, "photos". To take the class from the file names (rose 3, tulip 3): --labels-from name.',
    );
  });

  test("evaluate --data takes the same flags, and says how it read the folder", async () => {
    await writeTinyBundle(folder.path("models/colours"), { labels: ["blue", "red"] });
    for (const [i, colour] of (["blue", "red", "red"] as const).entries())
      await folder.put(`in/test/${colour}.${i}.png`, await shadedPicture(colour, i, "png"));
    const argv = ["evaluate", "--model", "models/colours", "--data", "in", "--json"];
    const refused = await folder.run(...argv);
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining("--labels-from name") as string]);
    const { code, stdout, stderr } = await folder.run(...argv, "--labels-from", "name");
    expect([code, JSON.parse(stdout)]).toMatchObject([0, { metrics: { count: 3 }, out: "artifacts/evaluation-data" }]);
    expect(stderr).toContain('"in" is read as\n  classes from the file names: blue 1, red 2\n');
  });
});
