import { randomUUID } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { closeNextWindow } from "../../src/monitor/close-window.ts";
import type { MonitoredModel } from "../../src/monitor/monitored-model.ts";
import { readWindow } from "../../src/monitor/read-window.ts";
import { PostgresStore } from "../../src/predictions/postgres-store.ts";
import type { StoredPrediction } from "../../src/predictions/prediction-store.ts";
import { loggedPrediction } from "../helpers/logged-prediction.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { getJson, predictForm, readReply, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";
import { PostgresServer } from "./postgres-server.ts";

let server: PostgresServer;
let admin: Client;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(async () => await server.close());

/** A separate database for each test. */
let url: string;
beforeEach(async () => {
  const name = `t${randomUUID().replaceAll("-", "")}`;
  admin = new Client(server.url);
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  url = server.url.replace(/postgres$/, name);
});

async function query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query(sql, values)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

async function openStore(): Promise<PostgresStore> {
  const store = await PostgresStore.open(url);
  onTestFinished(async () => await store.close());
  return store;
}

async function startService(name: string): Promise<TestService> {
  const root = await mkdtemp(join(tmpdir(), `serval-${name}-`));
  const service = await startTestService({ service: { predictionLogFile: join(root, "predictions-spool.db"), predictionsUrl: url } });
  onTestFinished(async () => {
    await service.close();
    await rm(root, { recursive: true });
  });
  return service;
}

async function sendFeedback(service: TestService, id: string, label: string): Promise<number> {
  const init = { method: "POST", body: JSON.stringify({ request_id: id, label }), headers: { "content-type": "application/json" } };
  return (await readReply(await fetch(`${service.url}/feedback`, init))).status;
}

async function metric(service: TestService, name: string): Promise<number> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

