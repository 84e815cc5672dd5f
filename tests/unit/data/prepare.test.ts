import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ingest } from "../../../src/data/ingest.ts";
import { readManifest } from "../../../src/data/manifest.ts";
import { prepareShards, type PrepareOptions, type PrepareReport } from "../../../src/data/prepare.ts";
import { openShards } from "../../../src/data/shards.ts";
import { openFolder } from "../../../src/data/sources/folder.ts";
import { splitNames } from "../../../src/data/split.ts";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { sha256 } from "../../../src/files.ts";
import { defaultImageLimits } from "../../../src/image/check-image.ts";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import { jpeg } from "../../helpers/pictures.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-prepare-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const raw = (...path: string[]): string => join(dir, "data/raw", ...path);
const processed = (...path: string[]): string => join(dir, "data/processed", ...path);

async function put(name: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(raw(name)), { recursive: true });
  await writeFile(raw(name), bytes);
}

async function importRaw(): Promise<void> {
  await ingest(await openFolder(raw()), {
    outDir: raw(),
    quarantineDir: join(dir, "data/quarantine"),
    journalPath: join(dir, "journal.jsonl"),
  });
}

/** `count` pictures in each class, imported. */
async function pictures(count = 12, labels: readonly string[] = ["rose", "tulip"]): Promise<void> {
  for (const label of labels) for (let i = 0; i < count; i++) await put(`${label}/${i}.jpg`, await jpeg(`${label} ${i}`, 40, 30));
  await importRaw();
}

function options(changes: Partial<PrepareOptions> = {}): PrepareOptions {
  return {
    rawDir: raw(),
    outDir: processed(),
    width: 10,
    height: 8,
    fit: "squash",
    kernel: "lanczos3",
    orient: true,
    shares: { train: 0.6, val: 0.2, test: 0.2 },
    seed: 42,
    dedupe: false,
    ...changes,
  };
}

function prepare(changes: Partial<PrepareOptions> = {}): Promise<PrepareReport> {
  return prepareShards(options(changes));
}

/** The files below data/processed with their hashes. */
async function snapshot(): Promise<Record<string, string>> {
  const names = (await readdir(processed(), { recursive: true })).sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, sha256(await readFile(processed(name)))] as const)));
}

describe("prepareShards", () => {
  test("writes every picture once, as the pixels that preprocessImage gives, under its label", async () => {
    await pictures();
    const report = await prepare();
    expect(report).toMatchObject({ changed: true, images: 24, bytes: 24 * 240, leftOut: [] });
    const { rows, dataVersion } = await readManifest(raw());
    const shards = await openShards(processed(), { verify: splitNames });
    expect(shards).toMatchObject({
      width: 10,
      height: 8,
      fit: "squash",
      kernel: "lanczos3",
      orient: true,
      labels: ["rose", "tulip"],
      dataVersion,
    });
    const seen = new Map<string, string>();
    const target = new Uint8Array(300);
    for (const split of splitNames) {
      const { count, sha256: hashes, classIndex } = shards.splits[split];
      expect(count).toBe(report.counts[split]["rose"]! + report.counts[split]["tulip"]!);
      for (let i = 0; i < count; i++) {
        const row = rows.find((row) => row.sha256 === hashes[i])!;
        expect(shards.labels[classIndex[i]!]).toBe(row.label);
        shards.readRow(split, i, target, 60);
        const pixels = await preprocessImage(await readFile(raw(row.path)), { ...options(), crop: null }, defaultImageLimits);
        expect(Buffer.from(target.subarray(60, 300))).toEqual(Buffer.from(pixels));
        seen.set(row.path, split);
      }
      expect(hashes).toEqual([...hashes].sort());
    }
    shards.close();
    expect(seen.size).toBe(24);
  });

  test("does nothing when it is up to date, and everything again when a parameter, the data or a file changed", async () => {
    await pictures();
    await prepare();
    const before = await snapshot();
    const written = (await stat(processed("index.json"))).mtimeMs;
    expect(await prepare()).toMatchObject({ changed: false, images: 24 });
    expect((await stat(processed("index.json"))).mtimeMs).toBe(written);

    expect(await prepare({ kernel: "nearest" })).toMatchObject({ changed: true });
    expect(await prepare({ seed: 7 })).toMatchObject({ changed: true });
    expect(await prepare()).toMatchObject({ changed: true });
    expect(await snapshot()).toEqual(before);

    await rm(processed("val-00000.bin"));
    expect(await prepare()).toMatchObject({ changed: true });
    expect(await snapshot()).toEqual(before);
    expect(await prepare({ force: true })).toMatchObject({ changed: true });

    await put("rose/new.jpg", await jpeg("new", 40, 30));
    await importRaw();
    expect(await prepare()).toMatchObject({ changed: true, images: 25 });
  });

  test("spreads the rows over files of limited size, and removes those that are no longer needed", async () => {
    await pictures();
    await prepare({ maxShardBytes: 3 * 240 });
    const many = await readdir(processed());
    expect(many).toContain("train-00003.bin");
    const split = await openShards(processed(), { verify: splitNames });
    const whole = new Uint8Array(240);
    const parts = Array.from({ length: split.splits.train.count }, (_, i) => {
      split.readRow("train", i, whole, 0);
      return sha256(whole);
    });
    expect(() => split.readRow("train", split.splits.train.count, whole, 0)).toThrow(/^Row \d+ of train was asked for; it has \d+\.$/);
    split.close();
    await prepare({ force: true });
    expect((await readdir(processed())).sort()).toEqual(["index.json", "test-00000.bin", "train-00000.bin", "val-00000.bin"]);
    const one = await openShards(processed());
    expect(parts).toEqual(
      parts.map((_, i) => {
        one.readRow("train", i, whole, 0);
        return sha256(whole);
      }),
    );
    one.close();
  });

  test("stopped halfway, leaves the earlier shards as they were and no other files", async () => {
    await pictures();
    await prepare();
    const before = await snapshot();
    const controller = new AbortController();
    const stopped = prepare({
      seed: 7,
      signal: controller.signal,
      onProgress: (done) => done === 10 && controller.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGINT.")),
    });
    await expect(stopped).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    expect(await snapshot()).toEqual(before);
  });

  test("what a killed run left is cleared away by the next", async () => {
    await pictures();
    await mkdir(processed(".partial"), { recursive: true });
    await writeFile(processed(".partial/train-00000.bin"), "half");
    await expect(openShards(processed())).rejects.toMatchObject({ code: "E_SHARDS_MISSING" });
    await prepare();
    expect((await readdir(processed())).sort()).toEqual(["index.json", "test-00000.bin", "train-00000.bin", "val-00000.bin"]);
  });

  test("a picture that is not the one of the manifest stops it by name", async () => {
    await pictures();
    await writeFile(raw("rose/3.jpg"), await jpeg("another", 40, 30));
    await expect(prepare()).rejects.toMatchObject({ code: "E_DATA_CHANGED", message: expect.stringContaining("rose/3.jpg") as string });
    await rm(raw("rose/3.jpg"));
    await expect(prepare()).rejects.toMatchObject({
      code: "E_DATA_CHANGED",
      message: expect.stringContaining("is in the manifest but not on disk") as string,
    });
  });
});

