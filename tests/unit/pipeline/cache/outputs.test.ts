import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ServalError } from "../../../../src/errors/serval-error.ts";
import type { OutputCache } from "../../../../src/pipeline/cache/output-cache.ts";
import { openOutputCache } from "../../../../src/pipeline/cache/outputs.ts";
import { temporaryPrefix } from "../../../../src/pipeline/cache/temporary-folder.ts";

let root: string;
let cache: OutputCache;
const md5 = (text: string): string => createHash("md5").update(text).digest("hex");
const objectOf = (hash: string): string => join(root, ".dvc/cache/files/md5", hash.slice(0, 2), hash.slice(2));

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

async function reopen(config = ""): Promise<void> {
  cache.close();
  await write({ ".dvc/config": config });
  cache = await openOutputCache(root);
}

/** Flips one bit of an object without a trace in its times or mode. */
async function flipBit(path: string): Promise<void> {
  const { atime, mtime } = await stat(path);
  await chmod(path, 0o644);
  const bytes = await readFile(path);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  await writeFile(path, bytes);
  await utimes(path, atime, mtime);
  await chmod(path, 0o444);
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "serval-cache-"));
  cache = await openOutputCache(root);
});
afterEach(async () => {
  cache.close();
  await rm(root, { recursive: true, force: true });
});

describe("the hash of an out", () => {
  test("is the MD5 of a file, and for a folder the MD5 of DVC's list of its files", async () => {
    await write({ "a.txt": "one", "set/b/2.txt": "two", "set/a.txt": "one" });
    const list = `[{"md5": "${md5("one")}", "relpath": "a.txt"}, {"md5": "${md5("two")}", "relpath": "b/2.txt"}]`;
    expect(await cache.hash("a.txt")).toEqual({ path: "a.txt", md5: md5("one"), size: 3 });
    expect(await cache.hash("set")).toEqual({ path: "set", md5: `${md5(list)}.dir`, size: 6, nfiles: 2 });
    expect(await cache.hash("gone")).toBeNull();
  });

  test("follows a change of a file, and a second writer of the same size", async () => {
    await write({ "set/a": "one" });
    const before = await cache.hash("set");
    await write({ "set/a": "two" });
    expect(await cache.hash("set")).not.toEqual(before);
    await write({ "set/a": "one" });
    expect(await cache.hash("set")).toEqual(before);
  });

  test("does not read a file again whose time, inode and size are known", async () => {
    await write({ "set/a": "one" });
    const old = new Date(Date.now() - 60_000);
    await utimes(join(root, "set/a"), old, old);
    const before = await cache.hash("set");
    await flipBit(join(root, "set/a"));
    expect(await cache.hash("set")).toEqual(before);
  });

  test("leaves out what .dvcignore names, and links to folders; a link to a file counts as the file", async () => {
    await write({
      ".dvcignore": "*.log\n!keep.log\n/set/cache/\n",
      "set/a": "one",
      "set/x.log": "-",
      "set/keep.log": "k",
      "set/cache/c": "-",
    });
    await symlink("a", join(root, "set/link"));
    await symlink(".", join(root, "set/loop"));
    await cache.store("set");
    const hash = (await cache.hash("set"))?.md5 ?? "";
    expect(cache.entries(hash)?.map(({ relpath }) => relpath)).toEqual(["a", "keep.log", "link"]);
  });

  test("names a link that leads nowhere", async () => {
    await write({ "set/a": "one" });
    await symlink("gone", join(root, "set/link"));
    await expect(cache.hash("set")).rejects.toMatchObject({
      code: "E_DATA_PATH",
      message: '"set/link" is a link to a file that is not there.',
    });
  });
});

