import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { checkData } from "../../../src/data/check.ts";
import { writeManifest, type ManifestRow } from "../../../src/data/manifest.ts";
import { sha256, writeFileAtomic } from "../../../src/files.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-check-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function row(path: string, changes: Partial<ManifestRow> = {}): ManifestRow {
  const label = path.split("/")[0]!;
  return {
    path,
    label,
    sha256: sha256(path),
    dhash: sha256(`look ${path}`).slice(0, 16),
    width: 80,
    height: 60,
    format: "jpeg",
    ...changes,
  };
}

/** A set with one of each trouble. */
async function troubled(): Promise<void> {
  await writeManifest(join(dir, "data/raw"), [
    ...Array.from({ length: 6 }, (_, i) => row(`rose/${i}.jpg`)),
    ...Array.from({ length: 3 }, (_, i) => row(`tulip/${i}.jpg`)),
    row("rose/copy.jpg", { sha256: sha256("rose/0.jpg"), dhash: row("rose/0.jpg").dhash }),
    row("tulip/same.jpg", { sha256: sha256("rose/1.jpg"), dhash: row("rose/1.jpg").dhash }),
    row("tulip/alike.jpg", { dhash: nudge(row("rose/2.jpg").dhash) }),
    row("rose/tiny.jpg", { width: 20, height: 40 }),
    row("rose/wide.jpg", { width: 400, height: 100 }),
    row("orchid/1.jpg"),
  ]);
}

/** The hash with its last two bits flipped. */
function nudge(dhash: string): string {
  return (BigInt(`0x${dhash}`) ^ 3n).toString(16).padStart(16, "0");
}

describe("serval data check", () => {
  test("finds each kind of trouble", async () => {
    await troubled();
    const check = await checkData(join(dir, "data/raw"), join(dir, "data/processed"));
    expect(check).toMatchObject({
      images: 15,
      classes: [
        { label: "orchid", count: 1, share: 1 / 15 },
        { label: "rose", count: 9, share: 9 / 15 },
        { label: "tulip", count: 5, share: 5 / 15 },
      ],
      exactDuplicates: [
        { paths: ["rose/0.jpg", "rose/copy.jpg"], labels: ["rose"] },
        { paths: ["rose/1.jpg", "tulip/same.jpg"], labels: ["rose", "tulip"] },
      ],
      nearDuplicates: [{ paths: ["rose/2.jpg", "tulip/alike.jpg"], labels: ["rose", "tulip"] }],
      conflicts: [
        { paths: ["rose/1.jpg", "tulip/same.jpg"], sameBytes: true },
        { paths: ["rose/2.jpg", "tulip/alike.jpg"], sameBytes: false },
      ],
      oddSizes: [
        { path: "rose/tiny.jpg", width: 20, height: 40, reason: "a side is shorter than 32 px" },
        { path: "rose/wide.jpg", width: 400, height: 100, reason: "one side is 4.0 times the other" },
      ],
      tooSmall: [{ label: "orchid", count: 1, needed: 3 }],
      splits: null,
    });
  });

  test("finds duplicates that lie in two splits, and shards of another version of the data", async () => {
    await troubled();
    const rows = (paths: readonly string[]): string[][] => paths.map((path) => [sha256(path), path.split("/")[0]!]);
    const part = (paths: readonly string[]): object => ({ files: [{ name: "x.bin", rows: paths.length, sha256: "" }], rows: rows(paths) });
    const index = {
      formatVersion: 1,
      width: 2,
      height: 2,
      labels: ["rose", "tulip"],
      dataVersion: "another",
      splits: { train: part(["rose/0.jpg", "rose/2.jpg"]), val: part(["rose/1.jpg"]), test: part(["tulip/alike.jpg"]) },
    };
    await writeFileAtomic(join(dir, "data/processed/index.json"), JSON.stringify(index));
    const check = await checkData(join(dir, "data/raw"), join(dir, "data/processed"));
    expect(check.splits).toEqual({ upToDate: false, leaks: [{ paths: ["rose/2.jpg", "tulip/alike.jpg"], splits: ["train", "test"] }] });
  });

  test("prints the balance as bars, and every finding with its paths", async () => {
    await troubled();
    const context = recordedContext(dir);
    expect(await runCli(["data", "check"], context)).toBe(0);
    const lines = context.stdout.text.split("\n");
    expect(lines[0]).toMatch(/^15 images in 3 classes, data version [0-9a-f]{12}$/);
    expect(lines.slice(1, 4)).toEqual([
      `  orchid  ${"█".repeat(4)} 1 (6.7 %)`,
      `  rose    ${"█".repeat(40)} 9 (60.0 %)`,
      `  tulip   ${"█".repeat(22)} 5 (33.3 %)`,
    ]);
    expect(context.stdout.text).toContain(
      "Conflicting labels: 2\n  rose/1.jpg = tulip/same.jpg (the same bytes)\n  rose/2.jpg ~ tulip/alike.jpg (look the same)\n",
    );
    expect(context.stdout.text).toContain("Leaks between splits: nothing is prepared yet\n");
  });

  test("with --json prints the whole report", async () => {
    await troubled();
    const context = recordedContext(dir);
    expect(await runCli(["data", "check", "--json"], context)).toBe(0);
    expect(JSON.parse(context.stdout.text)).toEqual(await checkData(join(dir, "data/raw"), join(dir, "data/processed")));
  });

  test("without imported data says what to run", async () => {
    const context = recordedContext(dir);
    expect(await runCli(["data", "check"], context)).toBe(2);
    expect(context.stderr.text).toMatch(/^E_MANIFEST_MISSING: .*\n {2}Run `serval data import SOURCE` first\.\n$/);
  });
});
