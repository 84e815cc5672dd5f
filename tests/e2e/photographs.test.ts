import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openShards, type Split } from "../../src/data/shards.ts";
import { openSource } from "../../src/data/sources/open-source.ts";
import { readEntry } from "../../src/data/sources/source.ts";
import { sha256 } from "../../src/files.ts";
import { preprocessImage } from "../../src/image/preprocess-image.ts";
import { loadBundle } from "../../src/model/bundle.ts";
import { editParams, mustRun } from "../helpers/pattern-project.ts";
import { startServal } from "../helpers/serval-process.ts";

/** A zip of labelled photographs; they are not part of the repository. */
const photographs = process.env["SERVAL_TEST_PHOTOS"];
if (photographs === undefined) console.warn("NOT RUN: the tests with photographs need SERVAL_TEST_PHOTOS=PATH/TO/photographs.zip");

const photographCount = 200;
const splits: readonly Split[] = ["train", "val", "test"];
const limits = { maxBytes: 1 << 24, maxPixels: 1 << 26 };

let dir: string;
/** SHA-256 -> bytes of each photograph in data/raw. */
const pictures = new Map<string, Buffer>();

/** Writes every n-th good photograph of the zip, so that both classes and all sizes are among them. */
async function writePhotographs(zip: string, target: string): Promise<void> {
  const source = await openSource(zip);
  const stride = Math.floor(source.count / photographCount);
  let seen = 0;
  let written = 0;
  for await (const entry of source.entries()) {
    if (seen++ % stride !== 1 || written === photographCount || entry.path === undefined) continue;
    await mkdir(join(target, dirname(entry.path)), { recursive: true });
    await writeFile(join(target, entry.path), await readEntry(entry, limits.maxBytes));
    written++;
  }
  await source.close();
}

describe.skipIf(photographs === undefined)("for 200 photographs", () => {
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "serval-photographs-"));
    await writePhotographs(photographs ?? "", join(dir, "photographs"));
    await mustRun(dir, ["init"]);
    await editParams(dir, { width: "112", height: "112", cropSize: "96", channels: "[16, 16, 16, 16]", epochs: "1", batchSize: "16" });
    await mustRun(dir, ["data", "import", "photographs"]);
    await mustRun(dir, ["prepare"]);
    await mustRun(dir, ["train"]);
    const lines = (await readFile(join(dir, "data/raw/manifest.jsonl"), "utf8")).trim().split("\n");
    for (const line of lines) {
      const { path } = JSON.parse(line) as { path: string };
      const bytes = await readFile(join(dir, "data/raw", path));
      pictures.set(sha256(bytes), bytes);
    }
  }, 240_000);
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test("the shard row is, byte for byte, what the service feeds the model", async () => {
    const { preprocess } = (await loadBundle(join(dir, "artifacts/best"))).manifest;
    const { width, height, crop } = preprocess;
    expect(crop).toEqual({ width: 96, height: 96 });
    const shards = await openShards(join(dir, "data/processed"), { verify: splits });
    const row = new Uint8Array(width * height * 3);
    let compared = 0;
    for (const split of splits) {
      for (const [i, hash] of shards.splits[split].sha256.entries()) {
        shards.readRow(split, i, row, 0);
        const fed = await preprocessImage(pictures.get(hash) ?? Buffer.alloc(0), preprocess, limits);
        // Cut by hand, so that the product's own crop is not compared with itself.
        const expected = Buffer.concat(
          Array.from({ length: 96 }, (_, y) => row.subarray(((y + (height - 96) / 2) * width + (width - 96) / 2) * 3).subarray(0, 96 * 3)),
        );
        expect(Buffer.compare(expected, fed)).toBe(0);
        compared++;
      }
    }
    shards.close();
    expect(compared).toBeGreaterThanOrEqual(photographCount - 2);
  });

  test("/predict answers what `evaluate` measures, within 1e-5", async () => {
    const measured = new Map<string, Record<string, number>>();
    for (const split of splits) {
      await mustRun(dir, ["evaluate", "--split", split]);
      const lines = (await readFile(join(dir, `artifacts/evaluation${split === "test" ? "" : `-${split}`}/predictions.jsonl`), "utf8"))
        .trim()
        .split("\n");
      for (const line of lines) {
        const { sha256: hash, probabilities } = JSON.parse(line) as { sha256: string; probabilities: Record<string, number> };
        measured.set(hash, probabilities);
      }
    }
    const service = startServal(dir, ["serve", "--port", "0"]);
    let largest = 0;
    try {
      const url = await service.address();
      for (const [hash, expected] of measured) {
        const body = new Uint8Array(pictures.get(hash) ?? Buffer.alloc(0));
        const response = await fetch(`${url}/predict`, { method: "POST", body, headers: { "content-type": "image/jpeg" } });
        const { probabilities } = (await response.json()) as { probabilities: Record<string, number> };
        expect(Object.keys(probabilities)).toEqual(Object.keys(expected));
        for (const [label, p] of Object.entries(expected)) largest = Math.max(largest, Math.abs(p - (probabilities[label] ?? Number.NaN)));
      }
    } finally {
      await service.stop();
    }
    expect(measured.size).toBeGreaterThanOrEqual(photographCount - 2);
    expect(largest).toBeLessThan(1e-5);
  });
});
