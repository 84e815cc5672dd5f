import { execFileSync, spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const script = join(import.meta.dirname, "../../scripts/unpack-backup.sh");
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-backup-"));
  await mkdir(join(dir, "content"));
  for (const volume of ["models", "tracking"]) await put(`volumes/${volume}/old`, "old");
  await put("victim/diary", "mine");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir, path)), { recursive: true });
  await writeFile(join(dir, path), text);
}

/** Restores the archive in place of what the volumes hold. */
function unpack(archive: string, databases = ""): { status: number | null; stderr: string } {
  const args = ["-c", 'bash -s -- yes "$0" "$1" "$2" < "$3"', databases, join(dir, "volumes"), archive, script];
  const { status, stderr } = spawnSync("bash", args, { encoding: "utf8" });
  return { status, stderr };
}

/** Packs parts of `content`, as scripts/backup.sh does. */
function pack(...args: string[]): string {
  const archive = join(dir, "archive.tar.gz");
  execFileSync("tar", ["--create", "--gzip", "--file", archive, "--directory", join(dir, "content"), ...args], { stdio: "ignore" });
  return archive;
}

async function expectUntouched(): Promise<void> {
  expect(await readdir(join(dir, "volumes/models"))).toEqual(["old"]);
  expect(await readdir(join(dir, "volumes/tracking"))).toEqual(["old"]);
  expect(await readdir(join(dir, "victim"))).toEqual(["diary"]);
  expect(await readFile(join(dir, "victim/diary"), "utf8")).toBe("mine");
}

/** A volume of the archive with one file in it. */
const whole = async (): Promise<void> => {
  for (const volume of ["models", "tracking"]) await put(`content/files/${volume}/new`, "new");
};

test("what scripts/backup.sh writes is restored, links that stay in their volume included", async () => {
  await whole();
  await mkdir(join(dir, "content/files/models/v3"));
  await symlink("v3", join(dir, "content/files/models/current"));
  await put("content/databases/tracking/runs.db", "rows");
  const { status, stderr } = unpack(pack("files", "databases"), "databases/tracking/");
  expect([status, stderr]).toEqual([0, ""]);
  expect((await readdir(join(dir, "volumes/models"))).sort()).toEqual(["current", "new", "v3"]);
  expect((await readdir(join(dir, "volumes/tracking"))).sort()).toEqual(["new", "runs.db"]);
});

test.each([
  ["an absolute link", "/etc"],
  ["a link to another volume", "../tracking"],
  ["a link out of all of them", "../../../victim"],
])("%s is refused, and nothing is replaced", async (_, target) => {
  await whole();
  await symlink(target, join(dir, "content/files/models/link"));
  const { status, stderr } = unpack(pack("files"));
  expect([status, stderr]).toEqual([1, expect.stringContaining(`The archive holds link, a link to ${target}`)]);
  await expectUntouched();
});

test("a database behind a link is refused before it is written", async () => {
  await whole();
  await symlink("../../../../victim", join(dir, "content/files/models/link"));
  await put("content/databases/models/link/diary", "overwritten");
  const { status } = unpack(pack("files", "databases"), "databases/models/");
  expect(status).toBe(1);
  await expectUntouched();
});

test("a volume that is itself a link is refused", async () => {
  await put("content/files/tracking/new", "new");
  await symlink("../../victim", join(dir, "content/files/models"));
  const { status, stderr } = unpack(pack("files"));
  expect([status, stderr]).toEqual([1, expect.stringContaining("files/models, which is not a folder")]);
  await expectUntouched();
});

test.each([
  ["../../victim/diary", "s#^files/models/new#../../victim/diary#"],
  ["files/models/../../victim/diary", "s#^files/models/new#files/models/../../victim/diary#"],
  ["/tmp/diary", "s#^files/models/new#/tmp/diary#"],
])("the path %s is refused", async (path, change) => {
  await whole();
  const { status, stderr } = unpack(pack("--absolute-names", "--transform", change, "files"));
  expect([status, stderr]).toEqual([1, expect.stringContaining(`the path ${path}, which leads out of it`)]);
  await expectUntouched();
});

test("a pipe is refused", async () => {
  await whole();
  execFileSync("bash", ["-c", 'mkfifo "$0"', join(dir, "content/files/models/pipe")]);
  expect(unpack(pack("files")).stderr).toContain("holds pipe, which is neither a file, a folder nor a link");
  await expectUntouched();
});

// Only root gets such a program out of an archive, and in the container it is root who unpacks.
test.skipIf(process.getuid?.() !== 0)("a program that runs as its owner is refused", async () => {
  await whole();
  await chmod(join(dir, "content/files/models/new"), 0o4755);
  expect(unpack(pack("files")).stderr).toContain("holds new, a program that would run as its owner");
  await expectUntouched();
});
