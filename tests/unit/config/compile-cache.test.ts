import { execFile } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";

// Node runs the compiled code that it finds in this folder without comparing it with the source.
const main = join(import.meta.dirname, "../../../src/cli/main.ts");
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-compiled-"));
  await mkdir(join(dir, "tmp"));
});
afterEach(async () => await rm(dir, { recursive: true }));

async function start(env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [main, "init", "--help"], {
    env: { PATH: process.env["PATH"], HOME: join(dir, "home"), TMPDIR: join(dir, "tmp"), ...env },
  });
  expect(await readdir(join(dir, "tmp"))).toEqual([]);
  return stdout;
}

async function expectCached(folder: string): Promise<void> {
  const [version] = await readdir(folder);
  expect((await readdir(join(folder, version ?? ""))).length).toBeGreaterThan(3);
}

test("compiled modules are kept in the user's cache, which other users cannot read", async () => {
  await start();
  await expectCached(join(dir, "home/.cache/serval/compiled"));
  expect((await stat(join(dir, "home/.cache/serval"))).mode & 0o777).toBe(0o700);
});

test("they are kept below XDG_CACHE_HOME, or where NODE_COMPILE_CACHE says", async () => {
  await start({ XDG_CACHE_HOME: join(dir, "xdg") });
  await expectCached(join(dir, "xdg/serval/compiled"));
  await start({ NODE_COMPILE_CACHE: join(dir, "named") });
  await expectCached(join(dir, "named"));
  await expect(stat(join(dir, "home"))).rejects.toThrow("ENOENT");
});

test("a folder that another user could fill is not used", async () => {
  const folder = join(dir, "home/.cache/serval");
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o777);
  await start();
  await chmod(folder, 0o700);
  // Only root can give a folder away; other users get the same test with a folder that everyone can write to.
  await (process.getuid?.() === 0 ? chown(folder, 12_345, 12_345) : chmod(folder, 0o770));
  await start();
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true });
  await mkdir(join(dir, "elsewhere"));
  await symlink(join(dir, "elsewhere"), folder);
  await start();
  expect(await readdir(join(dir, "elsewhere"))).toEqual([]);
});

test("Serval starts even without a writable home folder", async () => {
  expect(await start({ HOME: "/dev/null" })).toContain("Usage: serval init");
});
