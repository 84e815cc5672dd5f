import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ServalError } from "../../../src/errors/serval-error.ts";
import { readEntry, type Source } from "../../../src/data/sources/source.ts";
import { openZip } from "../../../src/data/sources/zip.ts";
import { defaultZipLimits, type ZipLimits } from "../../../src/data/sources/zip-directory.ts";
import { isSafePath } from "../../../src/safe-path.ts";
import { zipFile, type ZipPart } from "../../helpers/zip-file.ts";

let dir: string;
let count = 0;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-zip-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function open(parts: readonly ZipPart[] | Buffer, limits?: Partial<ZipLimits>): Promise<Source> {
  const path = join(dir, `${++count}.zip`);
  await writeFile(path, Buffer.isBuffer(parts) ? parts : zipFile(parts));
  return await openZip(path, { title: "set.zip", limits: { ...defaultZipLimits, ...limits } });
}

/** The error that opening gives, as `CODE: message`. */
async function refusal(parts: readonly ZipPart[] | Buffer, limits?: Partial<ZipLimits>): Promise<string> {
  try {
    const source = await open(parts, limits);
    await source.close();
    return "opened";
  } catch (error) {
    return `${(error as { code: string }).code}: ${(error as Error).message}`;
  }
}

async function contents(source: Source): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const entry of source.entries())
    found[entry.name] = Buffer.from(await readEntry(entry, 1e9))
      .toString("latin1")
      .slice(0, 20);
  await source.close();
  return found;
}

const text = (value: string): Buffer => Buffer.from(value);

describe("an archive", () => {
  test("gives its entries with label, path and bytes, stored or deflated", async () => {
    const source = await open([
      { name: "set/Cat/1.jpg", bytes: text("stored") },
      { name: "set/Dog/" },
      { name: "set/Dog/2.jpg", bytes: text("deflated".repeat(1000)), deflate: true },
      { name: "set/Dog/empty.jpg" },
      { name: "__MACOSX/set/Dog/._2.jpg", bytes: text("x") },
      { name: "readme.txt", bytes: text("hello") },
    ]);
    expect(source.count).toBe(4);
    const entries = await Array.fromAsync(source.entries());
    expect(entries.map(({ name, label, path, sizeBytes }) => ({ name, label, path, sizeBytes }))).toEqual([
      { name: "set/Cat/1.jpg", label: "cat", path: "cat/1.jpg", sizeBytes: 6 },
      { name: "set/Dog/2.jpg", label: "dog", path: "dog/2.jpg", sizeBytes: 8000 },
      { name: "set/Dog/empty.jpg", label: "dog", path: "dog/empty.jpg", sizeBytes: 0 },
      { name: "readme.txt", label: undefined, path: undefined, sizeBytes: 5 },
    ]);
    expect(await contents(source)).toEqual({
      "set/Cat/1.jpg": "stored",
      "set/Dog/2.jpg": "deflateddeflateddefl",
      "set/Dog/empty.jpg": "",
      "readme.txt": "hello",
    });
  });

  test("reads entries larger than the read-ahead, many at a time", async () => {
    const large = createHash("shake256", { outputLength: 3_000_000 }).digest();
    const source = await open(Array.from({ length: 4 }, (_, i) => ({ name: `a/${i}.jpg`, bytes: large, deflate: i % 2 === 0 })));
    const entries = await Array.fromAsync(source.entries());
    const read = await Promise.all(entries.map((entry) => readEntry(entry, 1e9)));
    expect(read.map((bytes) => large.equals(bytes))).toEqual([true, true, true, true]);
    await source.close();
  });

  test("made on Windows, with backslashes, is read like any other", async () => {
    expect(await contents(await open([{ name: "set\\cat\\1.jpg", bytes: text("x") }]))).toEqual({ "set/cat/1.jpg": "x" });
  });
});

