import { randomUUID } from "node:crypto";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { defaultRetention, type LogEvent } from "../../../src/predictions/prediction-log.ts";
import { PredictionSpool } from "../../../src/predictions/prediction-spool.ts";
import type { StoredPrediction } from "../../../src/predictions/prediction-store.ts";
import { PredictionWriter } from "../../../src/predictions/prediction-writer.ts";
import { SqliteStore } from "../../../src/predictions/sqlite-store.ts";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { loggedPrediction } from "../../helpers/logged-prediction.ts";

let dir: string;
let spoolPath: string;
let events: LogEvent[];
/** Whether the database, a file here, can be reached. */
let up: boolean;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-spool-"));
  spoolPath = join(dir, "spool.db");
  [events, up] = [[], false];
  const made = dir;
  onTestFinished(async () => {
    vi.useRealTimers();
    await rm(made, { recursive: true });
  });
});

function openWriter(maxBytes?: number): PredictionWriter {
  const open = (): SqliteStore => {
    if (!up) throw new ServalError("E_PREDICTION_LOG", "no answer");
    return new SqliteStore(join(dir, "store.db"));
  };
  const tell = (event: LogEvent): void => void events.push(event);
  return new PredictionWriter({ open, spool: new PredictionSpool(spoolPath, maxBytes), retention: defaultRetention, tell });
}

async function stored(): Promise<StoredPrediction[]> {
  const store = new SqliteStore(join(dir, "store.db"));
  const rows: StoredPrediction[] = [];
  for await (const page of store.read(0)) rows.push(...page);
  await store.close();
  return rows;
}

test("what a database does not take waits on the disk over the end of the process, with its feedback, and is delivered a page at a time", async () => {
  const rows = Array.from({ length: 1500 }, (_, i) => loggedPrediction(`id-${i}`, { atMs: i, keyName: i === 0 ? "alice" : null }));
  const first = openWriter();
  await first.add(rows);
  expect(await first.addFeedback("id-0", "blue", "alice", 7)).toBe("new");
  expect(await first.addFeedback("id-0", "blue", "alice", 8)).toBe("same");
  await expect(first.addFeedback("id-0", "blue", "bob", 8)).rejects.toMatchObject({ code: "E_PREDICTION_LOG" });
  await expect(first.addFeedback("elsewhere", "blue", null, 8)).rejects.toMatchObject({
    code: "E_PREDICTION_LOG",
    message: "The prediction could not be stored: no answer.",
  });
  await first.erase("id-1", null);
  await first.close();
  expect(events).toEqual([
    { kind: "trouble", reason: "no answer" },
    { kind: "waiting", count: 1500 },
    { kind: "waiting", count: 1499 },
  ]);

  [events, up] = [[], true];
  const second = openWriter();
  expect([await second.tidy(), await second.tidy()]).toEqual([true, false]);
  expect(events).toEqual([
    { kind: "waiting", count: 499 },
    { kind: "waiting", count: 0 },
  ]);
  await second.close();
  const found = await stored();
  expect(found.length).toBe(1499);
  expect(found[0]).toEqual({ ...rows[0], feedback: { label: "blue", atMs: 7 } });
});

test("beyond its room the oldest are lost, and counted", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const writer = openWriter(2 ** 20);
  for (let i = 0; i < 24; i++) await writer.add(Array.from({ length: 256 }, () => loggedPrediction(randomUUID(), { atMs: i })));
  await vi.advanceTimersByTimeAsync(11_000);
  await writer.write();
  const lost = events.flatMap((event) => (event.kind === "lost" ? event.count : [])).reduce((sum, count) => sum + count, 0);
  const waiting = events.flatMap((event) => (event.kind === "waiting" ? event.count : [])).at(-1) ?? 0;
  expect(lost).toBeGreaterThan(100);
  expect(lost + waiting).toBe(24 * 256);
  await writer.close();
  expect((await stat(spoolPath)).size).toBeLessThan(1.3 * 2 ** 20);
});

test("where the disk takes nothing either, it waits in memory", async () => {
  spoolPath = join(dir, "no-folder", "\0");
  const writer = openWriter();
  await writer.add([loggedPrediction("a")]);
  vi.useFakeTimers({ toFake: ["performance"] });
  up = true;
  await vi.advanceTimersByTimeAsync(1001);
  spoolPath = join(dir, "spool.db");
  await writer.write();
  await writer.close();
  expect((await stored()).map(({ requestId }) => requestId)).toEqual(["a"]);
});