describe("the store", () => {
  test("gives back what it was given, with the feedback that came, a page after the other", async () => {
    const store = await openStore();
    const odd = { label: 'a "b"\0', probabilities: { 'a "b"\0': 0.75, d: 0.25 }, keyName: "alice" };
    const rows = [
      loggedPrediction("0.1", { atMs: 1, facts: null }),
      loggedPrediction("odd", { atMs: 2, ...odd }),
      ...Array.from({ length: 2500 }, (_, i) => loggedPrediction(`more-${i}`, { atMs: 3 + Math.floor(i / 9) })),
    ];
    for (let i = 0; i < rows.length; i += 256) await store.addPredictions(rows.slice(i, i + 256));
    // Again, as after an answer that was lost on its way.
    await store.addPredictions(rows.slice(0, 256));
    expect(await store.addFeedback("odd", "d", "alice", 9)).toBe("new");
    const found: StoredPrediction[] = [];
    for await (const page of store.read(0)) found.push(...page);
    expect(found).toHaveLength(rows.length);
    expect(found[0]).toEqual({ ...rows[0], feedback: null });
    // PostgreSQL has no character 0 in a text.
    expect(found[1]).toEqual({ ...rows[1], label: 'a "b"\u{fffd}', feedback: { label: "d", atMs: 9 } });
    const sorted = (of: readonly { requestId: string }[]): string[] => of.map(({ requestId }) => requestId).sort();
    expect(sorted(found)).toEqual(sorted(rows));
    const since: StoredPrediction[] = [];
    for await (const page of store.read(3)) since.push(...page);
    expect(since).toHaveLength(2500);
  });

  test("takes feedback as the SQLite file does: new, same, another label, of an owner, of an unknown id or label", async () => {
    const store = await openStore();
    await store.addPredictions([loggedPrediction("mine", { keyName: "alice" }), loggedPrediction("open")]);
    const results: unknown[] = [];
    for (const [id, label, key] of [
      ["mine", "red", "alice"],
      ["mine", "red", "alice"],
      ["mine", "blue", null],
      ["mine", "red", "bob"],
      ["open", "red", "bob"],
      ["mine", "purple", "alice"],
      ["none", "red", null],
      ["no\0ne", "red", null],
    ] as const) {
      results.push(await store.addFeedback(id, label, key, 1).catch(({ code }: { code: string }) => code));
    }
    expect(results).toEqual([
      "new",
      "same",
      "new",
      "E_FEEDBACK_UNKNOWN",
      "new",
      "E_LABEL_UNKNOWN",
      "E_FEEDBACK_UNKNOWN",
      "E_FEEDBACK_UNKNOWN",
    ]);
    expect(await query("SELECT request_id, label FROM feedback ORDER BY 1")).toEqual([
      { request_id: "mine", label: "blue" },
      { request_id: "open", label: "red" },
    ]);
  });

  test("removes a prediction with all that belongs to it, and lets a VACUUM give back its room", async () => {
    const store = await openStore();
    await store.addPredictions([loggedPrediction("gone", { keyName: "alice" }), loggedPrediction("kept")]);
    await store.addFeedback("gone", "blue", null, 1);
    await expect(store.erase("gone", "bob")).rejects.toMatchObject({ code: "E_FEEDBACK_UNKNOWN" });
    await store.erase("gone", "alice");
    const counts =
      "SELECT (SELECT count(*) FROM predictions)::int AS p, (SELECT count(*) FROM feedback)::int AS f, (SELECT count(*) FROM prediction_facts)::int AS d";
    expect(await query(counts)).toEqual([{ p: 1, f: 0, d: 1 }]);
    expect(await store.expiry({ keepDays: 0, maxBytes: 2 ** 30 }, 0)).toBeUndefined();
    const vacuumed = async (): Promise<unknown> =>
      (await query("SELECT vacuum_count::int AS n FROM pg_stat_user_tables WHERE relname = 'predictions'"))[0]?.["n"];
    await expect.poll(vacuumed).toBe(1);
  });

  test("keeps the tables about as large as they may be, and the newest rows", async () => {
    const store = await openStore();
    const maxBytes = 4 * 2 ** 20;
    let at = 0;
    for (let round = 0; round < 24; round++) {
      await store.addPredictions(Array.from({ length: 1000 }, () => loggedPrediction(randomUUID(), { atMs: at++, keyName: "alice" })));
      const beforeMs = await store.expiry({ keepDays: 0, maxBytes }, at);
      if (beforeMs !== undefined) while ((await store.removeBefore(beforeMs, 500)) === 500);
      // What autovacuum does in its time.
      await query("VACUUM predictions, prediction_keys, prediction_facts");
    }
    const [size] = await query(
      "SELECT (pg_total_relation_size('predictions') + pg_total_relation_size('prediction_keys') + pg_total_relation_size('prediction_facts'))::int AS n",
    );
    expect(size?.["n"]).toBeLessThan(1.4 * maxBytes);
    expect(size?.["n"]).toBeGreaterThan(0.7 * maxBytes);
    const [rows] = await query("SELECT count(*)::int AS n, min(at_ms)::int AS oldest FROM predictions");
    expect(rows?.["oldest"]).toBe(at - Number(rows?.["n"]));
  });

  test("is made once where eight replicas start at the same time, and refuses a database of a newer version", async () => {
    const stores = await Promise.all(Array.from({ length: 8 }, async () => await PostgresStore.open(url)));
    await Promise.all(stores.map(async (store) => await store.close()));
    await query("INSERT INTO serval_predictions_version VALUES (2)");
    await expect(PostgresStore.open(url)).rejects.toMatchObject({
      code: "E_PREDICTION_LOG",
      message: /version 2, and this Serval knows 1/,
    });
  });
});