describe("store and restore", () => {
  test("keep read-only objects under DVC's names, and bring the same bytes back", async () => {
    const files = Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`set/${i % 7}/${i}.txt`, `file ${i % 300}`]));
    await write(files);
    const entry = await cache.store("set");
    expect(entry).toMatchObject({ path: "set", nfiles: 600 });
    expect((await stat(objectOf(md5("file 7")))).mode & 0o777).toBe(0o444);
    expect((await stat(objectOf(entry.md5))).mode & 0o777).toBe(0o444);
    expect(await cache.has(entry.md5)).toBe(true);
    await rm(join(root, "set"), { recursive: true });
    expect(await cache.restore(entry)).toBe(true);
    expect(await readFile(join(root, "set/3/10.txt"), "utf8")).toBe("file 10");
    expect(await cache.hash("set")).toEqual(entry);
    expect((await stat(join(root, "set/3/10.txt"))).mode & 0o200).toBe(0o200);
    expect((await readdir(join(root, ".dvc/cache/files"))).sort()).toEqual(["md5"]);
    expect(await readdir(join(root, ".dvc/tmp"))).toEqual([]);
  });

  test("take any ordinary name: spaces, quotes, NFC and NFD, beyond the BMP, 255 bytes", async () => {
    const names = ["a b", 'q"', "\u00e9", "e\u0301", "\u{1f981}", "\uffee", "12:30", "Dr.", "x".repeat(255), "日".repeat(85)];
    await write(Object.fromEntries(names.map((name) => [`set/${name}`, name])));
    const entry = await cache.store("set");
    const text = await readFile(objectOf(entry.md5), "utf8");
    expect(text).toContain('"relpath": "q\\""');
    // By code points: U+FFEE before U+1F981, which UTF-16 has the other way round.
    expect(text.indexOf("\\uffee")).toBeLessThan(text.indexOf("\\ud83e\\udd81"));
    await rm(join(root, "set"), { recursive: true });
    expect(await cache.restore(entry)).toBe(true);
    for (const name of names) expect(await readFile(join(root, "set", name), "utf8")).toBe(name);
  });

  test.each(["new\nline", "\u007f", "back\\slash", "aux.txt", ".serval/x"])(
    "refuse the name %j, and put nothing into the cache",
    async (name) => {
      await write({ [`set/${name}`]: "x" });
      await expect(cache.store("set")).rejects.toMatchObject({
        code: "E_DATA_PATH",
        message: expect.stringContaining(`${JSON.stringify(`set/${name}`)} holds `) as string,
      });
      expect(existsSync(objectOf(createHash("md5").update("x").digest("hex")))).toBe(false);
    },
  );

  test("remove what the entry does not hold, and refuse to lose what the cache lacks", async () => {
    await write({ "set/a": "one", "set/b": "two" });
    const first = await cache.store("set");
    await write({ "set/c/d": "three" });
    await expect(cache.restore(first)).rejects.toMatchObject({ code: "E_DATA_UNSAVED", details: { paths: ["set/c/d"] } });
    expect(await readFile(join(root, "set/c/d"), "utf8")).toBe("three");
    await cache.store("set");
    expect(await cache.restore(first)).toBe(true);
    expect((await readdir(join(root, "set"))).sort()).toEqual(["a", "b"]);
    await write({ "set/a": "edited" });
    expect(await cache.restore(first, { force: true })).toBe(true);
    expect(await readFile(join(root, "set/a"), "utf8")).toBe("one");
  });

  test("change nothing where the cache lacks an object", async () => {
    await write({ "set/a": "one", "set/b": "two" });
    const entry = await cache.store("set");
    await rm(objectOf(md5("two")), { force: true });
    expect(await cache.has(entry.md5)).toBe(false);
    await rm(join(root, "set"), { recursive: true });
    expect(await cache.restore(entry)).toBe(false);
    await expect(stat(join(root, "set"))).rejects.toThrow("ENOENT");
  });

  test("replace a file by a folder and back", async () => {
    await write({ out: "a file" });
    const file = await cache.store("out");
    await rm(join(root, "out"));
    await write({ "out/a": "in a folder" });
    const folder = await cache.store("out");
    expect(await cache.restore(file)).toBe(true);
    expect(await readFile(join(root, "out"), "utf8")).toBe("a file");
    expect(await cache.restore(folder)).toBe(true);
    expect(await readFile(join(root, "out/a"), "utf8")).toBe("in a folder");
  });

  test("find an object with a flipped bit, name it and the file, and set it aside", async () => {
    await write({ "set/a": "one", "set/b": "two" });
    const entry = await cache.store("set");
    await flipBit(objectOf(md5("two")));
    await rm(join(root, "set"), { recursive: true });
    const failure = await cache.restore(entry).then(String, (error: Error) => error);
    expect(failure).toMatchObject({ code: "E_CACHE_CORRUPT", details: { objects: [md5("two")] } });
    expect(String(failure)).toContain("(set/b): expected the MD5 " + md5("two"));
    await expect(stat(join(root, "set/b"))).rejects.toThrow("ENOENT");
    expect(await readdir(join(root, ".dvc/tmp/corrupt"))).toEqual([md5("two")]);
    expect(await cache.has(entry.md5)).toBe(false);
  });

  test.each(["hardlink", "symlink", "copy", "reflink,copy"])("link the workspace to the cache as %s", async (type) => {
    await reopen(`[cache]\n    type = ${type}\n`);
    await write({ "set/a": "one", "set/b": "one", "set/empty": "" });
    const entry = await cache.store("set");
    const check = async (): Promise<void> => {
      const object = await stat(objectOf(md5("one")));
      const linked = (await stat(join(root, "set/b"))).ino === object.ino;
      expect(linked).toBe(type === "hardlink" || type === "symlink");
      expect((await lstat(join(root, "set/b"))).isSymbolicLink()).toBe(type === "symlink");
      expect(await cache.hash("set")).toEqual(entry);
    };
    await check();
    await rm(join(root, "set"), { recursive: true });
    expect(await cache.restore(entry)).toBe(true);
    await check();
  });

  test.each(["hardlink", "symlink"])("never put a damaged object in the place of a good file (%s)", async (type) => {
    await reopen(`[cache]\n    type = ${type}\n`);
    for (const mode of [0o444, 0o644]) {
      await write({ "d.bin": "good" });
      await cache.store("d.bin");
      await flipBit(objectOf(md5("good")));
      await chmod(objectOf(md5("good")), mode);
      await rm(join(root, "d.bin"));
      await write({ "d.bin": "good" });
      // The object that looks whole is moved away; the one that does not is replaced at once.
      const outcome = await cache.store("d.bin").catch((error: ServalError) => error.code);
      expect(outcome).toEqual(mode === 0o444 ? "E_CACHE_CORRUPT" : { path: "d.bin", md5: md5("good"), size: 4 });
      expect(await readFile(join(root, "d.bin"), "utf8")).toBe("good");
      await cache.store("d.bin");
      expect(await readFile(objectOf(md5("good")), "utf8")).toBe("good");
      await rm(join(root, "d.bin"));
      await rm(join(root, ".dvc/cache"), { recursive: true });
    }
  });

  test("write through no link to a folder inside the out, unless forced, and then remove the link alone", async () => {
    await write({ "set/a/x": "recorded", "elsewhere/x": "somebody's" });
    const entry = await cache.store("set");
    await rm(join(root, "set/a"), { recursive: true });
    await symlink("../elsewhere", join(root, "set/a"));
    await expect(cache.restore(entry)).rejects.toMatchObject({
      code: "E_DATA_UNSAVED",
      message: expect.stringContaining('"set/a" is a link') as string,
    });
    expect(await readFile(join(root, "elsewhere/x"), "utf8")).toBe("somebody's");
    expect(await cache.restore(entry, { force: true })).toBe(true);
    expect([await readFile(join(root, "elsewhere/x"), "utf8"), await readFile(join(root, "set/a/x"), "utf8")]).toEqual([
      "somebody's",
      "recorded",
    ]);
  });

  test("restore the right to execute", async () => {
    await write({ "run.sh": "true" });
    await chmod(join(root, "run.sh"), 0o755);
    const entry = await cache.store("run.sh");
    expect(entry).toEqual({ path: "run.sh", md5: md5("true"), size: 4, isexec: true });
    await rm(join(root, "run.sh"));
    await cache.restore(entry);
    expect((await stat(join(root, "run.sh"))).mode & 0o100).toBe(0o100);
  });

  test("clear away what a killed process left, and nothing of one that runs", async () => {
    const dead = Number(execFileSync(process.execPath, ["-p", "process.pid"], { encoding: "utf8" }));
    // The second runs, and whether the third does is not to be seen from this machine.
    const left = [`${temporaryPrefix(dead)}x`, `${temporaryPrefix(process.ppid)}y`, `serval-${dead}-0000aaaa-z`];
    await write({ a: "one", ...Object.fromEntries(left.map((name) => [`.dvc/cache/files/${name}/half`, "ha"])) });
    await cache.store("a");
    expect((await readdir(join(root, ".dvc/cache/files"))).sort()).toEqual(["md5", ...left.slice(1)].sort());
  });

  test("continue with an empty state where the state database is damaged", async () => {
    await write({ a: "one" });
    cache.close();
    await write({ ".serval/hashes.sqlite": "this is not a database at all, but it is long enough to be taken for one".repeat(20) });
    cache = await openOutputCache(root);
    expect(await cache.hash("a")).toEqual({ path: "a", md5: md5("one"), size: 3 });
  });
});
