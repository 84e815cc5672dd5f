import { cp, link, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ingest, type IngestOptions, type IngestReport } from "../../../src/data/ingest.ts";
import { readManifest } from "../../../src/data/manifest.ts";
import { openFolder } from "../../../src/data/sources/folder.ts";
import type { Source, SourceEntry } from "../../../src/data/sources/source.ts";
import { openZip } from "../../../src/data/sources/zip.ts";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { sha256 } from "../../../src/files.ts";
import { defaultImageLimits } from "../../../src/image/check-image.ts";
import { gifOfFrames, jpeg, jpegOfScans } from "../../helpers/pictures.ts";
import { zipFile, type ZipPart } from "../../helpers/zip-file.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-ingest-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const raw = (...path: string[]): string => join(dir, "data/raw", ...path);
const quarantine = (...path: string[]): string => join(dir, "data/quarantine", ...path);

async function run(source: Source, options: Partial<IngestOptions> = {}): Promise<IngestReport> {
  try {
    return await ingest(source, { outDir: raw(), quarantineDir: quarantine(), journalPath: join(dir, ".serval/import.jsonl"), ...options });
  } finally {
    await source.close();
  }
}

async function zip(name: string, parts: readonly ZipPart[]): Promise<Source> {
  await writeFile(join(dir, name), zipFile(parts));
  return await openZip(join(dir, name));
}

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}

async function paths(): Promise<string[]> {
  return (await readManifest(raw())).rows.map((row) => row.path);
}

async function report(): Promise<{ path: string; code: string; message: string }[]> {
  const text = await readFile(quarantine("report.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const { path, code, message } = JSON.parse(line) as { path: string; code: string; message: string };
      return { path, code, message };
    });
}

/** Counts which entries are opened. */
function watched(source: Source): { source: Source; opened: string[] } {
  const opened: string[] = [];
  const entries = async function* (): AsyncGenerator<SourceEntry> {
    for await (const entry of source.entries()) {
      yield {
        ...entry,
        open: () => {
          opened.push(entry.name);
          return entry.open();
        },
      };
    }
  };
  return { source: { ...source, entries }, opened };
}

/** Six pictures and what the public download of this kind has of blemishes. */
async function blemished(): Promise<ZipPart[]> {
  const pictures = await Promise.all(
    ["a", "b", "c", "d", "e", "f"].map(async (name, i) => ({
      name: `set/${i < 3 ? "Cat" : "Dog"}/${name}.jpg`,
      bytes: await jpeg(name),
      deflate: i % 2 === 0,
    })),
  );
  return [
    ...pictures,
    { name: "set/Cat/666.jpg" },
    { name: "set/Dog/Thumbs.db", bytes: Buffer.from("not a picture") },
    { name: "set/Dog/cut.jpg", bytes: pictures[0]!.bytes.subarray(0, 900) },
    { name: "set/Dog/lies.jpg", bytes: pictures[1]!.bytes, claimsCrc: 7 },
    { name: "readme.txt", bytes: Buffer.from("hello") },
  ];
}

