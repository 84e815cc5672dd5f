import { cp, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ServalError } from "../../src/errors/serval-error.ts";
import { ingest } from "../../src/data/ingest.ts";
import { openFolder } from "../../src/data/sources/folder.ts";
import { CaseFolder, numbered, picture } from "../helpers/case-folder.ts";
import { zipFile } from "../helpers/zip-file.ts";

let folder: CaseFolder;
beforeEach(async () => {
  folder = await CaseFolder.make();
  await folder.pictures(...numbered("in/cat", 8), ...numbered("in/dog", 8));
});
afterEach(() => folder.remove());

/** Every file below data and .serval with its bytes. */
async function everything(): Promise<Record<string, string>> {
  const found = await readdir(folder.dir, { recursive: true, withFileTypes: true });
  const files = found.filter((item) => item.isFile()).map((item) => join(item.parentPath, item.name));
  return Object.fromEntries(await Promise.all(files.map(async (path) => [path, (await readFile(path)).toString("latin1")] as const)));
}

async function paths(): Promise<string[]> {
  return (await folder.rows()).map(({ path }) => path);
}

/** What lies in data/raw, whatever the manifest says. */
async function onDisk(): Promise<string[]> {
  const found = await readdir(folder.path("data/raw"), { recursive: true, withFileTypes: true });
  return found
    .filter((item) => item.isFile() && item.name !== "manifest.jsonl")
    .map((item) => join(item.parentPath, item.name).slice(folder.path("data/raw").length + 1))
    .sort();
}

async function leftOut(): Promise<string> {
  const ran = await folder.run("prepare", "--set", "prepare.width=16", "prepare.height=16", "train.cropSize=16", "train.sizes=[16]");
  expect(ran.code).toBe(0);
  return ran.stderr;
}

test("five pictures that are moved to the right class are moved in the data, and prepare uses them", async () => {
  await folder.import("in");
  for (let i = 0; i < 5; i++) await rename(folder.path(`in/cat/${i}.jpg`), folder.path(`in/dog/from-cat-${i}.jpg`));
  const plan = await folder.run("data", "import", "in", "--dry");
  expect(plan.stdout).toContain('moved from "cat" to "dog" 5: cat/0.jpg -> dog/from-cat-0.jpg');
  const { code, counts, report } = await folder.import("in");
  expect([code, counts, report!.changes.moved.length]).toEqual([0, { cat: 3, dog: 13 }, 5]);
  expect(await onDisk()).toEqual(await paths());
  expect(await leftOut()).toBe("");
});

test("a class that is renamed in the source is renamed in the data", async () => {
  await folder.import("in");
  await rename(folder.path("in/dog"), folder.path("in/hound"));
  const ran = await folder.run("data", "import", "in");
  expect(ran.stdout).toContain('  class "dog" renamed to "hound", 8: dog/0.jpg -> hound/0.jpg');
  expect(await paths()).toEqual([...numbered("cat", 8), ...numbered("hound", 8)]);
  expect(await onDisk()).toEqual(await paths());
  expect(await leftOut()).toBe("");
});

test("a picture that is removed from the source leaves the data", async () => {
  const first = await folder.import("in");
  await rm(folder.path("in/dog/3.jpg"));
  const ran = await folder.run("data", "import", "in");
  expect(ran.stdout).toContain("  removed 1: dog/3.jpg");
  const again = await folder.import("in");
  expect([again.counts, again.report!.changed]).toEqual([{ cat: 8, dog: 7 }, false]);
  expect(again.report!.dataVersion).not.toBe(first.report!.dataVersion);
  expect(await onDisk()).toEqual(await paths());
});

