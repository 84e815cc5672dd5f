import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { sha256 } from "../../../src/files.ts";
import { copyBundle, loadBundle, shortDigest, writeBundle, type Bundle } from "../../../src/model/bundle.ts";
import { parseManifest } from "../../../src/model/manifest.ts";
import { replaceFolder } from "../../../src/model/replace-folder.ts";
import { tinyModel, writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let root: string;
let original: Bundle;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "serval-bundle-"));
  original = await writeTinyBundle(join(root, "original"));
});
afterAll(async () => await rm(root, { recursive: true }));

let copies = 0;
async function copy(): Promise<string> {
  const dir = join(root, `copy-${++copies}`);
  await cp(original.dir, dir, { recursive: true });
  return dir;
}

async function failure(work: Promise<unknown>): Promise<ServalError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ServalError);
  return error as ServalError;
}

type Json = Record<string, unknown>;
const without = (manifest: Json, key: string): Json => Object.fromEntries(Object.entries(manifest).filter(([name]) => name !== key));

describe("writeBundle", () => {
  it("writes every part, and loading gives back what was written", async () => {
    expect((await readdir(original.dir)).sort()).toEqual([
      "README.md",
      "bundle.json",
      "checks",
      "model.onnx",
      "provenance.json",
      "weights.safetensors",
    ]);
    const loaded = await loadBundle(original.dir);
    expect(loaded.manifest).toEqual(original.manifest);
    expect(loaded.digest).toBe(original.digest);
    expect(Buffer.from(loaded.model).equals(tinyModel())).toBe(true);
    expect(loaded.digest).toBe(sha256(await readFile(join(original.dir, "bundle.json"))));
    expect(shortDigest(loaded)).toBe(loaded.digest.slice(0, 12));
  });

  it("gives the same bundle.json for the same content, in whatever order keys and files were given", async () => {
    const { formatVersion: _, files: __, ...manifest } = original.manifest;
    const files: Record<string, Buffer> = {};
    for (const path of Object.keys(original.manifest.files).toReversed()) files[path] = await readFile(join(original.dir, path));
    const shuffled = Object.fromEntries(
      Object.entries({ ...manifest, reference: { b: { z: 1, y: 2 }, a: 1 } }).toReversed(),
    ) as typeof manifest;
    const first = await writeBundle(join(root, "first"), { manifest: shuffled, files, card: "first", provenance: { at: 1 } });
    const straight = { ...manifest, reference: { a: 1, b: { y: 2, z: 1 } } };
    const second = await writeBundle(join(root, "second"), {
      manifest: straight,
      files: Object.fromEntries(Object.entries(files).toReversed()),
      card: "second",
      provenance: { at: 2 },
    });
    expect(second.digest).toBe(first.digest);
    const text = await readFile(join(root, "first", "bundle.json"), "utf8");
    expect(Object.keys(JSON.parse(text) as object)).toEqual(
      "formatVersion name labels preprocess abstainBelow metrics reference dataVersion paramsHash seed checks files".split(" "),
    );
    expect(Object.keys(second.manifest.files)).toEqual(Object.keys(files).sort());
  });

  it("replaces the whole folder: a file of the old bundle does not stay behind", async () => {
    const dir = await copy();
    await writeFile(join(dir, "old.txt"), "old");
    const written = await writeTinyBundle(dir, { labels: ["green", "red"] });
    expect(existsSync(join(dir, "old.txt"))).toBe(false);
    expect((await loadBundle(dir)).digest).toBe(written.digest);
    expect((await readdir(root)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("leaves the old bundle as it was when the new one cannot be written", async () => {
    const dir = await copy();
    const before = await readdir(root);
    await expect(replaceFolder(dir, async () => await Promise.reject(new Error("disk full")))).rejects.toThrow("disk full");
    expect((await loadBundle(dir)).digest).toBe(original.digest);
    expect(await readdir(root)).toEqual(before);
  });

  it("refuses content that could not be loaded again, before anything is written", async () => {
    const dir = join(root, "refused");
    const { formatVersion: _, files: __, ...manifest } = original.manifest;
    const model = { "model.onnx": tinyModel() };
    const notANumber = writeBundle(dir, {
      manifest: { ...manifest, checks: [], metrics: { loss: Number.NaN } },
      files: model,
      card: "",
      provenance: {},
    });
    expect((await failure(notANumber)).message).toContain("metrics.loss");
    const outside = writeBundle(dir, { manifest: { ...manifest, checks: [] }, files: { ...model, "../x": "x" }, card: "", provenance: {} });
    expect((await failure(outside)).message).toContain('"../x" is not a path inside the bundle');
    expect(existsSync(dir)).toBe(false);
  });
});

describe("loadBundle", () => {
  it("takes the model.onnx inside the folder as well", async () => {
    expect((await loadBundle(join(original.dir, "model.onnx"))).digest).toBe(original.digest);
  });

  it("says that a folder without bundle.json is not a bundle", async () => {
    const error = await failure(loadBundle(join(root, "nowhere")));
    expect(error.code).toBe("E_BUNDLE_MISSING");
    expect(error.message).toContain(join(root, "nowhere"));
  });

  it.each(["model.onnx", "weights.safetensors", "checks/blue.jpg"])("refuses a bundle whose %s was changed, by its name", async (name) => {
    const dir = await copy();
    const bytes = await readFile(join(dir, name));
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(join(dir, name), bytes);
    const error = await failure(loadBundle(dir));
    expect(error.code).toBe("E_BUNDLE_CORRUPT");
    expect(error.message).toContain(join(dir, name));
    expect(error.details["file"]).toBe(join(dir, name));
  });

  it.each([
    ["cut in half", async (file: string) => await truncate(file, 100)],
    ["emptied", async (file: string) => await truncate(file, 0)],
    ["deleted", async (file: string) => await rm(file)],
    ["replaced by a folder", async (file: string) => await rm(file).then(async () => await mkdir(file))],
  ])("refuses a bundle whose model.onnx was %s", async (_how, damage) => {
    const dir = await copy();
    await damage(join(dir, "model.onnx"));
    const error = await failure(loadBundle(dir));
    expect(error.code).toBe("E_BUNDLE_CORRUPT");
    expect(error.message).toContain(join(dir, "model.onnx"));
  });

  it("says of a newer format which formats this version reads, with its own code", () => {
    const text = JSON.stringify({ formatVersion: 3 });
    expect(() => parseManifest(text, "m/bundle.json")).toThrow(
      expect.objectContaining({
        code: "E_BUNDLE_NEWER",
        message: "m/bundle.json: the bundle has format 3; this version of Serval reads the formats 1 to 2.",
      }) as Error,
    );
  });

  it.each<[string, (manifest: Json) => unknown, string]>([
    ["an unknown format version", (m) => ({ ...m, formatVersion: "2" }), 'expected formatVersion 1 to 2, got "2"'],
    ["no format version", (m) => without(m, "formatVersion"), "expected formatVersion 1 to 2, got none"],
    ["a key of format 2 in format 1", (m) => ({ ...m, outlierScore: {} }), "outlierScore: expected formatVersion 2, got 1"],
    ["a list instead of an object", () => [], "expected formatVersion 1"],
    ["null", () => null, "expected formatVersion 1"],
    ["a missing key", (m) => without(m, "seed"), "seed"],
    ["an unknown key", (m) => ({ ...m, colour: 1 }), "colour"],
    ["one label only", (m) => ({ ...m, labels: ["red"] }), "labels"],
    ["the same label twice", (m) => ({ ...m, labels: ["red", "red"] }), "expected each label once"],
    ["a blank label", (m) => ({ ...m, labels: ["  ", "red"] }), "a label is blank"],
    ["a picture without width", (m) => ({ ...m, preprocess: { ...(m["preprocess"] as Json), width: 0 } }), "preprocess.width"],
    ["a picture of a billion pixels", (m) => ({ ...m, preprocess: { ...(m["preprocess"] as Json), height: 1e9 } }), "preprocess.height"],
    ["an unknown fit", (m) => ({ ...m, preprocess: { ...(m["preprocess"] as Json), fit: "twist" } }), "preprocess.fit"],
    [
      "a crop larger than the picture",
      (m) => ({ ...m, preprocess: { ...(m["preprocess"] as Json), crop: { width: 999, height: 4 } } }),
      "preprocess.crop: expected at most 20x16, got 999x4",
    ],
    [
      "a check of too few probabilities",
      (m) => ({ ...m, checks: [{ file: "weights.safetensors", probabilities: [1], tolerance: 0.1 }] }),
      "checks.0.probabilities: expected 2",
    ],
    [
      "a check that does not sum to 1",
      (m) => ({ ...m, checks: [{ file: "weights.safetensors", probabilities: [1, 1], tolerance: 0.1 }] }),
      "expected a sum of 1, got 2",
    ],
    [
      "a check of a file that is not listed",
      (m) => ({ ...m, checks: [{ file: "/etc/hosts", probabilities: [1, 0], tolerance: 0.1 }] }),
      "not among the files",
    ],
    [
      "a file outside the folder",
      (m) => ({ ...m, files: { ...(m["files"] as Json), "../../etc/passwd": "0".repeat(64) } }),
      "not a path inside",
    ],
    [
      "a file in a folder of Git",
      (m) => ({ ...m, files: { ...(m["files"] as Json), "checks/../.git/config": "0".repeat(64) } }),
      "not a path inside",
    ],
    ["a file behind a backslash", (m) => ({ ...m, files: { ...(m["files"] as Json), "..\\x": "0".repeat(64) } }), "not a path inside"],
    ["no model among its files", (m) => ({ ...m, checks: [], files: {} }), "model.onnx is not among them"],
    ["a name that is a path", (m) => ({ ...m, name: "../evil" }), "name"],
  ])("refuses a bundle.json with %s", async (_case, change, message) => {
    const dir = await copy();
    const path = join(dir, "bundle.json");
    await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, "utf8")) as Json)));
    const error = await failure(loadBundle(dir));
    expect(error.code).toBe("E_BUNDLE_CORRUPT");
    expect(error.message).toContain(path);
    expect(error.message).toContain(message);
  });

  it.each([
    ["empty", "", "the file is empty"],
    ["cut off", '{"formatVersion": 1, "na', "not valid JSON"],
  ])("refuses a bundle.json that is %s", async (_case, text, message) => {
    const dir = await copy();
    await writeFile(join(dir, "bundle.json"), text);
    const error = await failure(loadBundle(dir));
    expect(error.code).toBe("E_BUNDLE_CORRUPT");
    expect(error.message).toContain(message);
  });

  it.each(["model.onnx", "bundle.json", "README.md", "provenance.json", "checks"])(
    "refuses a bundle whose %s is a link, even to the right bytes",
    async (name) => {
      const dir = await copy();
      const outside = join(root, `outside-${copies}`);
      await rename(join(dir, name), outside);
      await symlink(outside, join(dir, name));
      const error = await failure(loadBundle(dir));
      expect([error.code, error.message]).toEqual(["E_BUNDLE_CORRUPT", expect.stringContaining(`is a link to "${outside}"`)]);
      // By another name it is the same folder: that is the user's choice.
      await rm(join(dir, name));
      await rename(outside, join(dir, name));
      await symlink(dir, `${dir}-link`);
      expect((await loadBundle(`${dir}-link`)).digest).toBe(original.digest);
    },
  );

  it("takes links to objects of the cache, which `cache.type = symlink` puts into artifacts/", async () => {
    const dir = await copy();
    const object = join(root, `cache-${copies}/files/md5/ab/cdef0123456789abcdef0123456789`);
    await mkdir(dirname(object), { recursive: true });
    await rename(join(dir, "model.onnx"), object);
    await symlink(object, join(dir, "model.onnx"));
    expect((await loadBundle(dir)).digest).toBe(original.digest);
  });

  it("finds the old bundle after a crash between the two renames of a replacement", async () => {
    const dir = await copy();
    await rename(dir, join(root, `.copy-${copies}.previous`));
    expect((await loadBundle(dir)).digest).toBe(original.digest);
    const written = await writeTinyBundle(dir, { name: "after-crash" });
    expect((await loadBundle(dir)).digest).toBe(written.digest);
    expect((await readdir(root)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("always sees one whole bundle while another is written over it again and again", async () => {
    const dir = await copy();
    const digests = new Set([original.digest]);
    const writing = new AbortController();
    const writer = (async () => {
      for (let i = 0; i < 8; i++) digests.add((await writeTinyBundle(dir, { name: `version-${i}` })).digest);
      writing.abort();
    })();
    const seen: string[] = [];
    while (!writing.signal.aborted) seen.push((await loadBundle(dir)).digest);
    await writer;
    expect(seen.length).toBeGreaterThan(5);
    expect(seen.filter((digest) => !digests.has(digest))).toEqual([]);
  });
});

describe("copyBundle", () => {
  it("takes the card along, or another one in its place, and leaves the digest as it is", async () => {
    const same = await copyBundle(original, join(root, "same"));
    expect(await readFile(join(same.dir, "README.md"))).toEqual(await readFile(join(original.dir, "README.md")));
    const other = await copyBundle(original, join(root, "other"), "# Another card");
    expect(await readFile(join(other.dir, "README.md"), "utf8")).toBe("# Another card");
    expect((await loadBundle(other.dir)).digest).toBe(original.digest);
  });

  it("copies every byte, provenance included, so that the digest stays", async () => {
    const target = join(root, "models", "colours");
    await copyBundle(original, target);
    expect((await loadBundle(target)).digest).toBe(original.digest);
    expect(await readFile(join(target, "provenance.json"), "utf8")).toContain("2026-01-01");
  });

  it("leaves out what was said about single validation pictures", async () => {
    const trained = await writeTinyBundle(join(root, "trained"), { validation: "{}\n" });
    expect(existsSync(join(trained.dir, "validation.jsonl"))).toBe(true);
    const released = await copyBundle(trained, join(root, "released"));
    expect(released.digest).toBe(trained.digest);
    expect(existsSync(join(released.dir, "validation.jsonl"))).toBe(false);
  });

  it("throws the copy away when the source was damaged after it was loaded", async () => {
    const dir = await copy();
    const bundle = await loadBundle(dir);
    await truncate(join(dir, "weights.safetensors"), 3);
    const target = join(root, "models", "damaged");
    expect((await failure(copyBundle(bundle, target))).code).toBe("E_BUNDLE_CORRUPT");
    expect(existsSync(target)).toBe(false);
  });
});
