import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runServal } from "../../helpers/serval-process.ts";

const main = join(import.meta.dirname, "../../../src/cli/main.ts");
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "serval-add-"));
  execFileSync("git", ["init", "--quiet"], { cwd: root });
  await mkdir(join(root, "photos/cat"), { recursive: true });
  await writeFile(join(root, "photos/cat/1.jpg"), "one");
  await writeFile(join(root, "photos/cat/2.jpg"), "two");
});
afterEach(() => rm(root, { recursive: true, force: true }));

test("a folder gets a .dvc file and a line in .gitignore, and comes back from the cache", async () => {
  const { code, stdout } = await runServal(root, ["add", "photos", "--json"]);
  // The hash is the one that dvc 3.67.1 gives this folder.
  expect([code, JSON.parse(stdout)]).toEqual([0, [{ path: "photos", md5: "c8885d1f81c512a55b259834f62cb89c.dir", size: 6, nfiles: 2 }]]);
  expect(await readFile(join(root, ".gitignore"), "utf8")).toBe("/photos\n");
  await rm(join(root, "photos"), { recursive: true });
  await writeFile(join(root, "photos"), "in the way");
  expect((await runServal(root, ["checkout"])).stderr).toContain('E_DATA_UNSAVED: "photos": would be overwritten or removed');
  expect((await runServal(root, ["checkout", "--force"])).code).toBe(0);
  expect(await readFile(join(root, "photos/cat/2.jpg"), "utf8")).toBe("two");
});

test("a path that is not there, is outside, in Git, ignored or inside other data is refused, and nothing is written", async () => {
  await writeFile(join(root, "code.txt"), "x");
  execFileSync("git", ["add", "code.txt"], { cwd: root });
  await writeFile(join(root, ".dvcignore"), "secret\n");
  await writeFile(join(root, "secret"), "x");
  expect((await runServal(root, ["add", "photos"])).code).toBe(0);
  const refused: Record<string, string> = {
    gone: 'E_FILE_NOT_FOUND: "gone" does not exist.',
    "..": "E_DATA_PATH",
    "code.txt": '"code.txt" is in Git.',
    secret: '"secret" is ignored by .dvcignore.',
    "photos/cat": '"photos/cat" overlaps with "photos", which photos.dvc versions already.',
    ".dvc": '".dvc" holds ".dvc", a folder of the tools themselves',
    ".GIT/config": '".GIT/config" holds ".GIT", a folder of the tools themselves',
  };
  for (const [path, message] of Object.entries(refused)) {
    const { code, stderr } = await runServal(root, ["add", path]);
    expect(code, path).not.toBe(0);
    expect(stderr).toContain(message);
  }
  expect((await readdir(root)).filter((name) => name.endsWith(".dvc")).sort()).toEqual([".dvc", "photos.dvc"]);
});

test("in a subfolder of the repository every command says where to run it, and makes nothing", async () => {
  expect((await runServal(root, ["add", "photos"])).code).toBe(0);
  const sub = join(root, "code");
  await mkdir(sub);
  await writeFile(join(sub, "dvc.yaml"), "stages:\n  one:\n    cmd: echo 1 > out.txt\n    outs: [out.txt]\n");
  for (const verb of [["status"], ["push"], ["checkout"], ["repro"], ["add", "dvc.yaml"]]) {
    const { code, stderr } = await runServal(sub, verb);
    expect([verb[0], code, stderr]).toEqual([verb[0], 2, expect.stringContaining(`lies in the repository "${root}"`)]);
  }
  expect(await readdir(sub)).toEqual(["dvc.yaml"]);
});

test("a folder that is not searched for .dvc files is refused", async () => {
  await mkdir(join(root, "ignored/by-git"), { recursive: true });
  await writeFile(join(root, "ignored/by-git/1"), "one");
  await mkdir(join(root, "scratch/by-dvc"), { recursive: true });
  await writeFile(join(root, "scratch/by-dvc/1"), "one");
  await writeFile(join(root, ".gitignore"), "/ignored/\n");
  await writeFile(join(root, ".dvcignore"), "scratch/\n");
  await symlink("photos", join(root, "linked"));
  for (const [path, message] of [
    ["ignored/by-git", 'Git ignores "ignored/by-git.dvc"'],
    ["scratch/by-dvc", 'lies in "scratch", which .dvcignore ignores'],
    ["linked/cat", 'lies behind the link "linked"'],
  ] as const) {
    const { code, stderr } = await runServal(root, ["add", path]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  }
  expect(existsSync(join(root, ".dvc/cache"))).toBe(false);
});

test("what a stage writes is refused, also where a variable names it; a mistake in a dvc.yaml does not prevent adding", async () => {
  await writeFile(join(root, "dvc.yaml"), 'vars:\n  - name: photos\nstages:\n  draw:\n    cmd: go\n    outs: ["${name}"]\n');
  expect((await runServal(root, ["add", "photos"])).stderr).toContain(
    '"photos" overlaps with "photos", which the stage "draw" of dvc.yaml writes.',
  );
  await writeFile(join(root, "dvc.yaml"), "stages:\n  draw:\n    checkpoint: true\n");
  expect((await runServal(root, ["add", "photos"])).code).toBe(0);
});

test("a link to a file counts as the file, a link to a folder inside a folder is left out", async () => {
  await symlink("1.jpg", join(root, "photos/cat/link.jpg"));
  await symlink("cat", join(root, "photos/loop"));
  const { stdout } = await runServal(root, ["add", "photos", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject([{ nfiles: 3, size: 9 }]);
});

test("a dvc.lock whose dvc.yaml is gone does no harm", async () => {
  await writeFile(join(root, "dvc.lock"), "schema: '2.0'\nstages:\n  one:\n    cmd: go\n");
  expect((await runServal(root, ["add", "photos"])).code).toBe(0);
  await rm(join(root, "photos"), { recursive: true });
  expect((await runServal(root, ["checkout"])).stdout).toContain("Checked out 1 of 1 outs.");
});

test("with a full disk nothing is half added, and it works once there is room", async () => {
  await writeFile(join(root, "photos/big.bin"), Buffer.alloc(3_000_000, 7));
  // Files of more than 1,000 KiB cannot be written: for this process the disk is full.
  const full = spawnSync("bash", ["-c", 'ulimit -f 1000; exec "$0" "$@"', process.execPath, main, "add", "photos"], {
    cwd: root,
    encoding: "utf8",
  });
  expect([full.status === 0, full.stderr]).toEqual([false, expect.stringContaining("E_DISK_FULL")]);
  expect(existsSync(join(root, "photos.dvc"))).toBe(false);
  expect((await readFile(join(root, "photos/big.bin"))).length).toBe(3_000_000);
  expect((await runServal(root, ["add", "photos"])).code).toBe(0);
  expect((await runServal(root, ["status", "--json"])).stdout.trim()).toBe("{}");
});