describe("an archive that would write elsewhere is refused whole", () => {
  test.each([
    ["../evil.jpg"],
    ["set/../../evil.jpg"],
    ["set\\..\\..\\evil.jpg"],
    ["/etc/evil.jpg"],
    ["C:/evil.jpg"],
    ["\\\\server\\evil.jpg"],
  ])("for the name %s", async (name) => {
    expect(
      await refusal([
        { name: "set/cat/1.jpg", bytes: text("x") },
        { name, bytes: text("x") },
      ]),
    ).toMatch(/^E_ARCHIVE_UNSAFE: "set\.zip" holds an entry with an (absolute|invalid relative) path: ".*evil\.jpg"\.$/);
  });

  test("for a symbolic link or a device", async () => {
    expect(await refusal([{ name: "set/cat/1.jpg", bytes: text("/etc/passwd"), unixMode: 0o120777 }])).toBe(
      'E_ARCHIVE_UNSAFE: "set.zip" holds "set/cat/1.jpg", which is a symbolic link; expected files.',
    );
    expect(await refusal([{ name: "set/cat/1.jpg", unixMode: 0o020666 }])).toContain("which is a device");
    expect(await refusal([{ name: "set/cat/1.jpg", bytes: text("x"), unixMode: 0o100644 }])).toBe("opened");
  });

  test("for a name with a zero byte", async () => {
    expect(await refusal([{ name: "set/cat/1.jpg\0.png" }])).toContain("E_ARCHIVE_UNSAFE");
  });
});

describe("a zip bomb is refused", () => {
  const claims = (bytes: number): ZipPart => ({ name: "set/cat/1.jpg", bytes: text("tiny"), deflate: true, claimsBytes: bytes });

  test("when entries claim 100 GB in all, before anything is unpacked", async () => {
    const parts = Array.from({ length: 25 }, (_, i) => ({ ...claims(4_000_000_000), name: `set/cat/${i}.jpg` }));
    expect(await refusal(parts)).toMatch(
      /^E_ARCHIVE_LIMITS: "set\.zip" declares 4000000000 bytes for "set\/cat\/0\.jpg"; at most 268435456 are read\.$/,
    );
    expect(await refusal(parts, { maxEntryBytes: 1e12, maxRatio: 1e12 })).toMatch(
      /^E_ARCHIVE_LIMITS: "set\.zip" has \d+ bytes and declares more than 72000000000 unpacked/,
    );
  });

  test("when an entry shrinks more than a picture can", async () => {
    const bytes = Buffer.alloc(2_000_000);
    expect(await refusal([{ name: "set/cat/1.jpg", bytes, deflate: true }])).toMatch(
      /^E_ARCHIVE_LIMITS: "set\.zip" packs 2000000 bytes of "set\/cat\/1\.jpg" into \d+; at most 200 times/,
    );
  });

  test("when many small entries shrink so much together", async () => {
    const bytes = Buffer.alloc(1_000_000);
    expect(await refusal(Array.from({ length: 3 }, (_, i) => ({ name: `set/cat/${i}.jpg`, bytes, deflate: true })))).toContain(
      "E_ARCHIVE_LIMITS",
    );
  });

  test("when it has more entries than the limit", async () => {
    expect(await refusal([claims(4), { ...claims(4), name: "set/cat/2.jpg" }], { maxEntries: 1 })).toBe(
      'E_ARCHIVE_LIMITS: "set.zip" declares 2 entries; at most 1 are read.',
    );
  });

  test("when an entry holds more than it declares: it ends with an error, not with the surplus", async () => {
    const source = await open([{ name: "set/cat/1.jpg", bytes: Buffer.alloc(5_000_000, "xyz"), deflate: true, claimsBytes: 1000 }], {
      maxRatio: 1e9,
    });
    await expect(contents(source)).rejects.toThrow('"set/cat/1.jpg" in "set.zip" holds more than the 1000 bytes that it declares.');
  });
});

describe("an archive whose entries share bytes is refused", () => {
  const bytes = text("shared by all of them");
  const part = (i: number): ZipPart => ({ name: `set/cat/${i}.jpg`, bytes });

  test("when all of them have one local header", async () => {
    const parts = [part(0), ...Array.from({ length: 50 }, (_, i) => ({ ...part(i + 1), claimsOffset: 0 }))];
    expect(await refusal(parts)).toMatch(
      /^E_ARCHIVE_LIMITS: "set\.zip": the bytes of "set\/cat\/\d+\.jpg" overlap with those of "set\/cat\/\d+\.jpg", as in a zip bomb\.$/,
    );
  });

  test("when one begins inside another", async () => {
    const inner = zipFile([part(1)]).subarray(0, 30 + 13 + bytes.length);
    const outer = { name: "set/cat/0.jpg", bytes: inner };
    expect(await refusal([outer, { ...part(1), claimsOffset: 30 + 13 }])).toContain(
      'E_ARCHIVE_LIMITS: "set.zip": the bytes of "set/cat/0.jpg" overlap with those of "set/cat/1.jpg"',
    );
  });

  test("when only a local header says so, it is found when the entry is read", async () => {
    const source = await open([
      { ...part(0), localExtraBytes: 30 + 13 + bytes.length },
      { ...part(1), bytes },
    ]);
    await expect(contents(source)).rejects.toMatchObject({
      code: "E_ARCHIVE_LIMITS",
      message: '"set.zip": the bytes of "set/cat/0.jpg" overlap with what follows them, as in a zip bomb.',
    });
    await source.close();
  });

  test("also when the one that overlaps is of no interest itself", async () => {
    expect(await refusal([part(0), { ...part(1), name: "__MACOSX/1.jpg", claimsOffset: 0 }])).toContain("E_ARCHIVE_LIMITS");
  });
});

