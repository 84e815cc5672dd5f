import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CaseFolder, caseInputs, numbered, picture } from "../helpers/case-folder.ts";
import { zipFile, type ZipPart } from "../helpers/zip-file.ts";

let folder: CaseFolder;
beforeEach(async () => {
  folder = await CaseFolder.make();
});
afterEach(() => folder.remove());

const archive = (name: string): string => join(caseInputs, "archives", name);

test("mac_utf8_noflag: names in UTF-8 without the flag are UTF-8", async () => {
  const { code, counts, stderr } = await folder.import(archive("mac_utf8_noflag.zip"));
  expect([code, counts]).toEqual([0, { "crème brûlée": 4, éclair: 4 }]);
  expect(stderr).not.toContain("--zip-encoding");
});

test("gbk: names are what --zip-encoding gbk makes of them; without it a warning shows one", async () => {
  const warned = await folder.import(archive("gbk.zip"));
  expect(warned.code).toBe(0);
  expect(warned.stderr).toContain('"├¿/0.jpg" is a guess (cp437). It would be in gbk "猫/0.jpg"');
  expect(warned.stderr).toContain("--zip-encoding");
  await folder.remove();
  folder = await CaseFolder.make();
  const { code, counts, stderr } = await folder.import(archive("gbk.zip"), "--zip-encoding", "gbk");
  expect([code, counts]).toEqual([0, { 狗狗: 4, 猫: 4 }]);
  expect(stderr).not.toContain("guess");
});

test("gbk: names that were wrong are put right by importing again with --zip-encoding", async () => {
  await folder.import(archive("gbk.zip"));
  const { counts, report } = await folder.import(archive("gbk.zip"), "--zip-encoding", "gbk");
  expect([counts, report!.changes.moved.length]).toEqual([{ 狗狗: 4, 猫: 4 }, 8]);
});

test.each([
  ["enc.zip", /"enc\.zip": each of its 12 files is encrypted\./, /with its password/],
  ["bz2.zip", /"bz2\.zip": each of its 8 files is packed by the method BZip2/, /Unpack it and import the folder/],
  ["nested.zip", /"nested\.zip" gives no classes: it has no pictures, but 2 archives: cat\.zip, dog\.zip\./, /unpack it/],
])("%s says what it is", async (name, message, hint) => {
  const { code, stderr } = await folder.import(archive(name));
  expect(code).toBe(3);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(hint);
  expect(stderr).not.toContain("rose/1.jpg");
});

test("dupentry: the entry that comes twice is set aside, and eight pictures are kept", async () => {
  const { code, counts, report } = await folder.import(archive("dupentry.zip"));
  expect([code, counts, report!.kept]).toEqual([0, { cat: 4, dog: 4 }, 8]);
  expect(report!.setAside).toEqual([
    {
      path: "pets/cat/0.jpg (2)",
      code: "E_ARCHIVE_CORRUPT",
      message: '"dupentry.zip" holds "pets/cat/0.jpg" more than once: the first was taken, this one set aside.',
    },
  ]);
  expect(await folder.import(archive("dupentry.zip"))).toMatchObject({ report: { changed: false } });
});

test("heic-only: says HEIC and what to do", async () => {
  const { code, stderr } = await folder.import(archive("heic-only"));
  expect(code).toBe(3);
  expect(stderr).toMatch(/6 of 6: The file is a HEIC picture, .* Convert it to JPEG/);
});

/** A zip whose names are these bytes, without the flag for UTF-8. */
async function namedInBytes(names: readonly (readonly [Buffer, string])[]): Promise<Buffer> {
  const placeholders = names.map(([raw, seed], i) => ({ raw, seed, ascii: String(i).padEnd(raw.length, "#") }));
  const parts = await Promise.all(
    placeholders.map(async ({ ascii, seed }): Promise<ZipPart> => ({ name: ascii, bytes: await picture(seed) })),
  );
  const bytes = zipFile(parts);
  for (const { raw, ascii } of placeholders) {
    for (let at = bytes.indexOf(ascii); at >= 0; at = bytes.indexOf(ascii, at + 1)) {
      raw.copy(bytes, at);
      // The flags stand 24 bytes before the name of a local header, and 38 before that of the directory.
      const isLocal = bytes.readUInt32LE(at - 30) === 0x04034b50;
      bytes.writeUInt16LE(0, isLocal ? at - 24 : at - 38);
    }
  }
  return bytes;
}

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

