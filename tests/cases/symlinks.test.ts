import { link, lstat, mkdir, readlink, realpath, symlink, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openFolder } from "../../src/data/sources/folder.ts";
import { CaseFolder, numbered } from "../helpers/case-folder.ts";
import { shadedPicture } from "../helpers/colour-repository.ts";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";

let folder: CaseFolder;
beforeEach(async () => {
  folder = await CaseFolder.make();
});
afterEach(() => folder.remove());

test("symlinks: a folder whose files `serval add` made links into the cache is imported", async () => {
  await folder.pictures(...numbered("images/cat"), ...numbered("images/dog"));
  await mkdir(folder.path(".git"));
  await folder.put(".dvc/config", "[cache]\n    type = symlink\n");
  expect((await folder.run("add", "images")).code).toBe(0);
  expect((await lstat(folder.path("images/cat/0.jpg"))).isSymbolicLink()).toBe(true);
  expect(await readlink(folder.path("images/cat/0.jpg"))).toContain(".dvc/cache");
  const { code, counts, aside } = await folder.import("images");
  expect([code, counts, aside]).toEqual([0, { cat: 4, dog: 4 }, []]);
});

test("symlinks: evaluate --data reads the same folder", async () => {
  await writeTinyBundle(folder.path("models/colours"), { labels: ["blue", "red"] });
  for (const [i, colour] of (["blue", "red", "red"] as const).entries())
    await folder.put(`images/${colour}/${i}.png`, await shadedPicture(colour, i, "png"));
  await mkdir(folder.path(".git"));
  await folder.put(".dvc/config", "[cache]\n    type = symlink\n");
  expect((await folder.run("add", "images")).code).toBe(0);
  await symlink("/dev/zero", folder.path("images/red/zero.png"));
  const { code, stdout } = await folder.run("evaluate", "--model", "models/colours", "--data", "images", "--json");
  expect([code, JSON.parse(stdout)]).toMatchObject([
    0,
    { metrics: { count: 3 }, skipped: [{ name: "red/zero.png", code: "E_PATH_LINK" }] },
  ]);
});

