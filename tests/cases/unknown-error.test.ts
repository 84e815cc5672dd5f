import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ingest } from "../../src/data/ingest.ts";
import { openFolder } from "../../src/data/sources/folder.ts";
import { defaultImageLimits } from "../../src/image/check-image.ts";
import { inspectImage } from "../../src/image/inspect-image.ts";
import { jpeg } from "../helpers/pictures.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-case-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("unknown-error: each file that is set aside has the reason that it has alone", async () => {
  const source = await openFolder(join(import.meta.dirname, "../fixtures/cases/unknown-error/mixedfmt"));
  const report = await ingest(source, {
    outDir: join(dir, "raw"),
    quarantineDir: join(dir, "quarantine"),
    journalPath: join(dir, "journal"),
  });
  expect(report.counts).toEqual({ cat: 4, dog: 4 });
  const reasons = new Map(report.setAside.map(({ path, message }) => [path, message]));
  expect(reasons.get("dog/noeoi.jpg")).toContain("premature end of JPEG");
  expect(reasons.get("cat/x.bmp")).toContain("a BMP picture");
  expect(reasons.get("dog/y.tiff")).toContain("a TIFF picture");
  expect(reasons.get("dog/z.avif")).toContain("an AVIF picture");
});

test("unknown-error, relative: damaged pictures that are decoded at the same time keep their own reasons", async () => {
  const whole = await jpeg("whole", 400, 300);
  const cut = whole.subarray(0, whole.length / 2);
  const noTables = Buffer.from(whole);
  noTables.fill(0xee, 24, 60);
  const kinds = Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? cut : noTables));
  const reason = async (bytes: Uint8Array): Promise<string> =>
    inspectImage(bytes, defaultImageLimits).then(
      () => "fine",
      (error: Error) => error.message,
    );
  const [aloneCut, aloneTables] = [await reason(cut), await reason(noTables)];
  expect(aloneCut).toContain("premature end");
  expect(await Promise.all(kinds.map(reason))).toEqual(kinds.map((bytes) => (bytes === cut ? aloneCut : aloneTables)));
});