describe("names in archives, relatives:", () => {
  test.each<[string, string, Buffer[], Record<string, number>]>([
    [
      "Shift-JIS, with a backslash as the second byte of a character",
      "shift_jis",
      [latin1("\x83\x5c\x83\x74\x83\x40/1.jpg"), latin1("\x95\x5c/2.jpg")],
      { ソファ: 1, 表: 1 },
    ],
    ["Big5, with a backslash as the second byte", "big5", [latin1("\xa5\x5c/1.jpg"), latin1("\xbf\xdf/2.jpg")], { 功: 1, 貓: 1 }],
    ["EUC-KR", "euc-kr", [latin1("\xb0\xed\xbe\xe7\xc0\xcc/1.jpg"), latin1("\xb0\xb3/2.jpg")], { 개: 1, 고양이: 1 }],
    [
      "Windows-1251",
      "windows-1251",
      [latin1("\xea\xee\xf8\xea\xe0/1.jpg"), latin1("\xf1\xee\xe1\xe0\xea\xe0/2.jpg")],
      { кошка: 1, собака: 1 },
    ],
    ["GBK names that all happen to be UTF-8", "gbk", [latin1("\xc3\xa8/1.jpg"), latin1("\xc4\xa3/2.jpg")], { 模: 1, 猫: 1 }],
    [
      "GBK of a program of Windows, with backslashes between folders",
      "gbk",
      [latin1("set\\\xb9\xb7/1.jpg"), latin1("set\\\xc3\xa8/2.jpg")],
      { 狗: 1, 猫: 1 },
    ],
  ])("%s", async (_what, encoding, names, counts) => {
    await folder.put("set.zip", await namedInBytes(names.map((name, i) => [name, `picture ${i}`])));
    expect((await folder.import("set.zip", "--zip-encoding", encoding)).counts).toEqual(counts);
  });

  test("UTF-8 without the flag stays UTF-8 where another encoding is named", async () => {
    await folder.put(
      "set.zip",
      await namedInBytes([
        [Buffer.from("猫/1.jpg"), "1"],
        [Buffer.from("犬/2.jpg"), "2"],
      ]),
    );
    expect((await folder.import("set.zip", "--zip-encoding", "gbk")).counts).toEqual({ 犬: 1, 猫: 1 });
    await folder.put(
      "mac.zip",
      await namedInBytes([
        [Buffer.from("Cafe\u0301/1.jpg"), "3"],
        [Buffer.from("The\u0301/2.jpg"), "4"],
      ]),
    );
    expect((await folder.import("mac.zip", "--out", "data/other", "--zip-encoding", "gbk")).counts).toEqual({ café: 1, thé: 1 });
  });

  test("Shift-JIS without --zip-encoding is warned about, and no byte of a character separates folders", async () => {
    await folder.put(
      "set.zip",
      await namedInBytes([
        [latin1("\x95\x5c/1.jpg"), "1"],
        [latin1("\x83\x5c/2.jpg"), "2"],
      ]),
    );
    const { code, stderr, counts } = await folder.import("set.zip");
    expect([code, Object.keys(counts).length]).toEqual([0, 2]);
    expect(stderr).toContain('shift_jis "表/1.jpg"');
  });

  test("a name of code page 437, as old programs wrote it, is shown in the warning and can be read", async () => {
    await folder.put(
      "set.zip",
      await namedInBytes([
        [latin1("caf\x82/1.jpg"), "1"],
        [latin1("th\x82/2.jpg"), "2"],
      ]),
    );
    const { counts, stderr } = await folder.import("set.zip");
    expect(counts).toEqual({ café: 1, thé: 1 });
    expect(stderr).toContain('"café/1.jpg" is a guess (cp437)');
  });

  test.each(["GBK", "gb18030", "cp936", "chinese"])("gbk is also called %s", async (encoding) => {
    expect((await folder.import(archive("gbk.zip"), "--zip-encoding", encoding)).counts).toEqual({ 狗狗: 4, 猫: 4 });
  });

  test("--zip-encoding cp437 takes the old names without a warning", async () => {
    await folder.put(
      "set.zip",
      await namedInBytes([
        [latin1("caf\x82/1.jpg"), "1"],
        [latin1("th\x82/2.jpg"), "2"],
      ]),
    );
    const { counts, stderr } = await folder.import("set.zip", "--zip-encoding", "cp437");
    expect([counts, stderr]).toEqual([{ café: 1, thé: 1 }, expect.not.stringContaining("guess") as string]);
  });

  test("an encoding that does not exist, or does not fit, is an error", async () => {
    const unknown = await folder.import(archive("gbk.zip"), "--zip-encoding", "klingon");
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('"klingon" is not an encoding') as string]);
    await folder.put("set.zip", await namedInBytes([[latin1("\xff\xff/1.jpg"), "1"]]));
    const wrong = await folder.import("set.zip", "--zip-encoding", "shift_jis");
    expect([wrong.code, wrong.stderr]).toEqual([3, expect.stringContaining("a name that is not shift_jis") as string]);
  });

  test("the name in the field of Info-ZIP for Unicode counts, where it belongs to the name", async () => {
    const raw = latin1("\x81\x81/1.jpg");
    const unicode = Buffer.from("猫/1.jpg");
    const field = Buffer.concat([Buffer.from([0x75, 0x70, 5 + unicode.length, 0, 1]), Buffer.alloc(4), unicode]);
    field.writeUInt32LE(crc32(raw), 5);
    const bytes = await namedInBytes([[raw, "1"]]);
    const at = bytes.lastIndexOf(raw) + raw.length;
    const withField = Buffer.concat([bytes.subarray(0, at), field, bytes.subarray(at)]);
    withField.writeUInt16LE(field.length, bytes.lastIndexOf("PK\u0001\u0002") + 30);
    const end = withField.lastIndexOf("PK\u0005\u0006");
    withField.writeUInt32LE(withField.readUInt32LE(end + 12) + field.length, end + 12);
    await folder.put("set.zip", withField);
    expect((await folder.import("set.zip")).counts).toEqual({ 猫: 1 });
  });
});