describe("importing a zip", () => {
  test("keeps the pictures with their bytes, sets the rest aside with a reason each, and writes the manifest", async () => {
    const parts = await blemished();
    const result = await run(await zip("set.zip", parts));
    expect(result).toMatchObject({ source: "set.zip", kept: 6, reused: 0, counts: { cat: 3, dog: 3 }, changed: true });
    const { rows, dataVersion } = await readManifest(raw());
    expect(result.dataVersion).toBe(dataVersion);
    expect(rows.map((row) => row.path)).toEqual(["cat/a.jpg", "cat/b.jpg", "cat/c.jpg", "dog/d.jpg", "dog/e.jpg", "dog/f.jpg"]);
    expect(rows[0]).toMatchObject({ label: "cat", sha256: sha256(parts[0]!.bytes!), width: 96, height: 72, format: "jpeg" });
    for (const row of rows) expect(sha256(await readFile(raw(row.path)))).toBe(row.sha256);
    expect(await report()).toEqual([
      { path: "readme.txt", code: "E_LABEL_MISSING", message: '"readme.txt" lies in no class folder; it was left where it is.' },
      { path: "set/Cat/666.jpg", code: "E_IMAGE_EMPTY", message: "The image has 0 bytes." },
      { path: "set/Dog/Thumbs.db", code: "E_IMAGE_FORMAT", message: expect.stringContaining("6e 6f 74 20") as string },
      { path: "set/Dog/cut.jpg", code: "E_IMAGE_CORRUPT", message: expect.stringContaining("cannot be decoded") as string },
      { path: "set/Dog/lies.jpg", code: "E_ARCHIVE_CORRUPT", message: '"set/Dog/lies.jpg" in "set.zip" does not match its checksum.' },
    ]);
    expect(result.setAside.map((item) => item.path).sort()).toEqual((await report()).map((item) => item.path));
    expect(await readFile(quarantine("set/Dog/cut.jpg"))).toEqual(parts[8]!.bytes);
    expect(await readFile(quarantine("set/Cat/666.jpg"))).toHaveLength(0);
  });

  test("a second time reads nothing, writes nothing and says so", async () => {
    const parts = await blemished();
    const first = await run(await zip("set.zip", parts));
    const before = await stat(raw("manifest.jsonl"));
    const { source, opened } = watched(await zip("set.zip", parts));
    const second = await run(source);
    expect(second).toMatchObject({ kept: 6, reused: 6, changed: false, dataVersion: first.dataVersion, counts: first.counts });
    expect(second.setAside).toEqual(first.setAside);
    expect(opened).toEqual([]);
    expect((await stat(raw("manifest.jsonl"))).mtimeMs).toBe(before.mtimeMs);
  });

  test("reads again only what changed in the archive, and what is gone or changed in data/raw", async () => {
    const parts = await blemished();
    await run(await zip("set.zip", parts));
    await rm(raw("cat/a.jpg"));
    await writeFile(raw("dog/d.jpg"), "scribbled over");
    const changed = parts.map((part) => (part.name === "set/Cat/b.jpg" ? { ...part, bytes: parts[2]!.bytes! } : part));
    const { source, opened } = watched(await zip("set.zip", changed));
    expect(await run(source)).toMatchObject({ kept: 6, reused: 3, changed: true });
    expect(opened.sort()).toEqual(["set/Cat/a.jpg", "set/Cat/b.jpg", "set/Dog/d.jpg"]);
    for (const row of (await readManifest(raw())).rows) expect(sha256(await readFile(raw(row.path)))).toBe(row.sha256);
  });

  test("a picture that was broken and is whole now leaves the quarantine; one that broke leaves data/raw", async () => {
    const parts = await blemished();
    await run(await zip("set.zip", parts));
    const changed = parts.map((part) => {
      if (part.name === "set/Dog/cut.jpg") return { ...part, bytes: parts[0]!.bytes! };
      return part.name === "set/Cat/a.jpg" ? { ...part, bytes: Buffer.from("broken") } : part;
    });
    await run(await zip("set.zip", changed));
    expect(await paths()).toEqual(["cat/b.jpg", "cat/c.jpg", "dog/cut.jpg", "dog/d.jpg", "dog/e.jpg", "dog/f.jpg"]);
    expect((await report()).map((item) => item.path)).toContain("set/Cat/a.jpg");
    expect((await report()).map((item) => item.path)).not.toContain("set/Dog/cut.jpg");
    await expect(stat(raw("cat/a.jpg"))).rejects.toThrow("ENOENT");
    await expect(stat(quarantine("set/Dog/cut.jpg"))).rejects.toThrow("ENOENT");
  });

  test("stopped halfway, continues where it stopped", async () => {
    const parts = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => ({ name: `set/a/${i}.jpg`, bytes: await jpeg(`stop ${i}`, 24, 24) })),
    );
    const controller = new AbortController();
    const stopped = run(await zip("set.zip", parts), {
      signal: controller.signal,
      onProgress: (done) => {
        if (done === 25) controller.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGINT."));
      },
    });
    await expect(stopped).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    await expect(readManifest(raw())).rejects.toMatchObject({ code: "E_MANIFEST_MISSING" });
    const { source, opened } = watched(await zip("set.zip", parts));
    expect(await run(source)).toMatchObject({ kept: 40, reused: 25 });
    expect(opened).toHaveLength(15);
  });

  test("killed while a file was written, writes that file again", async () => {
    const bytes = await jpeg("killed");
    await put(raw("a/1.jpg"), bytes.subarray(0, 300));
    await run(await zip("set.zip", [{ name: "set/a/1.jpg", bytes }]));
    expect(await readdir(raw("a"))).toEqual(["1.jpg"]);
    expect(await readFile(raw("a/1.jpg"))).toEqual(bytes);
  });

  test("an archive with an unsafe entry leaves nothing behind", async () => {
    const opening = zip("evil.zip", [
      { name: "set/a/1.jpg", bytes: await jpeg("x") },
      { name: "../../outside.jpg", bytes: await jpeg("x") },
    ]);
    await expect(opening).rejects.toMatchObject({ code: "E_ARCHIVE_UNSAFE" });
    expect((await readdir(dir)).sort()).toEqual(["evil.zip"]);
  });

  test("a source without a readable picture is an error that counts what was there", async () => {
    await expect(
      run(
        await zip("set.zip", [
          { name: "a/1.jpg", bytes: Buffer.from("no") },
          { name: "b/2.txt", bytes: Buffer.from("no") },
        ]),
      ),
    ).rejects.toMatchObject({
      code: "E_SOURCE_EMPTY",
      message: '"set.zip" holds 2 files, none of them a readable picture in a class folder.',
    });
    expect((await report()).map((item) => item.code)).toEqual(["E_IMAGE_FORMAT", "E_IMAGE_FORMAT"]);
  });

  test("a picture that takes too long to decode is set aside, and tried again by the next import", async () => {
    await put(join(dir, "set/a/1.jpg"), await jpeg("1"));
    await put(join(dir, "set/a/2.jpg"), jpegOfScans(8000, 8000, 2600));
    await put(join(dir, "set/b/3.gif"), gifOfFrames(10_001));
    const limits = { ...defaultImageLimits, maxDecodeMs: 100 };
    const result = await run(await openFolder(join(dir, "set")), { limits });
    expect(result).toMatchObject({
      kept: 1,
      setAside: [
        { path: "a/2.jpg", code: "E_IMAGE_COST" },
        { path: "b/3.gif", code: "E_IMAGE_FRAMES" },
      ],
    });
    expect((await report()).map(({ code }) => code)).toEqual(["E_IMAGE_COST", "E_IMAGE_FRAMES"]);
    const again = watched(await openFolder(join(dir, "set")));
    await run(again.source, { limits });
    expect(again.opened).toEqual(["a/2.jpg"]);
  });

  test("a file over the byte limit is set aside without being stored", async () => {
    const result = await run(
      await zip("set.zip", [
        { name: "a/1.jpg", bytes: await jpeg("small", 16, 16) },
        { name: "a/2.jpg", bytes: Buffer.alloc(9000) },
      ]),
      {
        limits: { maxBytes: 5000, maxPixels: 1e6 },
      },
    );
    expect(result.setAside).toEqual([
      { path: "a/2.jpg", code: "E_IMAGE_BYTES", message: '"a/2.jpg" has 9000 bytes; at most 5000 are read.' },
    ]);
    await expect(stat(quarantine("a/2.jpg"))).rejects.toThrow("ENOENT");
  });
});

