import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { importData } from "../../../src/workflows/data/import-data.ts";
import { download } from "../../../src/http/download.ts";
import { openSource } from "../../../src/data/sources/open-source.ts";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { sha256, sha256File } from "../../../src/files.ts";
import { serveFile, type FileServer } from "../../helpers/file-server.ts";
import { jpeg } from "../../helpers/pictures.ts";
import { zipFile } from "../../helpers/zip-file.ts";

// Larger than what the sockets between us buffer: where the server cuts late, we have had a part for certain.
const size = 12_000_000;
const cutAt = 10_000_000;
const content = createHash("shake256", { outputLength: size }).update("content").digest();
const otherContent = createHash("shake256", { outputLength: size }).update("other").digest();

let dir: string;
let server: FileServer;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-download-"));
  server = await serveFile(content);
});
afterEach(async () => {
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

function fetchFile(options: Partial<Parameters<typeof download>[1]> = {}): Promise<string> {
  return download(server.url, { dir, retryDelayMs: 1, ...options });
}

async function part(): Promise<number | undefined> {
  const name = (await readdir(dir)).find((file) => file.endsWith(".part"));
  return name === undefined ? undefined : (await stat(join(dir, name))).size;
}

describe("download", () => {
  test("brings the file and reports its bytes", async () => {
    const seen: number[][] = [];
    const path = await fetchFile({ onProgress: (done, total) => seen.push([done, total]) });
    expect(await sha256File(path)).toBe(sha256(content));
    expect(path).toMatch(/[0-9a-f]{12}-set\.zip$/);
    expect(seen.at(-1)).toEqual([size, size]);
    expect(await part()).toBeUndefined();
  });

  test("takes a broken connection up again where it broke, by itself", async () => {
    server.cuts.push(cutAt, 1000);
    const path = await fetchFile();
    expect(await sha256File(path)).toBe(sha256(content));
    expect(server.requests).toHaveLength(3);
    expect(server.requests[0]!.range).toBeUndefined();
    const starts = server.requests.slice(1).map((headers) => Number(/\d+/.exec(headers.range!)![0]));
    expect(starts[0]).toBeGreaterThan(0);
    expect(starts[1]).toBeGreaterThanOrEqual(starts[0]!);
    expect(server.requests[1]!["if-range"]).toBe('"one"');
  });

  test("keeps the part when it gives up, and continues from it the next time", async () => {
    server.cuts.push(cutAt);
    await expect(fetchFile({ retries: 0 })).rejects.toMatchObject({
      code: "E_DOWNLOAD",
      hint: "Run the same command again: it continues where it stopped.",
    });
    const had = await part();
    expect(had).toBeGreaterThan(0);
    const path = await fetchFile({ retries: 0 });
    expect(server.requests.at(-1)!.range).toBe(`bytes=${had}-`);
    expect(await sha256File(path)).toBe(sha256(content));
  });

  test("resumes by Last-Modified where there is no ETag, and by the size where there is neither", async () => {
    for (const lastModified of ["Wed, 21 Oct 2015 07:28:00 GMT", null]) {
      await rm(dir, { recursive: true });
      server.file = { bytes: content, etag: null, lastModified };
      server.cuts.push(cutAt);
      await expect(fetchFile({ retries: 0 })).rejects.toMatchObject({ code: "E_DOWNLOAD" });
      const path = await fetchFile({ retries: 0 });
      expect(server.requests.at(-1)!["if-range"]).toBe(lastModified ?? undefined);
      expect(server.requests.at(-1)!.range).toMatch(/^bytes=\d+-$/);
      expect(await sha256File(path)).toBe(sha256(content));
    }
  });

  test("does not trust a weak ETag with the bytes", async () => {
    server.file = { bytes: content, etag: 'W/"one"', lastModified: null };
    server.cuts.push(cutAt);
    await expect(fetchFile({ retries: 0 })).rejects.toMatchObject({ code: "E_DOWNLOAD" });
    expect(await sha256File(await fetchFile({ retries: 0 }))).toBe(sha256(content));
    expect(server.requests.at(-1)!["if-range"]).toBeUndefined();
  });

  test.each([
    ["with the same size", otherContent],
    ["and is shorter than the part now", otherContent.subarray(0, 1000)],
    ["and is longer", Buffer.concat([otherContent, otherContent])],
  ])("starts again when the file changed in between %s", async (_, changed) => {
    server.cuts.push(cutAt);
    await expect(fetchFile({ retries: 0 })).rejects.toMatchObject({ code: "E_DOWNLOAD" });
    server.file = { bytes: changed, etag: '"two"', lastModified: null };
    expect(await sha256File(await fetchFile({ retries: 0 }))).toBe(sha256(changed));
  });

  test("starts again when a server without validators has a file of another size", async () => {
    server.file = { bytes: content, etag: null, lastModified: null };
    server.cuts.push(cutAt);
    await expect(fetchFile({ retries: 0 })).rejects.toMatchObject({ code: "E_DOWNLOAD" });
    for (const bytes of [otherContent.subarray(0, 11_000_000), otherContent.subarray(0, 100)]) {
      server.file = { bytes, etag: null, lastModified: null };
      expect(await sha256File(await fetchFile({ retries: 0 }))).toBe(sha256(bytes));
    }
  });

  test("starts again where the server does not know ranges", async () => {
    server.conditional = false;
    server.cuts.push(cutAt);
    expect(await sha256File(await fetchFile())).toBe(sha256(content));
  });

  test("does not download again what is there, with or without help of the server", async () => {
    await fetchFile();
    for (const conditional of [true, false]) {
      server.conditional = conditional;
      const seen: number[] = [];
      expect(await sha256File(await fetchFile({ onProgress: (done) => seen.push(done) }))).toBe(sha256(content));
      expect(seen).toEqual([]);
    }
  });

  test("downloads a file that changed", async () => {
    await fetchFile();
    server.file = { bytes: otherContent, etag: '"two"', lastModified: null };
    expect(await sha256File(await fetchFile())).toBe(sha256(otherContent));
  });

  test("uses what is there when the server cannot be reached, and says so when nothing is", async () => {
    const path = await fetchFile();
    await server.close();
    expect(await fetchFile({ retries: 0 })).toBe(path);
    await rm(dir, { recursive: true });
    await expect(fetchFile({ retries: 1 })).rejects.toMatchObject({
      code: "E_DOWNLOAD",
      message: expect.stringContaining("ECONNREFUSED") as string,
    });
  });

  test("an HTTP error is reported with its status, without retries", async () => {
    await expect(download(`${server.url}.gone`, { dir, retryDelayMs: 1 })).rejects.toMatchObject({
      code: "E_DOWNLOAD",
      message: `"${server.url}.gone" answered with HTTP status 404.`,
    });
    expect(server.requests).toHaveLength(1);
  });

  test("stops at once when it is aborted, and keeps the part", async () => {
    const controller = new AbortController();
    const stopped = fetchFile({
      signal: controller.signal,
      onProgress: () => controller.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGINT.")),
    });
    await expect(stopped).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    expect(await part()).toBeDefined();
  });
});

describe("sources on the web", () => {
  async function archive(names: readonly string[]): Promise<Buffer> {
    return zipFile(await Promise.all(names.map(async (name) => ({ name: `set/${name}.jpg`, bytes: await jpeg(name) }))));
  }

  test("a URL is imported like the zip that it is, and nothing is done twice", async () => {
    server.file.bytes = await archive(["a/1", "b/1"]);
    const first = await importData({ cwd: dir, source: server.url });
    expect(first).toMatchObject({ source: "set.zip", kept: 2, counts: { a: 1, b: 1 }, changed: true });
    expect(await importData({ cwd: dir, source: server.url })).toMatchObject({ changed: false, dataVersion: first.dataVersion });
    expect(await readdir(join(dir, "data/raw"))).toEqual(["a", "b", "manifest.jsonl"]);
  });

  test("a file that is not a zip is refused by name", async () => {
    await expect(importData({ cwd: dir, source: server.url })).rejects.toMatchObject({
      code: "E_ARCHIVE_CORRUPT",
      message: expect.stringContaining('"set.zip"') as string,
    });
    await expect(openSource("http://[", { cwd: dir })).rejects.toMatchObject({ code: "E_SOURCE" });
  });

  describe("a preset", () => {
    const lock = (): Promise<unknown> => readFile(join(dir, "downloads.lock.json"), "utf8").then(JSON.parse);
    const importPreset = (): ReturnType<typeof importData> =>
      importData({ cwd: dir, source: "preset:flowers", presets: { flowers: { url: server.url } } });

    test("records size and hash at the first download", async () => {
      const bytes = await archive(["a/1", "b/1"]);
      server.file.bytes = bytes;
      expect(await importPreset()).toMatchObject({ kept: 2, changed: true });
      expect(await lock()).toEqual({ flowers: { url: server.url, sizeBytes: bytes.length, sha256: sha256(bytes) } });
      expect(await importPreset()).toMatchObject({ changed: false });
    });

    test("refuses another file from then on, also on another machine", async () => {
      const bytes = await archive(["a/1", "b/1"]);
      server.file.bytes = bytes;
      await importPreset();
      const recorded = await lock();
      // Another machine: the repository with its lock, without downloads and data.
      for (const folder of [".serval", "data"]) await rm(join(dir, folder), { recursive: true });
      const changed = Buffer.from(bytes);
      changed[200] = changed[200]! ^ 1;
      server.file = { bytes: changed, etag: '"two"', lastModified: null };
      await expect(importPreset()).rejects.toMatchObject({
        code: "E_DOWNLOAD_MISMATCH",
        message: `"${server.url}" has ${server.file.bytes.length} bytes with sha256 ${sha256(server.file.bytes)}; downloads.lock.json expects ${bytes.length} bytes with sha256 ${sha256(bytes)}.`,
      });
      expect(await lock()).toEqual(recorded);
      expect(await readdir(dir)).not.toContain("data");
      // The right file is fetched once the server has it again.
      server.file = { bytes, etag: '"one"', lastModified: null };
      expect(await importPreset()).toMatchObject({ kept: 2 });
    });

    test("does not take an unreadable record for a first download", async () => {
      server.file.bytes = await archive(["a/1", "b/1"]);
      await writeFile(join(dir, "downloads.lock.json"), "<<<<<<< conflict");
      await expect(importPreset()).rejects.toMatchObject({ code: "E_DOWNLOAD_MISMATCH" });
    });

    test("that does not exist is an error that names those that do", async () => {
      await expect(openSource("preset:unicorns", { cwd: dir })).rejects.toMatchObject({
        code: "E_SOURCE",
        message: 'There is no preset "unicorns"; expected one of cats-dogs.',
      });
    });
  });
});
