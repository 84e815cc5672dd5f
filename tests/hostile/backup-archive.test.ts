import { execFileSync, spawnSync } from "node:child_process";
import { chmod, link, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { checkArchive } from "../../src/deploy/backup/check-archive.ts";
import { afterEach, beforeEach, expect, test } from "vitest";

const script = join(import.meta.dirname, "../../scripts/unpack-backup.sh");
const program = join(import.meta.dirname, "../../src/cli/main.ts");
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
function unpack(archive: string, databases = "", names = "safe"): { status: number | null; stderr: string } {
  const args = ["-c", 'bash -s -- yes "$0" "$1" "$2" "$3" "$4" < "$5"', names, databases, join(dir, "volumes"), archive, program, script];
  const { status, stderr } = spawnSync("bash", args, { encoding: "utf8" });
  return { status, stderr };
}

let archives = 0;
/** Packs parts of `content`, as scripts/backup.sh does. */
function pack(...args: string[]): string {
  const archive = join(dir, `archive${++archives}.tar.gz`);
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
  expect([status, stderr]).toEqual([
    1,
    expect.stringContaining(`The archive holds "files/models/link", a link to "${target}": expected one that stays in its volume.`),
  ]);
  await expectUntouched();
});

test.each([
  ["in its volume", "v3", '"models/link" is there twice, as a folder and as a link'],
  ["out of it", "../../../../victim", '"files/models/link", a link to "../../../../victim"'],
])("a database behind a link that leads to a place %s is refused before it is written", async (_, target, message) => {
  await whole();
  await put("content/files/models/v3/diary", "mine as well");
  await symlink(target, join(dir, "content/files/models/link"));
  await put("content/databases/models/link/diary", "overwritten");
  for (const archive of [pack("files", "databases"), pack("databases", "files")]) {
    const { status, stderr } = unpack(archive, "databases/models/");
    expect([status, stderr]).toEqual([1, expect.stringContaining(message)]);
    await expectUntouched();
  }
});

test("a volume that is itself a link is refused", async () => {
  await put("content/files/tracking/new", "new");
  await symlink("../../victim", join(dir, "content/files/models"));
  const { status, stderr } = unpack(pack("files"));
  expect([status, stderr]).toEqual([1, expect.stringContaining('"files/models", which is not a folder')]);
  await expectUntouched();
});

const parent = 'holds the name "..", which is not that of a file';
test.each([
  ["../../victim/diary", parent],
  ["files/models/../../victim/diary", parent],
  ["/tmp/diary", "is absolute"],
  ["files/models//diary", "holds two slashes in a row, or ends in one"],
  ["files/models/./diary", 'holds the name ".", which is not that of a file'],
  ["elsewhere/diary", ""],
])("the path %s is refused, whatever names are taken", async (path, fault) => {
  await whole();
  const archive = pack("--absolute-names", "--transform", `s#^files/models/new#${path}#`, "files");
  for (const names of ["safe", "any"]) {
    const { status, stderr } = unpack(archive, "", names);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^E_ARCHIVE_UNSAFE: /)]);
    expect(stderr).toContain(`The archive holds ${JSON.stringify(path)}: ${fault === "" ? "expected files/…" : `that path ${fault}.`}`);
    await expectUntouched();
  }
});

test.each([
  ["a control character", "a\u001b]0;b", "holds a control character"],
  ["a line end", "a\nb", "holds a control character"],
  ["a backslash", "..\\..\\victim", "holds a backslash, which separates folders on Windows"],
  ["the name of a device", "aux.json", 'holds "aux.json", the name of a device on Windows'],
  ["a folder of Git", ".git/hooks/post-checkout", 'holds ".git", a folder of the tools themselves'],
  ["a folder of Serval", "sub/.Serval /keys", 'holds ".Serval ", a folder of the tools themselves'],
])("a name with %s is refused, and taken by --any-name in its own volume", async (_, name, fault) => {
  await whole();
  await put(`content/files/models/${name}`, "new");
  const archive = pack("files");
  const { status, stderr } = unpack(archive);
  expect([status, stderr]).toEqual([1, expect.stringContaining(`: that path ${fault}.`)]);
  expect(stderr).toContain("scripts/restore.sh --any-name");
  await expectUntouched();
  expect(unpack(archive, "", "any")).toEqual({ status: 0, stderr: "" });
  expect(await readFile(join(dir, "volumes/models", name), "utf8")).toBe("new");
  expect(await readdir(join(dir, "victim"))).toEqual(["diary"]);
});

