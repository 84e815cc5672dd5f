import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { readManifest } from "../../../src/data/manifest.ts";
import { drawSampleImage, openSample } from "../../../src/data/sources/sample.ts";
import { defaultImageLimits } from "../../../src/image/check-image.ts";
import { inspectImage } from "../../../src/image/inspect-image.ts";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-sample-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Mean red, green and blue of a picture. */
async function meanColour(bytes: Uint8Array): Promise<number[]> {
  const row = await preprocessImage(
    bytes,
    { orient: true, width: 16, height: 16, fit: "squash", kernel: "linear", crop: null },
    defaultImageLimits,
  );
  return [0, 1, 2].map((channel) => row.filter((_, i) => i % 3 === channel).reduce((sum, value) => sum + value, 0) / 256);
}

describe("the drawn sample", () => {
  test("holds as many cats as dogs, each with a name, a label and a path", async () => {
    const source = openSample({ perClass: 3 });
    const entries = await Array.fromAsync(source.entries());
    expect(source.count).toBe(6);
    expect(entries.map(({ name, label, path }) => [name, label, path])).toEqual(
      ["cat", "dog"].flatMap((label) => [0, 1, 2].map((i) => [`${label}/${label}-000${i}.jpg`, label, `${label}/${label}-000${i}.jpg`])),
    );
    expect(openSample().count).toBeGreaterThanOrEqual(400);
  });

  test("the same seed draws the same bytes, another seed and another number others", async () => {
    const bytes = await drawSampleImage("cat", 7);
    expect(Buffer.from(await drawSampleImage("cat", 7))).toEqual(Buffer.from(bytes));
    for (const other of [drawSampleImage("cat", 8), drawSampleImage("dog", 7), drawSampleImage("cat", 7, 43)]) {
      expect(Buffer.from(await other)).not.toEqual(Buffer.from(bytes));
    }
  });

  test("pictures vary: no two of fifty look alike, and sizes differ", async () => {
    const inspected = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => inspectImage(await drawSampleImage(i % 2 === 0 ? "cat" : "dog", i), defaultImageLimits)),
    );
    expect(new Set(inspected.map(({ dhash }) => dhash)).size).toBe(50);
    expect(new Set(inspected.map(({ width, height }) => `${width}x${height}`)).size).toBeGreaterThan(40);
    expect(inspected.every(({ format }) => format === "jpeg")).toBe(true);
  });

  test("mean colour does not tell cats from dogs", async () => {
    const count = 60;
    const colours = async (label: "cat" | "dog", from: number): Promise<number[][]> =>
      Promise.all(Array.from({ length: count }, async (_, i) => meanColour(await drawSampleImage(label, from + i))));
    const centre = (points: readonly number[][]): number[] =>
      [0, 1, 2].map((c) => points.reduce((sum, point) => sum + point[c]!, 0) / points.length);
    const distance = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, c) => sum + (value - b[c]!) ** 2, 0);
    const [cat, dog] = [centre(await colours("cat", 0)), centre(await colours("dog", 0))];
    const right = [
      ...(await colours("cat", count)).map((colour) => distance(colour, cat) < distance(colour, dog)),
      ...(await colours("dog", count)).map((colour) => distance(colour, dog) < distance(colour, cat)),
    ].filter(Boolean).length;
    expect(right / (2 * count)).toBeLessThan(0.68);
  });

  test("test_image.jpg is one of its cats, beyond those that the sample holds", async () => {
    const kept = await inspectImage(await readFile(join(import.meta.dirname, "../../../test_image.jpg")), defaultImageLimits);
    // Not compared byte by byte: another processor may round a pixel otherwise.
    expect(kept).toEqual(await inspectImage(await drawSampleImage("cat", 1003), defaultImageLimits));
  });
});

describe("serval data import", () => {
  test("takes the source from params.yaml where none is given, and does nothing the second time", async () => {
    await writeFile(join(dir, "params.yaml"), "data:\n  source: pictures\n");
    for (const [i, label] of (["cat", "dog"] as const).entries()) {
      const { mkdir } = await import("node:fs/promises");
      await mkdir(join(dir, "pictures", label), { recursive: true });
      await writeFile(join(dir, "pictures", label, "1.jpg"), await drawSampleImage(label, i));
    }
    const first = recordedContext(dir);
    expect(await runCli(["data", "import"], first)).toBe(0);
    expect(first.stdout.text).toMatch(
      /^Imported 2 images of pictures into data\/raw in \d+s, \d+ files\/s: cat 1, dog 1; 0 set aside\.\n$/,
    );
    const second = recordedContext(dir);
    expect(await runCli(["data", "import", "--json"], second)).toBe(0);
    expect(JSON.parse(second.stdout.text)).toMatchObject({
      kept: 2,
      changed: false,
      dataVersion: (await readManifest(join(dir, "data/raw"))).dataVersion,
    });
    const third = recordedContext(dir);
    expect(await runCli(["data", "import"], third)).toBe(0);
    expect(third.stdout.text).toBe("Nothing to do: the 2 images of pictures are in data/raw already (cat 1, dog 1; 0 set aside).\n");
  });

  test("refuses a source and a preset together, and a source that does not exist", async () => {
    const both = recordedContext(dir);
    expect(await runCli(["data", "import", "pictures", "--preset", "cats-dogs"], both)).toBe(2);
    expect(both.stderr.text).toContain('Both a source ("pictures") and --preset cats-dogs were given; expected one of them.');
    const none = recordedContext(dir);
    expect(await runCli(["data", "import", "nowhere"], none)).toBe(2);
    expect(none.stderr.text).toContain('The data source "nowhere" does not exist.');
    const odd = recordedContext(dir);
    expect(await runCli(["data", "import", "params.yaml"], odd)).toBe(2);
    expect(odd.stderr.text).toContain('"params.yaml" is neither a folder nor a .zip file.');
  });
});
