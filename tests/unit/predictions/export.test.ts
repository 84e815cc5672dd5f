import { cp, mkdir, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { parseTime } from "../../../src/cli/options/parse-time.ts";
import { SqliteStore } from "../../../src/predictions/sqlite-store.ts";
import { loggedPrediction } from "../../helpers/logged-prediction.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-export-"));
  const made = cwd;
  onTestFinished(async () => await rm(made, { recursive: true }));
});

async function exported(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(["predictions", "export", ...args], context);
  return { code, out: context.stdout.text, err: context.stderr.text };
}

const hour = 3_600_000;

/** Two predictions; the second one an hour later, with feedback, a key and a label that needs quotes. */
async function fill(rows = 0): Promise<void> {
  await mkdir(join(cwd, ".serval"));
  const store = new SqliteStore(join(cwd, ".serval/predictions.db"));
  const odd = { label: 'a "b", c', probabilities: { 'a "b", c': 0.75, d: 0.25 }, confidence: 0.75 };
  const facts = loggedPrediction("x").facts;
  await store.addPredictions([
    loggedPrediction("first", {
      atMs: 0,
      facts: facts && { ...facts, size: null, reason: "low_confidence", outlierScore: null, embedding: null },
    }),
    loggedPrediction("second", { atMs: hour, keyName: "alice", ...odd }),
    ...Array.from({ length: rows }, (_, i) => loggedPrediction(`more-${i}`, { atMs: hour + Math.floor(i / 7) })),
  ]);
  await store.addFeedback("second", "d", null, 2 * hour);
  await store.close();
}

test("JSON Lines have an object a prediction with all that is stored of it, the oldest first", async () => {
  await fill();
  expect(await exported()).toMatchObject({ code: 0, out: "Wrote 2 predictions, 1 of them with feedback, to predictions.jsonl.\n" });
  const file = join(cwd, "predictions.jsonl");
  const rows = (await readFile(file, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(rows).toEqual([
    expect.objectContaining({
      request_id: "first",
      at: "1970-01-01T00:00:00.000Z",
      reason: "low_confidence",
      width: null,
      feedback_label: null,
      key_name: null,
      outlier_score: null,
      embedding: null,
    }),
    {
      request_id: "second",
      at: "1970-01-01T01:00:00.000Z",
      route: "/predict",
      model_name: "colours",
      model_version: "1",
      label: 'a "b", c',
      confidence: 0.75,
      probabilities: { 'a "b", c': 0.75, d: 0.25 },
      reason: null,
      feedback_label: "d",
      feedback_at: "1970-01-01T02:00:00.000Z",
      key_name: "alice",
      preprocess_ms: 1.5,
      queue_ms: 0.25,
      model_ms: 4,
      total_ms: 6,
      width: 640,
      height: 480,
      brightness: 0.5,
      contrast: 0.25,
      sharpness: 0.125,
      saturation: 0.75,
      outlier_score: 12.5,
      embedding: Array.from({ length: 32 }, (_, k) => k / 4 - 4),
    },
  ]);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

test("CSV has a head and quotes what needs it", async () => {
  await fill();
  await exported("--format", "csv", "--out", "out/all.csv");
  const [head, first, second, end] = (await readFile(join(cwd, "out/all.csv"), "utf8")).split("\r\n");
  expect(head).toMatch(/^request_id,at,route,model_name,model_version,label,confidence,probabilities,/);
  expect(first).toMatch(/^first,1970-01-01T00:00:00.000Z,\/predict,colours,1,red,0.9,"{""blue"":0.1,""red"":0.9}",low_confidence,,,,1.5,/);
  expect(second).toContain(',"a ""b"", c",0.75,"{""a \\""b\\"", c"":0.75,""d"":0.25}",,d,1970-01-01T02:00:00.000Z,alice,');
  expect(end).toBe("");
});

test("Parquet has the same rows with types, in as many groups as it takes", async () => {
  await fill(2500);
  const { out } = await exported("--format", "parquet", "--json");
  expect(JSON.parse(out)).toEqual({ file: join(cwd, "predictions.parquet"), predictions: 2502, withFeedback: 1 });
  const bytes = await readFile(join(cwd, "predictions.parquet"));
  const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) });
  expect(rows.length).toBe(2502);
  expect(rows.find((row) => row["request_id"] === "second")).toMatchObject({
    at: new Date(hour),
    probabilities: { 'a "b", c': 0.75, d: 0.25 },
    confidence: 0.75,
    feedback_label: "d",
    feedback_at: new Date(2 * hour),
    width: 640,
    outlier_score: 12.5,
    embedding: Array.from({ length: 32 }, (_, k) => k / 4 - 4),
  });
  expect(rows[0]).toMatchObject({ request_id: "first", width: null, feedback_at: null, reason: "low_confidence" });
  expect(new Set(rows.map((row) => row["request_id"])).size).toBe(2502);
});

test("--since leaves out what is older, and no rows are a file too", async () => {
  await fill();
  await exported("--since", "1970-01-01T00:30:00Z");
  expect((await readFile(join(cwd, "predictions.jsonl"), "utf8")).split("\n")).toHaveLength(2);
  for (const format of ["csv", "parquet"]) expect(await exported("--since", "1d", "--format", format)).toMatchObject({ code: 0 });
  const bytes = await readFile(join(cwd, "predictions.parquet"));
  expect(await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) })).toEqual([]);
});

test("--since takes an age, a date and a time, and says what it takes", () => {
  const now = Date.UTC(2026, 10, 30, 12);
  expect(["7d", "12h", "30m", "2026-11-01", "2026-11-01T08:00:00Z"].map((text) => parseTime("--since", text, now).toISOString())).toEqual([
    "2026-11-23T12:00:00.000Z",
    "2026-11-30T00:00:00.000Z",
    "2026-11-30T11:30:00.000Z",
    "2026-11-01T00:00:00.000Z",
    "2026-11-01T08:00:00.000Z",
  ]);
  for (const text of ["yesterday", "-1d", "2026-13-01", "7"])
    expect(() => parseTime("--since", text, now)).toThrowError(/--since: expected a value such as 7d/);
});

test("predictions of 0.1 are exported, with nothing where it stored nothing", async () => {
  await mkdir(join(cwd, ".serval"));
  await cp(join(import.meta.dirname, "../../fixtures/0.1/predictions.db"), join(cwd, ".serval/predictions.db"));
  expect((await exported()).out).toContain("Wrote 2 predictions, 1 of them with feedback");
  const [row] = (await readFile(join(cwd, "predictions.jsonl"), "utf8")).split("\n");
  expect(JSON.parse(row ?? "")).toMatchObject({ model_name: "fixture", route: null, brightness: null, key_name: null });
});

test("where nothing is stored, it says so and leaves no file", async () => {
  const { code, err } = await exported();
  expect([code, err]).toEqual([1, expect.stringContaining("predictions.db cannot be read: there is no such file.")]);
  await expect(stat(join(cwd, ".serval"))).rejects.toMatchObject({ code: "ENOENT" });
});