describe("the monitor", () => {
  const model: MonitoredModel = {
    version: "1",
    manifest: { name: "colours", labels: ["blue", "red"], metrics: {}, reference: {} },
    embeddings: null,
    unknown: null,
  };
  const at = (minute: number): number => 1_800_000_000_000 + minute * 60_000;

  test("closes each window once where replicas share the database, and one that was taken and not logged is taken again", async () => {
    const [one, two] = await Promise.all([openStore(), openStore()]);
    const rows = Array.from({ length: 1100 }, (_, i) => loggedPrediction(`p${String(i).padStart(4, "0")}`, { atMs: at(i) }));
    await one.addPredictions(rows.slice(0, 600));
    await two.addPredictions(rows.slice(600));
    const nowMs = at(1100);
    const closed = await Promise.all([one, two, one, two].map(async (store) => await closeNextWindow(store, model, { nowMs })));
    const windows = closed.filter((window) => window !== undefined);
    expect(windows).toHaveLength(1);
    expect(windows[0]).toMatchObject({ number: 1, fromMs: at(0), last: { atMs: at(999), requestId: "p0999" } });
    expect(await one.windows.take(nowMs, nowMs + 1)).toBeUndefined();
    const taken = await Promise.all([one, two].map(async ({ windows: store }) => await store.take(nowMs + 1, nowMs + 2)));
    expect(taken.filter((window) => window !== undefined)).toEqual(windows);
    await two.windows.logged(windows[0]!, "run");
    expect(await one.windows.take(nowMs + 10, nowMs + 10)).toBeUndefined();
    expect(await closeNextWindow(two, model, { nowMs, final: true })).toMatchObject({ number: 2, fromMs: at(1000) });
    await one.removeBefore(at(2000), 5000);
    expect(await query("SELECT number FROM monitor_windows")).toEqual([{ number: "2" }]);
  });

  test("reads the same window as from the SQLite file: the last answers of one version", async () => {
    const store = await openStore();
    const own = Array.from({ length: 1005 }, (_, i) => loggedPrediction(`p${i}`, { atMs: at(i) }));
    await store.addPredictions([...own, loggedPrediction("foreign", { modelVersion: "2", atMs: at(2000) })]);
    await store.addFeedback("p1004", "blue", null, at(1004));
    const answers = await readWindow(store, model, at(1004));
    expect(answers).toHaveLength(1000);
    expect(answers[0]).toMatchObject({ atMs: at(1004), label: "red", truth: "blue", statistics: { sharpness: 0.125 } });
    expect(answers.at(-1)?.atMs).toBe(at(5));
  });
});

describe("serval predictions", () => {
  const serval = async (cwd: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> => {
    const context = recordedContext(cwd);
    const code = await runCli(["predictions", ...args], context);
    return { code, out: context.stdout.text, err: context.stderr.text };
  };

  test("import brings a file of 0.1 into PostgreSQL, and again changes nothing; export writes what is there", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "serval-import-"));
    onTestFinished(async () => {
      vi.unstubAllEnvs();
      await rm(cwd, { recursive: true });
    });
    await mkdir(join(cwd, ".serval"));
    await cp(join(import.meta.dirname, "../fixtures/0.1/predictions.db"), join(cwd, ".serval/predictions.db"));
    expect(await serval(cwd, "import")).toMatchObject({ code: 2, err: expect.stringContaining("SERVAL_PREDICTIONS_URL is not set") });
    vi.stubEnv("SERVAL_PREDICTIONS_URL", url);
    expect(await serval(cwd, "import")).toMatchObject({
      code: 0,
      out: "Brought 2 predictions, 1 of them with feedback, into PostgreSQL.\n",
    });
    const store = await openStore();
    const [labelled] = await query("SELECT request_id, label FROM feedback");
    const id = labelled?.["request_id"] as string;
    const newer = labelled?.["label"] === "cat" ? "dog" : "cat";
    expect(await store.addFeedback(id, newer, null, Date.now())).toBe("new");
    expect((await serval(cwd, "import", ".serval/predictions.db", "--json")).code).toBe(0);
    expect(await query("SELECT label FROM feedback")).toEqual([{ label: newer }]);
    expect((await serval(cwd, "export")).out).toContain("Wrote 2 predictions, 1 of them with feedback");
    expect(await readFile(join(cwd, "predictions.jsonl"), "utf8")).toContain(`"feedback_label":"${newer}"`);
  });

  test("names neither user nor password where the database does not answer, or the address is another one", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "serval-import-"));
    onTestFinished(async () => {
      vi.unstubAllEnvs();
      await rm(cwd, { recursive: true });
    });
    vi.stubEnv("SERVAL_PREDICTIONS_URL", "postgres://user-name:pass-word@127.0.0.1:1/x");
    const silent = await serval(cwd, "export");
    expect(silent.err).toContain("The predictions in postgres://127.0.0.1:1/x cannot be read: connect ECONNREFUSED 127.0.0.1:1.");
    vi.stubEnv("SERVAL_PREDICTIONS_URL", "mysql://user-name:pass-word@127.0.0.1/x");
    const other = await serval(cwd, "export");
    expect([silent.code, other.code]).toEqual([1, 2]);
    expect(silent.err + other.err).not.toMatch(/user-name|pass-word/);
  });
});