describe("duplicates", () => {
  test("the same bytes under two labels stop it, with both paths and the way out", async () => {
    await pictures();
    const same = await jpeg("same", 40, 30);
    await put("rose/same.jpg", same);
    await put("tulip/same too.jpg", same);
    await importRaw();
    await expect(prepare()).rejects.toMatchObject({
      code: "E_LABEL_CONFLICT",
      message: '"rose/same.jpg" and "tulip/same too.jpg" are the same picture under different labels.',
      hint: "Remove the wrong one, or set data.dedupe: true to leave both out.",
    });
  });

  test("with dedupe both are left out and listed, and of copies within a class one stays", async () => {
    await pictures();
    const [same, twice] = [await jpeg("same", 40, 30), await jpeg("twice", 40, 30)];
    for (const name of ["rose/same.jpg", "tulip/same.jpg"]) await put(name, same);
    for (const name of ["rose/x.jpg", "rose/y.jpg", "rose/z.jpg"]) await put(name, twice);
    await importRaw();
    const message = '"rose/same.jpg" and "tulip/same.jpg" are the same picture under different labels.';
    const report = await prepare({ dedupe: true });
    expect(report).toMatchObject({
      images: 25,
      leftOut: [
        { path: "rose/same.jpg", code: "E_LABEL_CONFLICT", message },
        { path: "rose/y.jpg", code: "DUPLICATE", message: 'The same picture as "rose/x.jpg".' },
        { path: "rose/z.jpg", code: "DUPLICATE", message: 'The same picture as "rose/x.jpg".' },
        { path: "tulip/same.jpg", code: "E_LABEL_CONFLICT", message },
      ],
    });
    expect(JSON.parse(await readFile(processed("index.json"), "utf8"))).toMatchObject({ leftOut: report.leftOut });
  });

  test("without dedupe copies within a class all stay, in one split", async () => {
    await pictures();
    const twice = await jpeg("twice", 40, 30);
    for (const name of ["rose/x.jpg", "rose/y.jpg"]) await put(name, twice);
    await importRaw();
    expect(await prepare()).toMatchObject({ images: 26 });
    const shards = await openShards(processed());
    const holds = splitNames.map((split) => shards.splits[split].sha256.filter((hash) => hash === sha256(twice)).length);
    expect(holds.sort((a, b) => a - b)).toEqual([0, 0, 2]);
    shards.close();
  });
});

