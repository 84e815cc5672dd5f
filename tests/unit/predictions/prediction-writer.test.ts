import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { defaultRetention, type LogEvent } from "../../../src/predictions/prediction-log.ts";
import type { Retention } from "../../../src/predictions/prediction-store.ts";
import { PredictionWriter } from "../../../src/predictions/prediction-writer.ts";
import { SqliteStore } from "../../../src/predictions/sqlite-store.ts";
import { loggedPrediction } from "../../helpers/logged-prediction.ts";

let dir: string;
let path: string;
let events: LogEvent[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-writer-"));
  path = join(dir, "predictions.db");
  events = [];
  const made = dir;
  onTestFinished(async () => {
    vi.useRealTimers();
    await rm(made, { recursive: true });
  });
});

function openWriter(retention: Retention = defaultRetention): PredictionWriter {
  const writer = new PredictionWriter({ open: () => new SqliteStore(path), retention, tell });
  onTestFinished(async () => await writer.close());
  return writer;
}

function tell(event: LogEvent): void {
  if (event.kind !== "waiting") events.push(event);
}

function storedIds(): unknown[] {
  const db = new DatabaseSync(path);
  const rows = db.prepare("SELECT request_id FROM predictions ORDER BY request_id").all();
  db.close();
  return rows.map((row) => row["request_id"]);
}

/** A failed store is left alone for a second of the clock that only goes forward. */
async function passTime(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

test("a file that is not a database is reported with its reason, and what waits is stored when it has been moved away", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  await writeFile(path, "not a database, whatever its name says. ".repeat(100));
  const writer = openWriter();
  await writer.add([loggedPrediction("a")]);
  expect(events).toEqual([{ kind: "trouble", reason: "file is not a database" }]);
  await expect(writer.addFeedback("a", "red", null, 1)).rejects.toMatchObject({
    code: "E_PREDICTION_LOG",
    message: "The prediction could not be stored: file is not a database.",
  });
  await rm(path);
  await passTime(1001);
  expect(await writer.addFeedback("a", "red", null, 1)).toBe("new");
  expect(events.at(-1)).toEqual({ kind: "recovered" });
});

test("a file that is damaged while it is used is given up, and a copy that is put in its place is used", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const writer = openWriter();
  await writer.add(Array.from({ length: 500 }, (_, i) => loggedPrediction(`before-${i}`)));
  const db = new DatabaseSync(path);
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  db.close();
  await copyFile(path, `${path}.copy`);
  const { length } = await readFile(path);
  await truncate(path, 4096);
  await writeFile(path, Buffer.alloc(length - 4096, 7), { flag: "a" });
  await writer.add([loggedPrediction("during")]);
  expect(events).toEqual([{ kind: "trouble", reason: "database disk image is malformed" }]);
  for (const end of ["", "-wal", "-shm"]) await rm(`${path}${end}`, { force: true });
  await copyFile(`${path}.copy`, path);
  await passTime(1001);
  await writer.add([loggedPrediction("after")]);
  expect(events.at(-1)).toEqual({ kind: "recovered" });
  expect(storedIds()).toEqual(expect.arrayContaining(["after", "before-0", "before-499", "during"]));
});

test("what cannot be written while another program holds the file waits, and is stored when it lets go", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const writer = openWriter();
  await writer.write();
  const other = new DatabaseSync(path);
  other.exec("BEGIN IMMEDIATE");
  await writer.add([loggedPrediction("a")]);
  expect(events).toEqual([{ kind: "trouble", reason: "database is locked" }]);
  other.exec("COMMIT");
  other.close();
  await passTime(1001);
  await writer.add([loggedPrediction("b")]);
  expect([storedIds(), events.at(-1)]).toEqual([["a", "b"], { kind: "recovered" }]);
}, 20_000);

test("a clock that is put ten years ahead removes nothing, one that is right removes what is too old", async () => {
  vi.useFakeTimers({ toFake: ["performance", "Date"] });
  const day = 86_400_000;
  const now = Date.now();
  const retention = { keepDays: 30, maxBytes: 2 ** 30 };
  const first = openWriter(retention);
  await first.add([loggedPrediction("old", { atMs: now - 31 * day }), loggedPrediction("young", { atMs: now - 2 * day })]);
  vi.setSystemTime(now + 3650 * day);
  expect(await first.tidy()).toBe(false);
  expect(storedIds()).toEqual(["young"]);
  vi.setSystemTime(now);
  await first.add([loggedPrediction("new", { atMs: now })]);
  await passTime(29 * day);
  await first.tidy();
  expect(storedIds()).toEqual(["new"]);
});

test("a prediction that waits can be removed like one that is stored", async () => {
  await writeFile(path, "no database");
  const writer = openWriter();
  await writer.add([loggedPrediction("of-alice", { keyName: "alice" })]);
  await expect(writer.erase("of-alice", "bob")).rejects.toMatchObject({ code: "E_PREDICTION_LOG" });
  await writer.erase("of-alice", "alice");
  await rm(path);
  await writer.close();
  expect(storedIds()).toEqual([]);
});
