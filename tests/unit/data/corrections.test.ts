import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { applyCorrections, parseCorrections, type Correction } from "../../../src/data/corrections.ts";
import { parseCsv } from "../../../src/data/csv.ts";
import type { IngestReport } from "../../../src/data/ingest.ts";
import { readManifest, type ManifestRow } from "../../../src/data/manifest.ts";
import { sha256 } from "../../../src/files.ts";
import { importData } from "../../../src/workflows/data/import-data.ts";
import { jpeg } from "../../helpers/pictures.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

let cwd: string;
beforeEach(async () => void (cwd = await mkdtemp(join(tmpdir(), "serval-corrections-"))));
afterEach(() => rm(cwd, { recursive: true, force: true }));

const signed = { by: "Ada", at: "2026-12-01T12:00:00.000Z" };
const row = (path: string): ManifestRow => ({
  path,
  label: path.split("/")[0]!,
  sha256: sha256(path),
  dhash: "0".repeat(16),
  width: 9,
  height: 9,
  format: "jpeg",
});

/** The labels of rows after corrections; null for what is left out. */
function labelsAfter(rows: readonly ManifestRow[], lines: readonly Correction[]): (string | null)[] {
  const kept = new Map(applyCorrections(rows, lines).rows.map(({ path, label }) => [path, label]));
  return rows.map(({ path }) => kept.get(path) ?? null);
}

async function photos(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(cwd, folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, await jpeg(name, 24, 18));
  }
}

const importOf = async (source: string): Promise<IngestReport> => await importData({ cwd, source, stateDir: ".serval" });

/** path -> label, as the manifest has it. */
async function labels(): Promise<Record<string, string>> {
  const { rows } = await readManifest(join(cwd, "data/raw"));
  return Object.fromEntries(rows.map(({ path, label }) => [path, label]));
}