async function plain(...paths: readonly string[]): Promise<Buffer> {
  return zipFile(await Promise.all(paths.map(async (path): Promise<ZipPart> => ({ name: path, bytes: await picture(path) }))));
}

/** Changes the method or flags of one entry, in both of its headers. */
function mark(bytes: Buffer, name: string, { method, flags }: { method?: number; flags?: number }): Buffer {
  for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) {
    const start = bytes.readUInt32LE(at - 30) === 0x04034b50 ? at - 24 : at - 38;
    if (flags !== undefined) bytes.writeUInt16LE(flags, start);
    if (method !== undefined) bytes.writeUInt16LE(method, start + 2);
  }
  return bytes;
}

describe("archives that cannot be read, relatives:", () => {
  test.each<[number, string]>([
    [9, "Deflate64"],
    [14, "LZMA"],
    [93, "Zstandard"],
    [95, "XZ"],
    [98, "PPMd"],
    [99, "encrypted"],
    [77, "77"],
  ])("the method %i is named", async (method, name) => {
    await folder.put("set.zip", mark(mark(await plain("a/1.jpg", "b/2.jpg"), "a/1.jpg", { method }), "b/2.jpg", { method }));
    const { code, stderr } = await folder.import("set.zip");
    expect([code, stderr]).toEqual([3, expect.stringContaining(name) as string]);
    expect(stderr).toContain("E_ARCHIVE_METHOD");
  });

  test("one entry that is encrypted is set aside, and the others are kept", async () => {
    const bytes = await plain("a/1.jpg", "b/2.jpg", "b/3.jpg");
    // An encrypted entry is 12 bytes longer than it declares; the reader accepts that where it is packed.
    await folder.put("set.zip", mark(bytes, "b/3.jpg", { flags: 1, method: 8 }));
    const { code, counts, report } = await folder.import("set.zip");
    expect([code, counts]).toEqual([0, { a: 1, b: 1 }]);
    expect(report!.setAside).toEqual([{ path: "b/3.jpg", code: "E_ARCHIVE_METHOD", message: '"b/3.jpg" is encrypted.' }]);
  });

  test.each<[string, () => Promise<Buffer> | Buffer, RegExp]>([
    ["a web page", () => Buffer.from("<!DOCTYPE html><title>Sign in</title>"), /it is an HTML page/],
    ["a RAR archive", () => Buffer.from("Rar!\x1a\x07\x01\0", "latin1"), /it is a RAR archive/],
    ["a gzip", () => Buffer.from([0x1f, 0x8b, 8, 0, 0, 0]), /it is compressed with gzip/],
    ["a Git LFS pointer", () => Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:aa\n"), /it is a Git LFS pointer/],
  ])("%s that is called .zip says what it is", async (_what, bytes, message) => {
    await folder.put("set.zip", await bytes());
    const { code, stderr } = await folder.import("set.zip");
    expect([code, stderr]).toEqual([3, expect.stringMatching(message) as string]);
  });

  test("a tar archive is named, with what to do", async () => {
    await folder.put("set.tar.gz", Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]));
    const { code, stderr } = await folder.import("set.tar.gz");
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/neither a folder nor a \.zip file\. It is compressed with gzip\.[\s\S]*Unpack it/) as string,
    ]);
  });

  test("archives in a folder, and one among pictures, are named", async () => {
    await folder.put("in/cat.zip", await plain("1.jpg"));
    await folder.put("in/dog.tar.gz", "x");
    const { code, stderr } = await folder.import("in");
    expect([code, stderr]).toEqual([3, expect.stringContaining("2 archives: cat.zip, dog.tar.gz") as string]);
    await folder.pictures(...numbered("in/a"), ...numbered("in/b"));
    const mixed = await folder.import("in");
    expect(mixed.report!.setAside[0]).toEqual({
      path: "cat.zip",
      code: "E_LABEL_MISSING",
      message: '"cat.zip" is an archive in the source: unpack it first; it was left where it is.',
    });
  });

  test("a class of HEIC pictures beside one of JPEG is missed with a remark", async () => {
    const heic = await readFile(archive("heic-only/cat/0.HEIC"));
    await folder.put("in/cat/0.HEIC", heic);
    await folder.put("in/cat/1.jpg", heic);
    await folder.pictures(...numbered("in/dog"));
    const { code, counts, stderr, report } = await folder.import("in");
    expect([code, counts]).toEqual([0, { dog: 4 }]);
    expect(stderr).toContain('The class "cat" has no picture here: all 2 of its files were set aside.');
    expect(report!.setAside[0]!.message).toContain("Convert it to JPEG");
  });

  test("HEIC pictures alone, in a zip, with class folders or without", async () => {
    const bytes = await readFile(archive("heic-only/cat/0.HEIC"));
    await folder.zip("set.zip", [
      { name: "a/1.heic", bytes },
      { name: "b/2.HEIC", bytes },
    ]);
    const labelled = await folder.import("set.zip");
    expect([labelled.code, labelled.stderr]).toEqual([3, expect.stringContaining("2 of 2: The file is a HEIC picture") as string]);
    await folder.zip("flat.zip", [
      { name: "IMG_1.HEIC", bytes },
      { name: "IMG_2.HEIC", bytes },
    ]);
    const flat = await folder.import("flat.zip");
    expect([flat.code, flat.stderr]).toEqual([
      3,
      expect.stringContaining("2 of 2 are called like HEIC, which is not read: convert them to JPEG.") as string,
    ]);
  });
});

