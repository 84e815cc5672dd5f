import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { cloneHostile, type HostileClone } from "../helpers/hostile-repository.ts";
import { jpeg } from "../helpers/pictures.ts";

let clone: HostileClone;
afterEach(() => clone.remove());

/** A clone with the user's pictures in it, and a folder beside it that must stay as it is. */
async function cloneWithPictures(
  links: Readonly<Record<string, string>> = {},
  files: Readonly<Record<string, string>> = {},
): Promise<void> {
  clone = await cloneHostile({ links, files });
  await mkdir(join(clone.around, "victim"));
  await writeFile(join(clone.around, "victim/diary"), "mine");
  for (const label of ["a", "b"]) {
    await mkdir(join(clone.around, "pictures", label), { recursive: true });
    for (let i = 0; i < 5; i++) await writeFile(join(clone.around, "pictures", label, `${i}.jpg`), await jpeg(`${label}${i}`));
  }
}

const importing = ["data", "import", "../pictures"];

describe("a link that a repository brings leads no verb elsewhere", () => {
  test.each([
    ["data", importing],
    ["data/raw", importing],
    ["data/raw/a", importing],
    ["data/quarantine", importing],
    ["data/processed", ["prepare"]],
    ["artifacts", ["train"]],
    ["artifacts/best", ["train", "--find-lr"]],
    ["artifacts", ["evaluate"]],
    ["models", ["models", "release"]],
  ])("%s, by `serval %j`", async (link, args) => {
    await cloneWithPictures({ [link]: "../".repeat(link.split("/").length) + "victim" });
    const { code, stderr } = await clone.run(...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`E_PATH_LINK: "${link}" is a link to "`)]);
    expect(stderr).toContain(`--follow-link ${link}`);
    expect(await readdir(join(clone.around, "victim"))).toEqual(["diary"]);
  });
});

test("state that is in Git is refused: it would count as the user's own", async () => {
  await cloneWithPictures({}, { ".serval/import/data-raw.jsonl": "{}\n" });
  for (const args of [importing, ["prepare"], ["train"], ["status"], ["pull"]]) {
    const { code, stderr } = await clone.run(...args);
    expect([args, code, stderr]).toEqual([args, 2, expect.stringContaining('E_DVC_CONFIG: ".serval/import/data-raw.jsonl" is in Git')]);
  }
  expect(existsSync(join(clone.root, "data"))).toBe(false);
});

test("a user's own link is followed by import and prepare once it is allowed", async () => {
  await cloneWithPictures();
  await mkdir(join(clone.around, "disk"));
  await symlink("../disk", join(clone.root, "data"));
  expect((await clone.run(...importing)).code).toBe(2);
  const imported = await clone.run(...importing, "--follow-link", "data");
  expect([imported.code, imported.stderr]).toEqual([0, '"pictures" is read as\n  ./ 2 classes: a 5, b 5\n']);
  expect((await readdir(join(clone.around, "disk/raw"))).sort()).toEqual(["a", "b", "manifest.jsonl"]);
  // The permission holds from now on, and stays on this machine.
  const prepared = await clone.run("prepare");
  expect([prepared.code, prepared.stderr]).toEqual([0, ""]);
  expect(existsSync(join(clone.around, "disk/processed/index.json"))).toBe(true);
  expect(await readFile(join(clone.root, ".dvc/.gitignore"), "utf8")).toContain("/config.local");
  expect(await readFile(join(clone.root, ".dvc/config"), "utf8")).not.toContain("data");
});

test("a permission keeps what .dvc/config.local held, and who may read it", async () => {
  await cloneWithPictures();
  const secrets = "['remote \"own\"']\n    secret_access_key = hunter2\n";
  await writeFile(join(clone.root, ".dvc/config.local"), secrets, { mode: 0o600 });
  for (const name of ["one", "two, with a blank"]) {
    await mkdir(join(clone.around, name));
    await symlink(join(clone.around, name), join(clone.root, name));
    expect((await clone.run("checkout", "--follow-link", name)).code).toBe(0);
  }
  const text = await readFile(join(clone.root, ".dvc/config.local"), "utf8");
  expect(text.startsWith(secrets)).toBe(true);
  expect(text.match(/follow_links/g)).toHaveLength(1);
  expect(text).toMatch(/\[feature\]\n {4}follow_links = one=\/\S+\/one@\d+, two%2C%20with%20a%20blank=\/\S+@\d+\n$/);
  expect((await stat(join(clone.root, ".dvc/config.local"))).mode & 0o777).toBe(0o600);
});