describe("two replicas", () => {
  test("take feedback about each other's predictions", async () => {
    const [first, second] = [await startService("first"), await startService("second")];
    const { request_id: id } = (await predictForm(first, await colourPicture("red"))).body;
    expect(await sendFeedback(first, "none", "red")).toBe(404);
    expect([
      await sendFeedback(second, id, "blue"),
      await sendFeedback(first, id, "blue"),
      await sendFeedback(second, id, "purple"),
    ]).toEqual([202, 200, 400]);
    expect((await fetch(`${second.url}/predictions/${id}`, { method: "DELETE" })).status).toBe(204);
    expect(await sendFeedback(first, id, "blue")).toBe(404);
  });
});

describe("a PostgreSQL that goes away", () => {
  test("loses no prediction and no feedback: they wait on the disk, also over a restart of the service, and are delivered", async () => {
    const root = await mkdtemp(join(tmpdir(), "serval-spool-"));
    const file = join(root, "predictions-spool.db");
    const options = { service: { predictionLogFile: file, predictionsUrl: url } };
    const picture = await colourPicture("red");
    const first = await startTestService(options);
    const { request_id: before } = (await predictForm(first, picture)).body;
    expect(await sendFeedback(first, before, "blue")).toBe(202);
    await server.kill();
    const { request_id: during, label } = (await predictForm(first, picture)).body;
    expect(label).toBe("red");
    // What waits on this machine's disk can be labelled; what is in the database cannot be asked for.
    await expect.poll(async () => await sendFeedback(first, during, "blue")).toBe(202);
    expect(await sendFeedback(first, before, "red")).toBe(503);
    expect(await metric(first, "serval_predictions_waiting")).toBe(1);
    expect(await first.logged(({ msg }) => String(msg).includes("and wait in"))).toMatchObject({
      code: "E_PREDICTION_LOG",
      level: "error",
    });
    expect(first.lines.join("")).not.toContain("not-asked-for");
    await first.close();

    const second = await startTestService(options);
    const { request_id: later } = (await predictForm(second, picture)).body;
    await server.resume();
    await expect.poll(async () => await sendFeedback(second, later, "red")).toBe(202);
    await expect.poll(async () => await metric(second, "serval_predictions_waiting")).toBe(0);
    const stored = await query("SELECT p.request_id, f.label FROM predictions p LEFT JOIN feedback f USING (request_id)");
    expect(new Map(stored.map((row) => [row["request_id"], row["label"]]))).toEqual(
      new Map([
        [before, "blue"],
        [during, "blue"],
        [later, "red"],
      ]),
    );
    await second.close();
    await rm(root, { recursive: true });
  });

  test("is restarted under load: every prediction is answered, and every one is stored", async () => {
    const service = await startService("load");
    const picture = await colourPicture("red");
    const ids: string[] = [];
    const stop = new AbortController();
    const lane = async (): Promise<void> => {
      while (!stop.signal.aborted) ids.push((await predictForm(service, picture)).body.request_id as string);
    };
    const lanes = [lane(), lane()];
    await expect.poll(() => ids.length).toBeGreaterThan(20);
    await server.kill();
    const down = ids.length;
    await expect.poll(() => ids.length).toBeGreaterThan(down + 20);
    await server.resume();
    stop.abort();
    await Promise.all(lanes);
    const missing = async (): Promise<number> => {
      const stored = new Set((await query("SELECT request_id FROM predictions")).map((row) => row["request_id"]));
      return ids.filter((id) => !stored.has(id)).length;
    };
    await expect.poll(missing).toBe(0);
    expect(await metric(service, "serval_predictions_lost_total")).toBe(0);
  });

  test("answers nothing any more: predictions are answered as before, health too", async () => {
    const service = await startService("frozen");
    const picture = await colourPicture("red");
    const { request_id: id } = (await predictForm(service, picture)).body;
    expect(await sendFeedback(service, id, "red")).toBe(202);
    server.freeze();
    try {
      const startedAt = performance.now();
      for (let i = 0; i < 20; i++) expect((await predictForm(service, picture)).status).toBe(200);
      expect((await getJson(service, "/health")).status).toBe(200);
      expect(performance.now() - startedAt).toBeLessThan(4000);
      await expect.poll(async () => await metric(service, "serval_predictions_waiting")).toBeGreaterThan(0);
    } finally {
      server.thaw();
    }
    await expect.poll(async () => await metric(service, "serval_predictions_waiting")).toBe(0);
  });
});