describe("names that meet", () => {
  test("Cat/ and cat/ are one class, and of two files that would get one name both are kept", async () => {
    const [one, two] = [await jpeg("one"), await jpeg("two")];
    const parts = [
      { name: "Cat/1.jpg", bytes: one },
      { name: "cat/1.jpg", bytes: two },
    ];
    await run(await zip("set.zip", parts));
    const found = await paths();
    expect(found).toEqual(["cat/1.jpg", expect.stringMatching(/^cat\/1~[0-9a-f]{8}\.jpg$/)]);
    expect(await readFile(raw("cat/1.jpg"))).toEqual(one);
    expect(await readFile(raw(found[1]!))).toEqual(two);
    expect(await run(await zip("set.zip", parts))).toMatchObject({ changed: false, reused: 2 });
  });

  test("two sources add to each other, also where they use the same names", async () => {
    const [one, two] = [await jpeg("one"), await jpeg("two")];
    await run(await zip("one.zip", [{ name: "a/1.jpg", bytes: one }]));
    const second = await run(
      await zip("two.zip", [
        { name: "a/1.jpg", bytes: two },
        { name: "b/2.jpg", bytes: one },
      ]),
    );
    expect(second).toMatchObject({ kept: 2, counts: { a: 2, b: 1 } });
    expect(await readFile(raw("a/1.jpg"))).toEqual(one);
    expect(await paths()).toHaveLength(3);
  });

  test("an archive that was moved elsewhere is known again", async () => {
    const parts = await blemished();
    await run(await zip("set.zip", parts));
    await mkdir(join(dir, "elsewhere"));
    await rename(join(dir, "set.zip"), join(dir, "elsewhere/set.zip"));
    expect(await run(await openZip(join(dir, "elsewhere/set.zip")))).toMatchObject({ changed: false, reused: 6 });
  });

  test("a file of the user's in data/raw is never overwritten", async () => {
    // Smaller than the other, as the beginning of it that a killed import leaves would be.
    const mine = await jpeg("mine", 24, 24);
    await put(raw("a/1.jpg"), mine);
    const other = await jpeg("other");
    await run(await zip("set.zip", [{ name: "a/1.jpg", bytes: other }]));
    expect(await readFile(raw("a/1.jpg"))).toEqual(mine);
    const [path] = await paths();
    expect(path).toMatch(/^a\/1~[0-9a-f]{8}\.jpg$/);
    expect(await readFile(raw(path!))).toEqual(other);
  });
});