describe("archives with something around them, relatives:", () => {
  test.each<[string, (bytes: Buffer) => Buffer]>([
    ["bytes before it", (bytes) => Buffer.concat([Buffer.from("#!/bin/sh\nexit 0\n"), bytes])],
    ["a program before it", (bytes) => Buffer.concat([Buffer.alloc(300_000, "MZ"), bytes])],
    ["bytes behind it", (bytes) => Buffer.concat([bytes, Buffer.alloc(500, "\r\n")])],
    ["another archive before it", (bytes) => Buffer.concat([zipFile([{ name: "x/old.jpg", bytes: Buffer.from("old") }]), bytes])],
  ])("%s", async (_what, around) => {
    await folder.put("set.zip", around(await plain("a/1.jpg", "b/2.jpg")));
    const { code, counts } = await folder.import("set.zip");
    expect([code, counts]).toEqual([0, { a: 1, b: 1 }]);
  });

  test("one entry that the directory lists twice, with the same bytes, is read once", async () => {
    const bytes = await picture("twice");
    await folder.zip("set.zip", [
      { name: "a/1.jpg", bytes },
      { name: "b/2.jpg", bytes: await picture("other") },
      { name: "a/1.jpg", bytes, claimsOffset: 0 },
    ]);
    const { code, counts, aside } = await folder.import("set.zip");
    expect([code, counts, aside]).toEqual([0, { a: 1, b: 1 }, ["a/1.jpg (2)"]]);
  });

  test("one name in two forms of Unicode is one name", async () => {
    await folder.zip("set.zip", [
      { name: "é/1.jpg", bytes: await picture("composed") },
      { name: "e\u0301/1.jpg", bytes: await picture("decomposed") },
      { name: "b/2.jpg", bytes: await picture("b") },
    ]);
    const { counts, aside } = await folder.import("set.zip");
    expect([counts, aside]).toEqual([{ b: 1, é: 1 }, ["é/1.jpg (2)"]]);
  });
});