describe("sets that cannot be split", () => {
  test("a class with one picture is named, with how many are needed", async () => {
    await pictures(6);
    await put("orchid/1.jpg", await jpeg("orchid", 40, 30));
    await importRaw();
    await expect(prepare()).rejects.toMatchObject({
      code: "E_CLASS_TOO_SMALL",
      message: 'The class "orchid" has 1 picture; at least 3 different ones are needed, one for each of train, val, test.',
      details: { label: "orchid", count: 1, needed: 3 },
    });
    await expect(stat(processed("index.json"))).rejects.toThrow("ENOENT");
  });

  test("one class alone is not a task", async () => {
    await pictures(6, ["rose"]);
    await expect(prepare()).rejects.toThrow("A classifier needs at least 2 classes; the data has 1: rose.");
  });

  test("without an import the error says what to run", async () => {
    await expect(prepare()).rejects.toMatchObject({ code: "E_MANIFEST_MISSING", hint: "Run `serval data import SOURCE` first." });
  });
});

describe("a full disk", () => {
  /** Runs prepareShards in a separate process that may not write a file larger than `blocks` KiB. */
  async function prepareLimited(blocks: number, changes: Partial<PrepareOptions>): Promise<{ code: string; message: string }> {
    const module = join(import.meta.dirname, "../../../src/data/prepare.ts");
    const script = `import { prepareShards } from ${JSON.stringify(module)};
      try { await prepareShards(${JSON.stringify(options(changes))}); console.log("{}"); }
      catch (error) { console.log(JSON.stringify({ code: error.code, message: error.message })); }`;
    const command = `ulimit -f ${blocks}; exec "$0" --input-type=module -e "$1"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", command, process.execPath, script]);
    return JSON.parse(stdout) as { code: string; message: string };
  }

  test("while shards are written says so, and leaves the earlier shards usable and nothing half-written", async () => {
    await pictures();
    await prepare();
    const before = await snapshot();
    // 14 rows of 30 kB do not fit into 100 KiB.
    const failure = await prepareLimited(100, { width: 100, height: 100 });
    expect(failure.code).toBe("E_DISK_FULL");
    expect(failure.message).toMatch(
      /^The shards did not fit into ".*data\/processed": 0\.7 MB are needed, [\d.]+ MB are free \(EFBIG: .*\)\. What was there before is unchanged\.$/,
    );
    expect(await snapshot()).toEqual(before);
    const shards = await openShards(processed(), { verify: splitNames });
    expect(shards.width).toBe(10);
    shards.close();
    expect(await prepareLimited(100_000, { width: 100, height: 100 })).toEqual({});
    expect(await snapshot()).not.toEqual(before);
  });

  test("with nothing there before leaves nothing that looks like shards", async () => {
    await pictures();
    expect((await prepareLimited(100, { width: 100, height: 100 })).code).toBe("E_DISK_FULL");
    expect(await readdir(processed())).toEqual([]);
    await expect(openShards(processed())).rejects.toMatchObject({ code: "E_SHARDS_MISSING" });
  });

  test("of a real file system without free space is reported in the same way", async (context) => {
    const mountPoint = join(dir, "small");
    await mkdir(mountPoint);
    const mounted = await promisify(execFile)("mount", ["-t", "tmpfs", "-o", "size=200k", "tmpfs", mountPoint]).catch(() => undefined);
    if (mounted === undefined) context.skip("only root may mount a file system");
    try {
      await pictures();
      const outDir = join(mountPoint, "processed");
      await prepare({ outDir });
      const failure = prepare({ outDir, width: 100, height: 100 });
      await expect(failure).rejects.toMatchObject({ code: "E_DISK_FULL", message: expect.stringContaining("ENOSPC") as string });
      const shards = await openShards(outDir, { verify: splitNames });
      expect(shards.width).toBe(10);
      shards.close();
    } finally {
      await promisify(execFile)("umount", [mountPoint]);
    }
  });
});

describe("openShards", () => {
  test("refuses shards that are cut off, changed or missing, by name", async () => {
    await pictures();
    await prepare();
    const path = processed("train-00000.bin");
    const bytes = await readFile(path);
    const changed = Buffer.from(bytes);
    changed[5] = changed[5]! ^ 1;
    await writeFile(path, changed);
    (await openShards(processed())).close();
    await expect(openShards(processed(), { verify: splitNames })).rejects.toThrow(`"${path}" does not match its sha256 in index.json.`);
    await writeFile(path, bytes.subarray(0, -1));
    await expect(openShards(processed())).rejects.toMatchObject({
      code: "E_SHARDS_CORRUPT",
      message: `"${path}" has ${bytes.length - 1} bytes; expected ${bytes.length / 240} rows of 240.`,
    });
    await rm(path);
    await expect(openShards(processed())).rejects.toThrow(`"${path}" is missing.`);
  });

  test("refuses an index that is not one", async () => {
    await mkdir(processed(), { recursive: true });
    for (const [text, message] of [
      ["{", "is not JSON"],
      ['{"formatVersion": 2}', "has formatVersion 2; expected 1"],
      ['{"formatVersion": 1}', "lacks width, height or labels"],
      ['{"formatVersion": 1, "width": 1, "height": 1, "labels": ["a"], "splits": {}}', "lacks the rows or files of train"],
    ] as const) {
      await writeFile(processed("index.json"), text);
      await expect(openShards(processed())).rejects.toMatchObject({
        code: "E_SHARDS_CORRUPT",
        message: `"${processed("index.json")}" ${message}.`,
      });
    }
  });
});