describe("names that an import would not write", () => {
  test("are passed over or changed: whatever an archive says, the path is safe", async () => {
    const names = [
      "set/.git/hooks/x.jpg",
      "set/cat/con.jpg",
      "set/git~1/1.jpg",
      "set/cat//2.jpg",
      "set/cat/./3.jpg",
      `set/cat/${"x".repeat(4000)}.jpg`,
    ];
    const source = await open(names.map((name) => ({ name, bytes: text(name) })));
    const paths = (await Array.fromAsync(source.entries())).map(({ path }) => path ?? "");
    await source.close();
    expect(paths).toEqual(["cat/_con.jpg", "_git~1/1.jpg", "cat/2.jpg", `cat/${"x".repeat(180)}.jpg`]);
    expect(paths.every(isSafePath)).toBe(true);
  });
});

describe("a damaged archive", () => {
  test("is an error that names it", async () => {
    const whole = zipFile([{ name: "set/cat/1.jpg", bytes: text("x".repeat(500)) }]);
    expect(await refusal(text("not a zip at all, but long enough to look at"))).toMatch(/^E_ARCHIVE_CORRUPT: "set\.zip" cannot be read: /);
    expect(await refusal(whole.subarray(0, 300))).toMatch(/^E_ARCHIVE_CORRUPT/);
    expect(await refusal(Buffer.alloc(0))).toMatch(/^E_ARCHIVE_CORRUPT/);
  });

  test("an entry that does not match its checksum or size is found when it is read", async () => {
    await expect(contents(await open([{ name: "set/cat/1.jpg", bytes: text("x"), claimsCrc: 1 }]))).rejects.toMatchObject({
      code: "E_ARCHIVE_CORRUPT",
      message: '"set/cat/1.jpg" in "set.zip" does not match its checksum.',
    });
    await expect(contents(await open([{ name: "set/cat/1.jpg", bytes: text("xyz"), deflate: true, claimsBytes: 5 }]))).rejects.toThrow(
      '"set/cat/1.jpg" in "set.zip" holds 3 bytes and declares 5.',
    );
  });

  test.each([
    ["small", 500],
    ["larger than the read-ahead", 3_000_000],
  ])("an entry whose packed bytes are damaged is an error of that entry, and the others are read: %s", async (_, size) => {
    const archive = zipFile([
      { name: "set/cat/1.jpg", bytes: randomBytes(size), deflate: true },
      { name: "set/cat/2.jpg", bytes: text("whole"), deflate: true },
    ]);
    // The first byte behind the local header: a block of a type that there is not.
    archive[30 + "set/cat/1.jpg".length] = 0xff;
    const source = await open(archive);
    const answers: string[] = [];
    for await (const entry of source.entries()) {
      answers.push(
        await readEntry(entry, 1e9).then(
          (bytes) => Buffer.from(bytes).toString(),
          (error: ServalError) => `${error.code}: ${error.message}`,
        ),
      );
    }
    await source.close();
    expect(answers).toEqual([
      expect.stringMatching(/^E_ARCHIVE_CORRUPT: "set\/cat\/1\.jpg" in "set\.zip" cannot be read: invalid/) as string,
      "whole",
    ]);
  });

  test("of two entries of one name the first is read, and the second one says why it is not", async () => {
    const source = await open([
      { name: "a/1.jpg", bytes: text("first") },
      { name: "a/1.jpg", bytes: text("second") },
    ]);
    const entries = await Array.fromAsync(source.entries());
    expect(entries.map(({ name, fault }) => [name, fault?.code])).toEqual([
      ["a/1.jpg", undefined],
      ["a/1.jpg (2)", "E_ARCHIVE_CORRUPT"],
    ]);
    expect(entries[1]!.fault?.message).toBe('"set.zip" holds "a/1.jpg" more than once: the first was taken, this one set aside.');
    expect(Buffer.from(await readEntry(entries[0]!, 1e9)).toString()).toBe("first");
    await source.close();
  });
});