test("--dry shows additions, moves, renames and removals, and writes nothing at all", async () => {
  const fresh = await everything();
  const before = await folder.run("data", "import", "in", "--dry");
  expect([before.code, before.stdout]).toEqual([
    0,
    expect.stringContaining(
      "An import of in would change data/raw; nothing was written (cat 8, dog 8; 0 set aside).\n  added 16: ",
    ) as string,
  ]);
  expect(await everything()).toEqual(fresh);
  await folder.import("in");
  await folder.pictures("in/cat/new.jpg");
  await rename(folder.path("in/cat/0.jpg"), folder.path("in/dog/was-cat.jpg"));
  await rename(folder.path("in/cat/1.jpg"), folder.path("in/cat/one.jpg"));
  await rm(folder.path("in/dog/7.jpg"));
  await folder.put("in/cat/2.jpg", await picture("other bytes"));
  await folder.put("in/cat/broken.jpg", "broken");
  const state = await everything();
  const { stdout } = await folder.run("data", "import", "in", "--dry");
  expect(stdout.split("\n")).toEqual([
    "An import of in would change data/raw; nothing was written (cat 8, dog 8; 1 set aside).",
    "  added 1: cat/new.jpg",
    "  changed 1: cat/2.jpg",
    "  renamed 1: cat/1.jpg -> cat/one.jpg",
    '  moved from "cat" to "dog" 1: cat/0.jpg -> dog/was-cat.jpg',
    "  removed 1: dog/7.jpg",
    expect.stringMatching(/^ {2}cat\/broken\.jpg: E_IMAGE_FORMAT/) as string,
    "",
  ]);
  expect(await everything()).toEqual(state);
  const dry = await folder.import("in", "--dry");
  const real = await folder.import("in");
  expect([real.report!.changes, real.report!.dataVersion]).toEqual([dry.report!.changes, dry.report!.dataVersion]);
  expect((await folder.run("data", "import", "in", "--dry")).stdout).toContain("Nothing would change in data/raw");
});

