import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { PredictionStore, StoredPrediction } from "../../../src/predictions/prediction-store.ts";
import { SqliteStore } from "../../../src/predictions/sqlite-store.ts";
import { loggedPrediction } from "../../helpers/logged-prediction.ts";

let path: string;
let store: SqliteStore;
beforeEach(async () => {
  const dir = await mkdtemp(join(tmpdir(), "serval-sqlite-store-"));
  path = join(dir, "predictions.db");
  store = new SqliteStore(path);
  const made = store;
  onTestFinished(async () => {
    await made.close();
    await rm(dir, { recursive: true });
  });
});

function idsIn(file: string): string[] {
  const db = new DatabaseSync(file, { readOnly: true });
  const rows = db.prepare("SELECT request_id AS id FROM predictions ORDER BY at_ms").all();
  db.close();
  return rows.map(({ id }) => id as string);
}

/** What a service does once a minute. */
async function tidy(of: PredictionStore, keepDays: number, maxBytes: number, nowMs: number): Promise<void> {
  const beforeMs = await of.expiry({ keepDays, maxBytes }, nowMs);
  if (beforeMs === undefined) return;
  while ((await of.removeBefore(beforeMs, 100)) === 100);
}

describe("erase", () => {
  test("leaves nothing of a prediction in the files", async () => {
    await store.addPredictions([loggedPrediction("erased-request", { keyName: "key-of-alice" }), loggedPrediction("kept-request")]);
    await store.addFeedback("erased-request", "blue", null, 1);
    await store.addFeedback("kept-request", "blue", null, 1);
    await store.erase("erased-request", "key-of-alice");
    const bytes = async (): Promise<string> => {
      const files = (await readdir(join(path, ".."))).map(async (name) => await readFile(join(path, "..", name), "latin1"));
      return (await Promise.all(files)).join("");
    };
    expect(await bytes()).not.toContain("erased-request");
    expect(await bytes()).not.toContain("key-of-alice");
    expect(await bytes()).toContain("kept-request");
    expect(await store.addFeedback("kept-request", "blue", null, 1)).toBe("same");
    await expect(store.erase("erased-request", null)).rejects.toMatchObject({ code: "E_FEEDBACK_UNKNOWN" });
  });

  test("wipes the write-ahead log later where a reader held it", async () => {
    await store.addPredictions([loggedPrediction("erased-request")]);
    const reader = new DatabaseSync(path);
    reader.exec("BEGIN; SELECT * FROM predictions");
    reader.prepare("SELECT count(*) FROM predictions").get();
    await store.erase("erased-request", null);
    expect((await stat(`${path}-wal`)).size).toBeGreaterThan(0);
    reader.close();
    expect(await store.expiry({ keepDays: 0, maxBytes: 2 ** 30 }, 0)).toBeUndefined();
    expect((await stat(`${path}-wal`)).size).toBe(0);
  });
});

describe("retention", () => {
  const day = 86_400_000;

  test("removes what is older than the days that are kept, with its feedback", async () => {
    await store.addPredictions([1, 2, 3, 4].map((n) => loggedPrediction(`day-${n}`, { atMs: n * day })));
    await store.addFeedback("day-1", "blue", null, 4 * day);
    await tidy(store, 2, 2 ** 30, 4.5 * day);
    expect(idsIn(path)).toEqual(["day-3", "day-4"]);
    const db = new DatabaseSync(path);
    expect(db.prepare("SELECT count(*) AS n FROM feedback").get()).toEqual({ n: 0 });
    db.close();
  });

  test.each([
    ["two labels", 2],
    ["a hundred labels", 100],
  ])("keeps the file about as large as it may be, with the newest predictions of %s", async (_, labels) => {
    const maxBytes = 2 ** 20;
    const probabilities = Object.fromEntries(Array.from({ length: labels }, (_, k) => [`label-${k}`, Math.sqrt(k)]));
    const rowsPerRound = labels === 2 ? 400 : 60;
    let at = 0;
    for (let round = 0; round < 30; round++) {
      await store.addPredictions(
        Array.from({ length: rowsPerRound }, () => loggedPrediction(randomUUID(), { atMs: at++, probabilities, keyName: "alice" })),
      );
      await tidy(store, 0, maxBytes, at);
    }
    const { size } = await stat(path);
    expect(size).toBeLessThan(1.25 * maxBytes);
    expect(size).toBeGreaterThan(0.75 * maxBytes);
    const db = new DatabaseSync(path);
    const { n, oldest } = db.prepare("SELECT count(*) AS n, min(at_ms) AS oldest FROM predictions").get() as { n: number; oldest: number };
    db.close();
    expect(oldest).toBe(at - n);
    // As many as fit, not a few.
    expect(n * (300 + labels * 28)).toBeGreaterThan(0.45 * maxBytes);
  });
});

test("an embedding comes back as float16 keeps it, with the score of the outlier", async () => {
  const { facts } = loggedPrediction("seen");
  const embedding = Float32Array.from({ length: 32 }, (_, k) => Math.sin(k) * 10);
  await store.addPredictions([
    loggedPrediction("seen", { atMs: 1, facts: facts && { ...facts, outlierScore: 0.1, embedding } }),
    loggedPrediction("unseen", { atMs: 2, facts: facts && { ...facts, outlierScore: null, embedding: null } }),
  ]);
  const rows: StoredPrediction[] = [];
  for await (const page of store.read(0)) rows.push(...page);
  expect(rows.map((row) => row.facts?.outlierScore)).toEqual([0.1, null]);
  expect(rows.map((row) => row.facts?.embedding)).toEqual([embedding.map((value) => Math.f16round(value)), null]);
});

test("a hundred thousand labels for ids that are not stored leave no trace, and the next one is stored", async () => {
  await store.addPredictions([loggedPrediction("known")]);
  let unknown = 0;
  for (let i = 0; i < 100_000; i++) {
    await store
      .addFeedback(`unknown-${i}`, "red", null, i)
      .catch(({ code }: { code: string }) => (unknown += Number(code === "E_FEEDBACK_UNKNOWN")));
  }
  expect(unknown).toBe(100_000);
  expect(await store.addFeedback("known", "red", null, 1)).toBe("new");
  const db = new DatabaseSync(path);
  expect(db.prepare("SELECT count(*) AS n FROM feedback").get()).toEqual({ n: 1 });
  db.close();
});