test("a name that is not UTF-8 is refused", async () => {
  await whole();
  execFileSync("bash", ["-c", 'touch "$0/$(printf "\\377")"', join(dir, "content/files/models")]);
  expect(unpack(pack("files")).stderr).toContain(String.raw`The archive holds the name "files/models/\\377", which is not UTF-8`);
  await expectUntouched();
});

test.each([
  [
    "a link out by way of another link",
    [
      ["sub/deep/up", "../flat"],
      ["out", "sub/deep/up/../.."],
    ],
    '"files/models/out", a link to "sub/deep/up/../.."',
  ],
  ["a link into the folder of a tool", [["hooks", ".git/hooks"]], '"files/models/hooks", a link to ".git/hooks"'],
] as const)("%s is refused", async (_, links, message) => {
  await whole();
  await mkdir(join(dir, "content/files/models/sub/deep"), { recursive: true });
  for (const [path, target] of links) await symlink(target, join(dir, "content/files/models", path));
  expect(unpack(pack("files")).stderr).toContain(message);
  await expectUntouched();
});

test("a file behind a link in the same archive is refused, in any order", async () => {
  await whole();
  await put("content/files/models/folder/diary", "overwritten");
  await symlink("../../../../victim", join(dir, "content/files/models/link"));
  const change = "s#^files/models/folder#files/models/link#S";
  expect(unpack(pack("--transform", change, "files/models/folder/diary", "files/models/link")).stderr).toContain("E_ARCHIVE_UNSAFE: ");
  expect(unpack(pack("--transform", change, "files/models/link", "files/models/folder/diary")).stderr).toContain("E_ARCHIVE_UNSAFE: ");
  await expectUntouched();
});

test("a hard link is restored where it names a file of its volume, and refused where it names a link or a file elsewhere", async () => {
  await whole();
  await link(join(dir, "content/files/models/new"), join(dir, "content/files/models/second"));
  expect(unpack(pack("--sort=name", "files"))).toEqual({ status: 0, stderr: "" });
  expect(await readFile(join(dir, "volumes/models/second"), "utf8")).toBe("new");
  await rm(join(dir, "content/files/models/second"));
  await link(join(dir, "content/files/models/new"), join(dir, "content/files/tracking/second"));
  expect(unpack(pack("--sort=name", "files")).stderr).toContain('"files/tracking/second", another name of "files/models/new"');
  await rm(join(dir, "content/files/tracking/second"));
  await mkdir(join(dir, "content/files/models/a/b"), { recursive: true });
  await symlink("../..", join(dir, "content/files/models/a/b/top"));
  execFileSync("ln", ["--no-dereference", "--physical", join(dir, "content/files/models/a/b/top"), join(dir, "content/files/models/top")]);
  expect(unpack(pack("--sort=name", "files")).stderr).toContain('"files/models/top", another name of "files/models/a/b/top"');
});

test("what is not an archive is not taken for one without entries", async () => {
  await put("text", "no archive");
  expect(unpack(join(dir, "text")).stderr).toMatch(/^E_ARCHIVE_CORRUPT: .*text cannot be read/);
  await expectUntouched();
});

test("an archive that is not there, and a folder in its place, are said to be so", async () => {
  const check = async (path: string): Promise<number> => await checkArchive(path, { env: process.env });
  await expect(check(join(dir, "nothing.tar.gz"))).rejects.toMatchObject({ code: "E_FILE_NOT_FOUND" });
  await expect(check(dir)).rejects.toMatchObject({
    code: "E_FILE_NOT_FOUND",
    message: `${dir} is not a file: expected an archive of scripts/backup.sh.`,
  });
});

test("a pipe is refused", async () => {
  await whole();
  execFileSync("bash", ["-c", 'mkfifo "$0"', join(dir, "content/files/models/pipe")]);
  expect(unpack(pack("files")).stderr).toContain('holds "files/models/pipe", which is neither a file, a folder nor a link');
  await expectUntouched();
});

// Only root gets such a program out of an archive, and in the container it is root who unpacks.
test.skipIf(process.getuid?.() !== 0)("a program that runs as its owner is refused", async () => {
  await whole();
  await chmod(join(dir, "content/files/models/new"), 0o4755);
  expect(unpack(pack("files")).stderr).toContain('holds "files/models/new", a program that would run as its owner');
  await expectUntouched();
});
