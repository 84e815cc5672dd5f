import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { compareBytes, formatManifest, parseManifest, readManifest, writeManifest, type ManifestRow } from "../../../src/data/manifest.ts";
import { sha256 } from "../../../src/files.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-manifest-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function row(path: string): ManifestRow {
  return { path, label: "a", sha256: sha256(path), dhash: sha256(path).slice(0, 16), width: 3, height: 4, format: "jpeg" };
}

test("rows have a fixed key order and end with a line feed", () => {
  const { path, label, sha256: hash, dhash, width, height, format } = row("a/1.jpg");
  const shuffled: ManifestRow = { format, height, width, dhash, sha256: hash, label, path };
  expect(formatManifest([shuffled])).toBe(
    `{"path":"a/1.jpg","label":"a","sha256":"${hash}","dhash":"${dhash}","width":3,"height":4,"format":"jpeg"}\n`,
  );
});

test("rows are in the order of the bytes of their paths, also beyond the basic plane", () => {
  const paths = ["b", "a/10", "a/2", "\u{1F408}", "\uff21", "Z", "\u00e4"];
  const sorted = parseManifest(formatManifest(paths.map(row)), "m").map((item) => item.path);
  expect(sorted).toEqual(["Z", "a/10", "a/2", "b", "\u00e4", "\uff21", "\u{1F408}"]);
});

test("compareBytes agrees with comparing UTF-8", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => {
      expect(Math.sign(compareBytes(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
    }),
  );
});

test("the data version is the sha256 of the file, and a manifest that is equal is not written again", async () => {
  const first = await writeManifest(dir, [row("b"), row("a")]);
  const path = join(dir, "manifest.jsonl");
  expect(first).toMatchObject({ changed: true, dataVersion: sha256(await readFile(path)) });
  const before = await stat(path);
  expect(await writeManifest(dir, [row("a"), row("b")])).toMatchObject({ changed: false, dataVersion: first.dataVersion });
  expect((await stat(path)).mtimeMs).toBe(before.mtimeMs);
  expect(await readManifest(dir)).toEqual({ rows: [row("a"), row("b")], dataVersion: first.dataVersion });
});

test("a line that is not a row is named with its number", () => {
  const good = JSON.stringify(row("a"));
  expect(() => parseManifest(`${good}\n{"path":"b"}\n`, "data/raw/manifest.jsonl")).toThrow(
    'data/raw/manifest.jsonl:2 is not a manifest row: {"path":"b"}',
  );
  expect(() => parseManifest(`${good}\nhello\n`, "m")).toThrow("m:2 is not JSON: hello");
  for (const path of ["../a", "/a", "a/../../b", "a\\..\\b", ".git/config", "a//b"])
    expect(() => parseManifest(JSON.stringify(row(path)), "m")).toThrow(`m:1: ${JSON.stringify(path)} `);
});

test("without a manifest the error says what to run", async () => {
  await expect(readManifest(join(dir, "none"))).rejects.toMatchObject({
    code: "E_MANIFEST_MISSING",
    hint: "Run `serval data import SOURCE` first.",
  });
});

test("a manifest that was cut off in the middle of a line says how to write it again", async () => {
  const cut = await mkdtemp(join(tmpdir(), "serval-manifest-"));
  onTestFinished(async () => await rm(cut, { recursive: true }));
  await writeManifest(cut, [row("a"), row("b")]);
  const path = join(cut, "manifest.jsonl");
  await writeFile(path, (await readFile(path, "utf8")).slice(0, -20));
  await expect(readManifest(cut)).rejects.toMatchObject({
    code: "E_MANIFEST_CORRUPT",
    message: expect.stringContaining(`${path}:2 is not JSON: {"path":"b"`),
    hint: expect.stringContaining("serval data import data/raw"),
  });
});