describe("changing data, relatives:", () => {
  test("what a followed import leaves is what a first import of the same source gives", async () => {
    await folder.import("in");
    await rename(folder.path("in/dog"), folder.path("in/wolf"));
    await rename(folder.path("in/cat/0.jpg"), folder.path("in/wolf/cat.jpg"));
    await rm(folder.path("in/cat/1.jpg"));
    await folder.pictures("in/cat/9.jpg");
    const followed = await folder.import("in");
    const other = await CaseFolder.make();
    try {
      await cp(folder.path("in"), other.path("in"), { recursive: true });
      expect((await other.import("in")).report!.dataVersion).toBe(followed.report!.dataVersion);
    } finally {
      await other.remove();
    }
  });

  test("a class folder that is only spelled otherwise changes nothing", async () => {
    const first = await folder.import("in");
    await rename(folder.path("in/cat"), folder.path("in/Cat"));
    const second = await folder.import("in");
    expect([second.report!.dataVersion, second.report!.changes.moved]).toEqual([first.report!.dataVersion, []]);
    expect(await onDisk()).toEqual(await paths());
  });

  test("two pictures that change places change places in the data", async () => {
    await folder.import("in");
    const [cat, dog] = [await folder.read("in/cat/0.jpg"), await folder.read("in/dog/0.jpg")];
    await folder.put("in/cat/0.jpg", dog);
    await folder.put("in/dog/0.jpg", cat);
    await folder.import("in");
    expect(await folder.read("data/raw/cat/0.jpg")).toEqual(dog);
    expect(await leftOut()).toBe("");
  });

  test("pictures that are copied and deleted instead of moved are followed as well", async () => {
    await folder.import("in");
    await cp(folder.path("in/dog"), folder.path("in/hound"), { recursive: true });
    await rm(folder.path("in/dog"), { recursive: true });
    expect((await folder.import("in")).counts).toEqual({ cat: 8, hound: 8 });
  });

  test("a zip that is packed again is followed", async () => {
    const part = async (name: string, seed = name): Promise<{ name: string; bytes: Buffer }> => ({ name, bytes: await picture(seed) });
    await folder.zip("set.zip", [await part("a/1.jpg"), await part("a/2.jpg"), await part("b/3.jpg")]);
    await folder.import("set.zip");
    await folder.zip("set.zip", [await part("a/1.jpg"), await part("b/2.jpg", "a/2.jpg")]);
    const { counts, report } = await folder.import("set.zip");
    expect([counts, report!.changes.moved.length, report!.changes.removed]).toEqual([{ a: 1, b: 1 }, 1, ["b/3.jpg"]]);
  });

  test("another zip of the same name adds to the data, with a remark", async () => {
    await mkdir(folder.path("x"));
    await mkdir(folder.path("y"));
    await writeFile(
      folder.path("x/set.zip"),
      zipFile([
        { name: "a/1.jpg", bytes: await picture("1") },
        { name: "b/2.jpg", bytes: await picture("2") },
      ]),
    );
    await writeFile(
      folder.path("y/set.zip"),
      zipFile([
        { name: "a/3.jpg", bytes: await picture("3") },
        { name: "b/4.jpg", bytes: await picture("4") },
      ]),
    );
    await folder.import("x/set.zip");
    const { counts, stderr } = await folder.import("y/set.zip");
    expect(counts).toEqual({ a: 2, b: 2 });
    expect(stderr).toContain(
      'None of the 2 files that "set.zip" had before is in it now, so it was taken for another set of the same name',
    );
  });

  test("a source that is suddenly empty takes nothing away", async () => {
    await folder.import("in");
    await rename(folder.path("in"), folder.path("away"));
    await mkdir(folder.path("in"));
    const { code } = await folder.import("in");
    expect([code, (await paths()).length]).toEqual([3, 16]);
    expect((await onDisk()).length).toBe(16);
  });

  test("what another source brought stays, also where it is the same picture under the same name", async () => {
    await folder.pictures(...numbered("more/cat", 2).map((path) => path.replace("cat/", "cat/more-")));
    await folder.import("in");
    await folder.import("more");
    await rm(folder.path("in/cat/0.jpg"));
    const { counts } = await folder.import("in");
    expect(counts).toEqual({ cat: 9, dog: 8 });
  });

  test("a source folder that is renamed brings nothing twice", async () => {
    const first = await folder.import("in");
    await rename(folder.path("in"), folder.path("photos"));
    const second = await folder.import("photos");
    expect([second.counts, second.report!.dataVersion]).toEqual([{ cat: 8, dog: 8 }, first.report!.dataVersion]);
    expect(await onDisk()).toEqual(await paths());
  });

  test("a picture of data/raw that was changed there by hand is not removed", async () => {
    await folder.import("in");
    await folder.put("data/raw/cat/0.jpg", await picture("turned by hand"));
    await rm(folder.path("in/cat/0.jpg"));
    await folder.import("in");
    expect(await folder.read("data/raw/cat/0.jpg")).toEqual(await picture("turned by hand"));
  });

  test("after an import of data/raw in place the source is still followed", async () => {
    await folder.import("in");
    await folder.import("data/raw");
    await rename(folder.path("in/dog"), folder.path("in/wolf"));
    await folder.put("in/cat/0.jpg", await picture("retaken"));
    const { counts } = await folder.import("in");
    expect(counts).toEqual({ cat: 8, wolf: 8 });
    expect(await folder.read("data/raw/cat/0.jpg")).toEqual(await picture("retaken"));
    expect(await onDisk()).toEqual(await paths());
  });

  test("pictures that are moved to the right class in data/raw stay there when the source is imported again", async () => {
    await folder.import("in");
    for (let i = 0; i < 5; i++) await rename(folder.path(`data/raw/cat/${i}.jpg`), folder.path(`data/raw/dog/from-cat-${i}.jpg`));
    const inPlace = await folder.import("data/raw");
    expect([inPlace.counts, inPlace.report!.changes.moved.length]).toEqual([{ cat: 3, dog: 13 }, 5]);
    const again = await folder.import("in");
    expect([again.counts, again.report!.changed, again.report!.dataVersion]).toEqual([
      { cat: 3, dog: 13 },
      false,
      inPlace.report!.dataVersion,
    ]);
    expect(await leftOut()).toBe("");
    // And when the source is put right as well.
    for (let i = 0; i < 5; i++) await rename(folder.path(`in/cat/${i}.jpg`), folder.path(`in/dog/from-cat-${i}.jpg`));
    expect((await folder.import("in")).report!.dataVersion).toBe(inPlace.report!.dataVersion);
    expect(await onDisk()).toEqual(await paths());
  });

  test("a picture that became unreadable leaves the data, and comes back when it is repaired", async () => {
    await folder.import("in");
    const whole = await folder.read("in/dog/0.jpg");
    await folder.put("in/dog/0.jpg", whole.subarray(0, 300));
    const broken = await folder.import("in");
    expect([broken.counts, broken.report!.changes.removed, broken.aside]).toEqual([{ cat: 8, dog: 7 }, ["dog/0.jpg"], ["dog/0.jpg"]]);
    await folder.put("in/dog/0.jpg", whole);
    const repaired = await folder.import("in");
    expect([repaired.counts, repaired.aside]).toEqual([{ cat: 8, dog: 8 }, []]);
  });

  test("a broken file that is deleted in the source leaves the quarantine", async () => {
    await folder.put("in/dog/bad.jpg", "bad");
    await folder.import("in");
    expect((await folder.read("data/quarantine/dog/bad.jpg")).toString()).toBe("bad");
    await rm(folder.path("in/dog/bad.jpg"));
    await folder.import("in");
    await expect(stat(folder.path("data/quarantine/dog/bad.jpg"))).rejects.toThrow("ENOENT");
    expect((await folder.read("data/quarantine/report.jsonl")).toString()).toBe("");
  });

  test("stopped at any picture, nothing is lost, and the next import ends the same", async () => {
    await folder.import("in");
    await rename(folder.path("in/dog"), folder.path("in/wolf"));
    await rename(folder.path("in/cat/0.jpg"), folder.path("in/wolf/cat.jpg"));
    const options = {
      outDir: folder.path("data/raw"),
      quarantineDir: folder.path("data/quarantine"),
      journalPath: folder.path(".serval/import/data-raw.jsonl"),
    };
    for (const at of [1, 8, 16]) {
      const controller = new AbortController();
      const stopped = ingest(await openFolder(folder.path("in")), {
        ...options,
        signal: controller.signal,
        onProgress: (done) => {
          if (done === at) controller.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGINT."));
        },
      });
      // The last picture is the end: then there is nothing left to stop.
      const code = await stopped.then(
        () => "ended",
        (error: ServalError) => error.code,
      );
      expect(code).toMatch(/^(?:E_INTERRUPTED|ended)$/);
      for (const row of await folder.rows()) expect((await stat(folder.path("data/raw", row.path))).isFile()).toBe(true);
    }
    const { counts } = await folder.import("in");
    expect(counts).toEqual({ cat: 7, wolf: 9 });
    expect(await onDisk()).toEqual(await paths());
  });

  test("killed after the manifest was written and before the files were removed, the next import removes them", async () => {
    await folder.import("in");
    const journal = await folder.read(".serval/import/data-raw.jsonl");
    const bytes = await folder.read("data/raw/dog/0.jpg");
    await rm(folder.path("in/dog/0.jpg"));
    await folder.import("in");
    await folder.put("data/raw/dog/0.jpg", bytes);
    await folder.put(".serval/import/data-raw.jsonl", journal);
    await folder.import("in");
    expect(await onDisk()).toEqual(await paths());
    expect(await paths()).not.toContain("dog/0.jpg");
  });

  test("prepare names the remedy for a picture that lies in two classes", async () => {
    await folder.put("in/dog/copy.jpg", await picture("in/cat/0.jpg"));
    await folder.import("in");
    expect(await leftOut()).toContain(
      "2 left out for two labels: delete or move the wrong one of each in the folder or zip that it came from",
    );
    await rm(folder.path("in/dog/copy.jpg"));
    await folder.import("in");
    expect(await leftOut()).toBe("");
  });

  test("a file with a new time and the same bytes does not count as changed", async () => {
    const first = await folder.import("in");
    await utimes(folder.path("in/cat/0.jpg"), new Date(), new Date(Date.now() - 60_000));
    const second = await folder.import("in");
    expect([second.report!.dataVersion, second.report!.changes]).toEqual([
      first.report!.dataVersion,
      { added: [], updated: [], moved: [], removed: [] },
    ]);
  });
});