describe("importing a folder", () => {
  test("gives the manifest that the same files in a zip give", async () => {
    const parts = await blemished();
    await run(await zip("set.zip", parts));
    const fromZip = await readFile(raw("manifest.jsonl"), "utf8");
    for (const part of parts) await put(join(dir, "source", part.name), part.bytes ?? new Uint8Array());
    await rm(raw(), { recursive: true });
    // The wrong checksum is a thing of the archive; on disk the file is a good one.
    await rm(join(dir, "source/set/Dog/lies.jpg"));
    await run(await openFolder(join(dir, "source")));
    expect(await readFile(raw("manifest.jsonl"), "utf8")).toBe(fromZip);
  });

  test("reads a file again when its time or size changed", async () => {
    for (const name of ["a/1.jpg", "b/2.jpg"]) await put(join(dir, "source", name), await jpeg(name));
    await run(await openFolder(join(dir, "source")));
    await utimes(join(dir, "source/a/1.jpg"), new Date(), new Date(Date.now() - 60_000));
    const { source, opened } = watched(await openFolder(join(dir, "source")));
    expect(await run(source)).toMatchObject({ kept: 2, reused: 1 });
    expect(opened).toEqual(["a/1.jpg"]);
  });

  test("data/raw itself is checked in place: added files join the manifest, deleted ones leave it, broken ones are moved", async () => {
    for (const name of ["a/1.jpg", "b/2.jpg"]) await put(join(dir, "source", name), await jpeg(name));
    await run(await openFolder(join(dir, "source")));
    await put(raw("B/3.jpg"), await jpeg("three"));
    await put(raw("a/bad.jpg"), Buffer.from("bad"));
    await rm(raw("b/2.jpg"));
    const result = await run(await openFolder(raw()));
    expect(result).toMatchObject({ counts: { a: 1, b: 1 }, kept: 2 });
    const { rows } = await readManifest(raw());
    expect(rows.map(({ path, label }) => [path, label])).toEqual([
      ["B/3.jpg", "b"],
      ["a/1.jpg", "a"],
    ]);
    expect(await readFile(quarantine("a/bad.jpg"), "utf8")).toBe("bad");
    await expect(stat(raw("a/bad.jpg"))).rejects.toThrow("ENOENT");
    expect(await run(await openFolder(raw()))).toMatchObject({ changed: false });
  });

  test("what one source set aside stays when another has a file of that name, whole or broken", async () => {
    await put(raw("a/1.jpg"), await jpeg("one"));
    await put(raw("a/bad.jpg"), Buffer.from("the only copy"));
    await run(await openFolder(raw()));
    // Whole, in another source; then broken, in a third.
    await run(await zip("other.zip", [{ name: "a/bad.jpg", bytes: await jpeg("bad") }]));
    await expect(run(await zip("third.zip", [{ name: "a/bad.jpg", bytes: Buffer.from("third") }]))).rejects.toMatchObject({
      code: "E_SOURCE_EMPTY",
    });
    expect(await readFile(quarantine("a/bad.jpg"), "utf8")).toBe("the only copy");
    const [first, second] = (await report()).map(({ path }) => path) as [string, string];
    expect([first, second]).toEqual(["a/bad.jpg", expect.stringMatching(/^a\/bad~[0-9a-f]{8}\.jpg$/)]);
    expect(await readFile(quarantine(second), "utf8")).toBe("third");
    // A whole one in its place in data/raw itself: the broken one is still the only copy of what it was.
    await put(raw("a/bad.jpg"), await jpeg("repaired"));
    await run(await openFolder(raw()));
    expect((await report()).map(({ path }) => path)).toEqual([second]);
    expect(await readFile(quarantine("a/bad.jpg"), "utf8")).toBe("the only copy");
  });

  test("a folder around data/raw is refused, because it would import its own copies", async () => {
    await put(raw("a/1.jpg"), await jpeg("one"));
    await expect(run(await openFolder(dir))).rejects.toMatchObject({
      code: "E_SOURCE",
      message: expect.stringContaining("lies within the source") as string,
    });
  });

  test("links that leave the source are not followed", async () => {
    await put(join(dir, "outside/secret.jpg"), await jpeg("secret"));
    await put(join(dir, "source/a/1.jpg"), await jpeg("one"));
    await cp(join(dir, "outside"), join(dir, "source/b"), { recursive: true });
    await symlink(join(dir, "outside"), join(dir, "source/linked"));
    await symlink(join(dir, "outside/secret.jpg"), join(dir, "source/a/link.jpg"));
    await run(await openFolder(join(dir, "source")));
    expect(await paths()).toEqual(["a/1.jpg", "b/secret.jpg"]);
  });
});