async function serval(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(args, context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

const corrections = async (): Promise<Correction[]> =>
  parseCorrections(await readFile(join(cwd, "data/corrections.jsonl"), "utf8"), "file");

describe("corrections", () => {
  const rows = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "kitten/1.jpg"].map(row);
  const about = (path: string, action: Correction["action"], label?: string): Correction => ({
    sha256: sha256(path),
    action,
    ...(label !== undefined && { label }),
    ...signed,
  });
  const ofClass = (name: string, label?: string): Correction =>
    label === undefined ? { class: name, action: "exclude", ...signed } : { class: name, action: "relabel", label, ...signed };

  test("relabel a picture, leave one out, and a later line replaces an earlier one", () => {
    const lines = [about("cat/1.jpg", "relabel", "dog"), about("cat/2.jpg", "exclude"), about("dog/1.jpg", "exclude")];
    expect(labelsAfter(rows, lines)).toEqual(["dog", null, null, "kitten"]);
    expect(labelsAfter(rows, [...lines, about("dog/1.jpg", "relabel", "cat")])).toEqual(["dog", null, "cat", "kitten"]);
    expect(labelsAfter(rows, [...lines, about("cat/1.jpg", "keep")])).toEqual(["cat", null, null, "kitten"]);
  });

  test("rename, merge and drop a class; pictures that got the label before go with it, later ones do not", () => {
    expect(labelsAfter(rows, [ofClass("kitten", "young cat")])).toEqual(["cat", "cat", "dog", "young cat"]);
    expect(labelsAfter(rows, [ofClass("kitten", "cat")])).toEqual(["cat", "cat", "dog", "cat"]);
    expect(labelsAfter(rows, [ofClass("kitten")])).toEqual(["cat", "cat", "dog", null]);
    const before = [about("dog/1.jpg", "relabel", "kitten"), ofClass("kitten", "cat")];
    expect(labelsAfter(rows, before)).toEqual(["cat", "cat", "cat", "cat"]);
    const chain = [ofClass("kitten", "cat"), ofClass("cat", "felis"), about("dog/1.jpg", "relabel", "cat")];
    expect(labelsAfter(rows, chain)).toEqual(["felis", "felis", "cat", "felis"]);
  });

  test("about pictures and classes that are gone are counted and change nothing", () => {
    const found = applyCorrections(rows, [about("cat/9.jpg", "exclude"), ofClass("horse", "cat"), about("cat/1.jpg", "relabel", "dog")]);
    expect(found).toMatchObject({ relabelled: 1, excluded: 0, unused: 2 });
  });

  test.each([
    ["not JSON", "{", "is not JSON"],
    ["no picture", { action: "exclude" }, "no sha256 and no class"],
    ["a short hash", { sha256: "abc", action: "exclude" }, "64 hexadecimal digits"],
    ["another action", { sha256: sha256("x"), action: "delete" }, "expected relabel, exclude, keep"],
    ["relabel without a label", { sha256: sha256("x"), action: "relabel" }, "relabel without a label"],
    ["a label that no folder could have", { sha256: sha256("x"), action: "relabel", label: "../Cat" }, "not a class name"],
    ["a class that is kept", { class: "cat", action: "keep" }, "keeps a class"],
    ["no name", { sha256: sha256("x"), action: "keep", by: "" }, "who decided it"],
  ])("with %s are refused by the line", (_, line, message) => {
    const text = typeof line === "string" ? line : JSON.stringify({ ...signed, ...line });
    expect(() => parseCorrections(`\n${text}\n`, "corrections.jsonl")).toThrow(
      expect.objectContaining({ code: "E_CORRECTIONS", message: expect.stringMatching(`^corrections.jsonl:2 .*${message}`) }),
    );
  });
});

describe("an import with corrections", () => {
  test("applies them, whichever source brought the picture, and forgets them with their lines; files stay as they are", async () => {
    await photos("one", ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"]);
    await photos("two", ["cat/8.jpg", "dog/9.jpg"]);
    expect((await importOf("one")).corrections).toBeNull();
    await importOf("two");
    const plain = await readFile(join(cwd, "data/raw/manifest.jsonl"), "utf8");

    expect(
      (await serval("data", "correct", "cat/1.jpg", "data/raw/cat/8.jpg", "--relabel", "dog", "--why", "a poodle", "--by", "Ada")).code,
    ).toBe(0);
    expect((await serval("data", "correct", "dog/1.jpg", "--exclude", "--by", "Ada")).code).toBe(0);
    const report = await importOf("one");
    expect(report).toMatchObject({ changed: true, corrections: { relabelled: 2, excluded: 1, unused: 0 } });
    expect(await labels()).toEqual({ "cat/1.jpg": "dog", "cat/2.jpg": "cat", "cat/8.jpg": "dog", "dog/9.jpg": "dog" });
    expect((await importOf("one")).changed).toBe(false);
    expect(await readFile(join(cwd, "data/raw/dog/1.jpg"))).toEqual(await jpeg("dog/1.jpg", 24, 18));
    await importOf("data/raw");
    expect(await labels()).toEqual({ "cat/1.jpg": "dog", "cat/2.jpg": "cat", "cat/8.jpg": "dog", "dog/9.jpg": "dog" });

    await writeFile(join(cwd, "data/corrections.jsonl"), "");
    await importOf("one");
    expect(await readFile(join(cwd, "data/raw/manifest.jsonl"), "utf8")).toBe(plain);
  });

  test("prints what they did, and refuses a file that cannot be read", async () => {
    await photos("one", ["cat/1.jpg", "kitten/1.jpg", "dog/1.jpg"]);
    await importOf("one");
    await serval("data", "correct", "--class", "kitten", "--relabel", "cat", "--by", "Ada");
    const { stdout } = await serval("data", "import", "one");
    expect(stdout).toContain("Corrections: 1 relabelled, 0 left out.");
    expect(stdout).toContain("kitten/1.jpg");
    await writeFile(join(cwd, "data/corrections.jsonl"), "<<<<<<< HEAD\n");
    const failed = await serval("data", "import", "one");
    expect([failed.code, failed.stderr]).toEqual([3, expect.stringMatching(/E_CORRECTIONS: .*corrections\.jsonl:1 is not JSON/)]);
  });
});

describe("serval data correct", () => {
  beforeEach(async () => {
    await photos("one", ["cat/1.jpg", "cat/a; b.jpg", "dog/1.jpg"]);
    await importOf("one");
  });

  test("reads decisions from a CSV as a spreadsheet saves it, and passes over lines without one", async () => {
    const hash = sha256(await jpeg("dog/1.jpg", 24, 18));
    const csv = `\uFEFFPath;sha256;Action;Label;Why\r\ncat/1.jpg;;relabel;dog;"said ""dog""; twice"\r\n"cat/a; b.jpg";;exclude;;\r\n;${hash};keep;;\r\ncat/1.jpg;;;dog;\r\n`;
    await writeFile(join(cwd, "list.csv"), csv);
    const { stdout } = await serval("data", "correct", "--from", "list.csv", "--by", "Ada");
    expect(stdout).toContain("Added 3 to data/corrections.jsonl: relabel 1, exclude 1, keep 1. 1 lines have no action yet.");
    expect(await corrections()).toMatchObject([
      { sha256: sha256(await jpeg("cat/1.jpg", 24, 18)), action: "relabel", label: "dog", by: "Ada", why: 'said "dog"; twice' },
      { sha256: sha256(await jpeg("cat/a; b.jpg", 24, 18)), action: "exclude" },
      { sha256: hash, action: "keep" },
    ]);
  });

  test("adds nothing where one line is wrong", async () => {
    await writeFile(join(cwd, "list.csv"), "path,action,label\ncat/1.jpg,exclude,\ncat/7.jpg,exclude,\n");
    expect((await serval("data", "correct", "--from", "list.csv")).stderr).toMatch(/^E_FILE_NOT_FOUND: .*"cat\/7\.jpg"/);
    await writeFile(join(cwd, "list.csv"), "path,action,label\ncat/1.jpg,relabel,\n");
    expect((await serval("data", "correct", "--from", "list.csv")).stderr).toMatch(/^E_CORRECTIONS: list\.csv:2: .*label/);
    await writeFile(join(cwd, "list.csv"), "path,action\ncat/1.jpg,drop\n");
    expect((await serval("data", "correct", "--from", "list.csv")).stderr).toMatch(/^E_CORRECTIONS: list\.csv:2: .*"drop"/);
    expect((await serval("data", "correct", "cat/1.jpg", "--relabel", "No/Name")).stderr).toMatch(/^E_CORRECTIONS/);
    await expect(readFile(join(cwd, "data/corrections.jsonl"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("asks for pictures or a class with one action, or for a file alone", async () => {
    for (const args of [[], ["cat/1.jpg"], ["--exclude"], ["cat/1.jpg", "--class", "cat", "--exclude"], ["--from", "a.csv", "--keep"]]) {
      const { code, stderr } = await serval("data", "correct", ...args);
      expect([args, code, stderr]).toEqual([args, 2, expect.stringContaining("E_USAGE")]);
    }
  });
});

test("a CSV with a quotation mark that is not closed is refused by its line", () => {
  expect(() => parseCsv('a,b\n1,2\n3,"4\n', "x.csv")).toThrow(
    expect.objectContaining({ code: "E_CORRECTIONS", message: expect.stringMatching(/^x\.csv:3/) }),
  );
  expect(parseCsv('a\tb\n"x\ny"\t2\n\n3', "x.csv")).toEqual([
    { line: 2, values: { a: "x\ny", b: "2" } },
    { line: 5, values: { a: "3", b: "" } },
  ]);
});