describe("symlinks, relatives:", () => {
  test("a cache that the user put elsewhere, in .dvc/config.local", async () => {
    await folder.pictures(...numbered("repo/images/cat"), ...numbered("repo/images/dog"));
    await mkdir(folder.path("repo/.git"), { recursive: true });
    await folder.put("repo/.dvc/config", "[cache]\n    type = symlink\n");
    await folder.put("repo/.dvc/config.local", `[cache]\n    dir = ${folder.path("elsewhere")}\n`);
    const inner = await CaseFolder.at(folder.path("repo"));
    expect((await inner.run("add", "images")).code).toBe(0);
    expect((await inner.import("images")).counts).toEqual({ cat: 4, dog: 4 });
    // And from another folder: the cache is the one of the repository that the source lies in.
    expect((await folder.import("repo/images")).counts).toEqual({ cat: 4, dog: 4 });
  });

  test("a cache that the repository itself put elsewhere is not followed", async () => {
    await folder.pictures(...numbered("private/x"), ...numbered("repo/images/cat"));
    await folder.put("repo/.dvc/config", `[cache]\n    dir = ${folder.path("private")}\n`);
    await symlink(folder.path("private/x/0.jpg"), folder.path("repo/images/cat/stolen.jpg"));
    const inner = await CaseFolder.at(folder.path("repo"));
    const { counts, report } = await inner.import("images");
    expect(counts).toEqual({ cat: 4 });
    expect(report!.setAside).toMatchObject([{ path: "cat/stolen.jpg", code: "E_PATH_LINK" }]);
  });

  test("links to files and folders inside the source are followed", async () => {
    await folder.pictures(...numbered("in/classes/a"), ...numbered("in/store/b"));
    await symlink("../store/b", folder.path("in/classes/b"));
    await symlink("0.jpg", folder.path("in/classes/a/again.jpg"));
    const { counts, aside } = await folder.import("in/classes");
    expect([counts, aside]).toEqual([{ a: 5 }, ["b"]]);
    await folder.remove();
    folder = await CaseFolder.make();
    await folder.pictures(...numbered("in/classes/a"), ...numbered("in/.store/b"));
    await symlink("../.store/b", folder.path("in/classes/b"));
    expect((await folder.import("in")).counts).toEqual({ a: 4, b: 4 });
  });

  test("a class folder that leads outside the source is refused by name, with where it leads", async () => {
    await folder.pictures(...numbered("in/a"), ...numbered("in/b"), ...numbered("outside/c"));
    await symlink(folder.path("outside/c"), folder.path("in/c"));
    const { code, counts, report } = await folder.import("in");
    expect([code, counts]).toEqual([0, { a: 4, b: 4 }]);
    const target = await realpath(folder.path("outside/c"));
    expect(report!.setAside).toEqual([
      {
        path: "c",
        code: "E_PATH_LINK",
        message: `"c" is a link to "${target}", outside the source: it was not followed. Copy its target, or import that folder itself.`,
      },
    ]);
  });

  test.each<[string, string, string, RegExp]>([
    ["to nothing", "in/a/gone.jpg", "nowhere.jpg", /"a\/gone\.jpg" is a broken link, or a link to itself\./],
    ["to itself", "in/a/self.jpg", "self.jpg", /"a\/self\.jpg" is a broken link, or a link to itself\./],
    ["to the folder around it", "in/a/loop", "../a", /"a\/loop" is a link to a folder around it/],
    ["to the source", "in/a/loop", "..", /"a\/loop" is a link to a folder around it/],
    ["to a folder above the source", "in/a/up", "../..", /"a\/up" is a link to ".*", outside the source/],
    ["to a device", "in/a/zero.jpg", "/dev/zero", /"a\/zero\.jpg" is a link to "\/dev\/zero", outside the source/],
  ])("a link %s ends, and the pictures are imported", async (_what, path, target, message) => {
    await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
    await symlink(target, folder.path(path));
    const { code, counts, report } = await folder.import("in");
    expect([code, counts]).toEqual([0, { a: 4, b: 4 }]);
    expect(report!.setAside.map(({ message: text }) => text)).toEqual([expect.stringMatching(message) as string]);
  });

  test("two folders that lead to each other end", async () => {
    await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
    await symlink("../b", folder.path("in/a/other"));
    await symlink("../a", folder.path("in/b/other"));
    const { code, counts } = await folder.import("in");
    expect([code, counts]).toEqual([0, { a: 8, b: 8 }]);
  });

  test("the source itself may be a link, and hard links are files", async () => {
    await folder.pictures(...numbered("real/a"), ...numbered("real/b"));
    await link(folder.path("real/a/0.jpg"), folder.path("real/a/hard.jpg"));
    await symlink("real", folder.path("in"));
    expect((await folder.import("in")).counts).toEqual({ a: 5, b: 4 });
  });

  test("links in a hidden folder are not spoken of", async () => {
    await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
    await mkdir(folder.path("in/.git"));
    await symlink("/dev/null", folder.path("in/.git/x.jpg"));
    await symlink("/dev/null", folder.path("in/.hidden.jpg"));
    expect((await folder.import("in")).aside).toEqual([]);
  });

  test("data/raw whose files are links into the cache is checked in place", async () => {
    await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
    await mkdir(folder.path(".git"));
    await folder.put(".dvc/config", "[cache]\n    type = symlink\n");
    const first = await folder.import("in");
    expect((await folder.run("add", "data/raw")).code).toBe(0);
    expect((await lstat(folder.path("data/raw/a/0.jpg"))).isSymbolicLink()).toBe(true);
    const again = await folder.import("data/raw");
    expect([again.code, again.report!.dataVersion]).toEqual([0, first.report!.dataVersion]);
  });

  test("many links that multiply folders end with an error and not with the memory", async () => {
    await mkdir(folder.path("in/0"), { recursive: true });
    await writeFile(folder.path("in/0/1.jpg"), "x");
    for (let i = 1; i < 40; i++) {
      await mkdir(folder.path(`in/${i}`));
      for (const name of ["x", "y"]) await symlink(`../${i - 1}`, folder.path(`in/${i}/${name}`));
    }
    await expect(openFolder(folder.path("in"), { mostFiles: 1000 })).rejects.toMatchObject({
      code: "E_SOURCE",
      message: expect.stringContaining("holds more than 1000 files and folders") as string,
    });
  });
});