describe("files that came with a repository lead no import elsewhere", () => {
  const parts = async (): Promise<ZipPart[]> => [
    { name: "set/a/1.jpg", bytes: await jpeg("one") },
    { name: "set/b/2.jpg", bytes: Buffer.from("broken") },
  ];
  const line = (name: string, path: string): string =>
    `${JSON.stringify({ source: "zip:set.zip", name, version: "old", row: { path, label: "a", sha256: "0".repeat(64), dhash: "0".repeat(16), width: 1, height: 1, format: "jpeg" } })}\n`;

  test("by rows of the journal: nothing is written, and nothing removed", async () => {
    await put(join(dir, "diary.jpg"), Buffer.from("mine"));
    await put(
      join(dir, ".serval/import.jsonl"),
      Buffer.from(line("set/a/1.jpg", "../../written.jpg") + line("set/b/2.jpg", "../../diary.jpg")),
    );
    await run(await zip("set.zip", await parts()));
    expect((await readdir(dir)).sort()).toEqual([".serval", "data", "diary.jpg", "set.zip"]);
    expect(await readFile(join(dir, "diary.jpg"), "utf8")).toBe("mine");
    expect(await paths()).toEqual(["a/1.jpg"]);
  });

  test("by a journal that is a link", async () => {
    await put(join(dir, "diary"), Buffer.from("mine"));
    await mkdir(join(dir, ".serval"));
    await symlink("../diary", join(dir, ".serval/import.jsonl"));
    await run(await zip("set.zip", await parts()));
    expect(await readFile(join(dir, "diary"), "utf8")).toBe("mine");
  });

  test.each(["data/raw/a", "data/quarantine/set"])("by %s, a link", async (path) => {
    await mkdir(join(dir, "victim"));
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await symlink(join(dir, "victim"), join(dir, path));
    await expect(run(await zip("set.zip", await parts()))).rejects.toMatchObject({
      code: "E_PATH_LINK",
      message: expect.stringContaining("is a link to") as string,
    });
    expect(await readdir(join(dir, "victim"))).toEqual([]);
  });

  test("by a file that is a link, or one file with an object of the cache", async () => {
    await put(join(dir, "diary"), Buffer.alloc(0));
    await put(raw("a/other"), Buffer.alloc(0));
    await symlink(join(dir, "diary"), raw("a/1.jpg"));
    await run(await zip("set.zip", await parts()));
    expect(await readFile(join(dir, "diary"), "utf8")).toBe("");
    expect((await lstat(raw("a/1.jpg"))).isFile()).toBe(true);
    // A second picture takes the place of the first one, which a cache also knows by another name.
    await link(raw("a/1.jpg"), join(dir, "object"));
    const before = await readFile(join(dir, "object"));
    await run(await zip("set.zip", [{ name: "set/a/1.jpg", bytes: await jpeg("two") }]));
    expect(await readFile(join(dir, "object"))).toEqual(before);
    expect(await readFile(raw("a/1.jpg"))).toEqual(await jpeg("two"));
  });

  test("by the report of the quarantine: it removes nothing outside", async () => {
    await put(join(dir, "data/diary"), Buffer.from("mine"));
    await put(
      quarantine("report.jsonl"),
      Buffer.from(`${JSON.stringify({ path: "../diary", code: "E", message: "m", source: "zip:set.zip" })}\n`),
    );
    await run(await zip("set.zip", await parts()));
    expect(await readFile(join(dir, "data/diary"), "utf8")).toBe("mine");
    expect((await report()).map(({ path }) => path)).toEqual(["set/b/2.jpg"]);
  });
});
