import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { buildTrackingApp } from "../../../../src/tracking/server/app.ts";
import { ArtifactStore } from "../../../../src/tracking/server/artifacts.ts";
import { migrate, migrations } from "../../../../src/tracking/server/migrations.ts";
import { StoreReader } from "../../../../src/tracking/server/store-reader.ts";
import { openTrackingStore } from "../../../../src/tracking/server/store/tracking-store.ts";
import { ask, createRun, get, post, startTracking, temporaryFolder } from "../../../helpers/tracking-server.ts";

describe("what clients send", () => {
  test("a number that could not be read back is refused, and what there was can still be read", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const step = "9007199254740993";
    for (const [name, body] of [
      ["runs/outputs", `{"run_id":"${run}","models":[{"model_id":"m-1","step":${step}}]}`],
      ["runs/log-metric", `{"run_id":"${run}","key":"k","value":1,"timestamp":${step}}`],
      ["runs/update", `{"run_id":"${run}","end_time":${step}}`],
    ] as const) {
      const init = { method: "POST", headers: { "content-type": "application/json" }, body };
      expect([name, (await ask(`${url}/api/2.0/mlflow/${name}`, init)).status]).toEqual([name, 400]);
    }
    // A time that no calendar has.
    await post(url, "runs/update", { run_id: run, end_time: 9e15 });
    expect((await get(url, "runs/get", { run_id: run })).status).toBe(200);
    for (const path of ["/", `/runs/${run}`]) expect([path, (await ask(`${url}${path}`)).status]).toEqual([path, 200]);
  });

  test("a curve is sampled to as many points as were asked for, the first and the last among them", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const metrics = Array.from({ length: 1000 }, (_, step) => ({ key: "loss", value: step, timestamp: 1, step }));
    await post(url, "runs/log-batch", { run_id: run, metrics });
    for (const [wanted, count] of [
      [10, 10],
      [600, 600],
      [2000, 1000],
    ] as const) {
      const { body } = await get(url, "metrics/get-history-bulk-interval", {
        run_ids: run,
        metric_key: "loss",
        max_results: String(wanted),
      });
      const steps = (body.metrics as { step: number }[]).map(({ step }) => step);
      expect(steps.length).toBeLessThanOrEqual(count);
      expect(steps.length).toBeGreaterThan(0.9 * count);
      expect([steps[0], steps.at(-1)]).toEqual([0, 999]);
    }
  });

  test("an output that is reported twice is listed once; the note of models grows beyond a tag's length and stays a list", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    for (let i = 0; i < 3; i++) await post(url, "runs/outputs", { run_id: run, models: [{ model_id: "m-1", step: 2 }] });
    const { body } = await get(url, "runs/get", { run_id: run });
    expect(body.run.outputs.model_outputs).toEqual([{ model_id: "m-1", step: 2 }]);
    for (let i = 0; i < 30; i++) {
      const model = {
        artifact_path: `model-${i}`,
        utc_time_created: "2026-11-30 14:00:00",
        run_id: run,
        flavors: { python_function: { loader_module: "x".repeat(400) } },
      };
      expect((await post(url, "runs/log-model", { run_id: run, model_json: JSON.stringify(model) })).status).toBe(200);
    }
    const tags = (await get(url, "runs/get", { run_id: run })).body.run.data.tags as { key: string; value: string }[];
    expect(JSON.parse(tags.find(({ key }) => key === "mlflow.log-model.history")?.value ?? "")).toHaveLength(30);
  });

  test("an order that there is not is refused with 400", async () => {
    const { url } = await startTracking();
    for (const what of ["registered-models", "model-versions"])
      expect((await get(url, `${what}/search`, { order_by: "tags.colour ASC" })).status).toBe(400);
  });
});

describe("the database", () => {
  test("of an older version is copied whole, then brought up to date", async () => {
    const dir = await temporaryFolder();
    const path = join(dir, "mlflow.db");
    const old = openTrackingStore(path);
    old.experiments.create("before", "", [{ key: "kept", value: "yes" }]);
    old.close();
    const db = new DatabaseSync(path);
    migrate(db, path, [...migrations, "ALTER TABLE experiments ADD COLUMN colour TEXT; UPDATE experiments SET colour = 'grey';"]);
    expect(db.prepare("SELECT name, colour FROM experiments WHERE id = 1").get()).toEqual({ name: "before", colour: "grey" });
    db.close();
    const backup = openTrackingStore(`${path}.v${migrations.length}.backup`);
    expect(backup.experiments.getByName("before").tags).toEqual([{ key: "kept", value: "yes" }]);
    backup.close();
    // This version meets what a newer one made.
    expect(() => openTrackingStore(path)).toThrow(
      expect.objectContaining({
        code: "E_TRACKING_STORE",
        message: `${path} has version ${migrations.length + 1}; this Serval knows versions up to ${migrations.length}.`,
      }),
    );
  });

  test("is as it was when a migration fails, with the copy beside it", async () => {
    const dir = await temporaryFolder();
    const path = join(dir, "mlflow.db");
    openTrackingStore(path).close();
    const db = new DatabaseSync(path);
    expect(() => migrate(db, path, [...migrations, "CREATE TABLE half (x); SELECT nonsense FROM nowhere;"])).toThrow(/nowhere/);
    expect(db.prepare("SELECT name FROM sqlite_master WHERE name = 'half'").all()).toEqual([]);
    db.close();
    const store = openTrackingStore(path);
    expect(store.experiments.get("0").name).toBe("Default");
    store.close();
    expect(await readdir(dir)).toContain(`mlflow.db.v${migrations.length}.backup`);
  });

  test("of somebody else is not touched, and one that is damaged is told", async () => {
    const dir = await temporaryFolder();
    const path = join(dir, "mlflow.db");
    const foreign = new DatabaseSync(path);
    foreign.exec("CREATE TABLE alembic_version (version_num TEXT)");
    foreign.close();
    const before = await readFile(path);
    expect(() => openTrackingStore(path)).toThrow(
      expect.objectContaining({
        code: "E_TRACKING_STORE",
        message: `${path} was not made by Serval: it holds the tables alembic_version, …`,
      }),
    );
    expect((await readFile(path)).equals(before)).toBe(true);
    expect(await readdir(dir)).toEqual(["mlflow.db"]);
    const damaged = join(dir, "damaged.db");
    await writeFile(damaged, "this is not a database, but a text of some length");
    expect(() => openTrackingStore(damaged)).toThrow(expect.objectContaining({ code: "E_TRACKING_STORE" }));
  });

  test("of version 1 keeps the latest metrics of its runs", async () => {
    const path = join(await temporaryFolder(), "mlflow.db");
    const db = new DatabaseSync(path);
    migrate(db, path, migrations.slice(0, 1));
    db.exec(`
      INSERT INTO experiments VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', 1, 1);
      INSERT INTO runs VALUES (1, 'r', 0, 'old', '', 'FINISHED', 1, 2, 'mlflow-artifacts:/0/r/artifacts', 'active');
      INSERT INTO latest_metrics VALUES (1, 'a "b"', 0.1, 5, 2, 0), (1, 'c', 0, 6, 3, 1);`);
    db.close();
    const store = openTrackingStore(path);
    const { metrics } = store.runs.get("r").data;
    expect(metrics).toEqual([
      { key: 'a "b"', value: 0.1, timestamp: 5, step: 2 },
      { key: "c", value: "NaN", timestamp: 6, step: 3 },
    ]);
    const [json] = store.runs.searchJson({ experimentIds: ["0"], maxResults: 1 }).items;
    expect(JSON.parse(String(json))).toEqual(store.runs.get("r"));
    store.close();
  });

  test("that has no room answers 507 and loses nothing that was acknowledged", async () => {
    const dir = await temporaryFolder();
    const store = openTrackingStore(join(dir, "mlflow.db"));
    const app = await buildTrackingApp({
      context: { store, reader: new StoreReader(store, undefined), artifacts: await ArtifactStore.open(dir), localArtifacts: undefined },
    });
    const call = async (url: string, payload: object): Promise<{ status: number; body: Record<string, unknown> }> => {
      const { statusCode, body } = await app.inject({
        method: "POST",
        url: `/api/2.0/mlflow/${url}`,
        headers: { host: "localhost" },
        payload,
      });
      return { status: statusCode, body: JSON.parse(body) as Record<string, unknown> };
    };
    const run = store.runs.create({ experimentId: "0", userId: "", name: "full", startTime: 1, tags: [] }).info.run_id;
    const pages = Number(store.db.get("PRAGMA page_count")?.["page_count"]);
    // What SQLite meets on a disk without room.
    store.db.get(`PRAGMA max_page_count = ${pages + 20}`);
    let acknowledged = 0;
    let refused: { status: number; body: Record<string, unknown> } | undefined;
    for (let step = 0; refused === undefined && step < 1000; step++) {
      const metrics = Array.from({ length: 100 }, (_, i) => ({ key: `m${i}`, value: step, timestamp: 1, step }));
      const answer = await call("runs/log-batch", { run_id: run, metrics });
      if (answer.status === 200) acknowledged += 100;
      else refused = answer;
    }
    expect(refused).toEqual({
      status: 507,
      body: { error_code: "RESOURCE_EXHAUSTED", message: expect.stringContaining("no room left on its disk") as string },
    });
    expect(acknowledged).toBeGreaterThan(0);
    const count = (): number => Number(store.db.get("SELECT count(*) AS n FROM metrics")?.["n"]);
    expect(count()).toBe(acknowledged);
    store.db.get(`PRAGMA max_page_count = ${pages + 10_000}`);
    expect((await call("runs/log-batch", { run_id: run, metrics: [{ key: "after", value: 1, timestamp: 1, step: 1 }] })).status).toBe(200);
    expect(count()).toBe(acknowledged + 1);
    await app.close();
    store.close();
  });
});

describe("two servers on one store", () => {
  test("take turns: everything written to both at the same time is there, and each sees what the other received", async () => {
    const first = await startTracking();
    const second = await startTracking({ dir: first.dir });
    const run = await createRun(first.url);
    const write = async (url: string, key: string): Promise<number[]> =>
      await Promise.all(
        Array.from(
          { length: 100 },
          async (_, step) => (await post(url, "runs/log-metric", { run_id: run, key, value: step, timestamp: step, step })).status,
        ),
      );
    const statuses = await Promise.all([
      write(first.url, "a"),
      write(second.url, "b"),
      write(first.url, "both"),
      write(second.url, "both"),
    ]);
    expect(new Set(statuses.flat())).toEqual(new Set([200]));
    for (const { url } of [first, second]) {
      const { body } = await get(url, "runs/get", { run_id: run });
      const latest = (body.run.data.metrics as { key: string; value: number }[]).map(({ key, value }) => [key, value]);
      expect(latest).toEqual([
        ["a", 99],
        ["b", 99],
        ["both", 99],
      ]);
    }
    const { body } = await get(second.url, "metrics/get-history", { run_id: run, metric_key: "both" });
    expect(body.metrics).toHaveLength(100);
  });

  test("make one experiment of a name that both are asked for", async () => {
    const first = await startTracking();
    const second = await startTracking({ dir: first.dir });
    const answers = await Promise.all(
      [first, second, first, second].map(async ({ url }) => post(url, "experiments/create", { name: "same" })),
    );
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 400, 400, 400]);
    const refused = answers.find(({ status }) => status === 400);
    expect(refused?.body.error_code).toBe("RESOURCE_ALREADY_EXISTS");
  });
});

describe("numbers and ids", () => {
  test("NaN and infinities come back as MLflow's clients expect them, also where they are the latest value", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const metrics = ["NaN", "Infinity", "-Infinity", 0.1].map((value, step) => ({ key: "m", value, timestamp: 1, step }));
    expect((await post(url, "runs/log-batch", { run_id: run, metrics })).status).toBe(200);
    await post(url, "runs/log-metric", { run_id: run, key: "last", value: "NaN", timestamp: 1 });
    const { body } = await get(url, "metrics/get-history", { run_id: run, metric_key: "m" });
    expect(body.metrics.map((point: { value: unknown }) => point.value)).toEqual([
      "NaN",
      1.7976931348623157e308,
      -1.7976931348623157e308,
      0.1,
    ]);
    const found = await get(url, "runs/get", { run_id: run });
    expect(found.body.run.data.metrics).toContainEqual({ key: "last", value: "NaN", timestamp: 1, step: 0 });
    const searched = await post(url, "runs/search", { experiment_ids: ["0"] });
    expect(searched.body.runs).toEqual([found.body.run]);
    const wrong = await post(url, "runs/log-metric", { run_id: run, key: "m", value: "much", timestamp: 1 });
    expect([wrong.status, wrong.body.error_code]).toEqual([400, "INVALID_PARAMETER_VALUE"]);
  });

  test("a search gives every number as it was logged, whatever its digits and the names around it", async () => {
    const { url } = await startTracking();
    const bare = await createRun(url, 'a "bare" run');
    const run = await createRun(url, '"data":{');
    const values = [
      0,
      -0.1,
      1 / 3,
      2 ** 53,
      5e-324,
      1e22,
      -123456.789e-12,
      ...Array.from({ length: 200 }, (_, i) => Math.sin(i) * 10 ** (i - 100)),
    ];
    const metrics = values.map((value, i) => ({ key: `m/${i} é`, value, timestamp: 1_700_000_000_000, step: i }));
    expect((await post(url, "runs/log-batch", { run_id: run, metrics, tags: [{ key: "a", value: '"metrics":[]' }] })).status).toBe(200);
    const { body } = await post(url, "runs/search", { experiment_ids: ["0"], order_by: ["run_name ASC"] });
    const [first, second] = body.runs as { data: { metrics?: typeof metrics } }[];
    expect(second).toEqual((await get(url, "runs/get", { run_id: bare })).body.run);
    expect(second?.data.metrics).toBeUndefined();
    expect(first).toEqual((await get(url, "runs/get", { run_id: run })).body.run);
    expect(new Map(first?.data.metrics?.map(({ key, value }) => [key, value]))).toEqual(
      new Map(metrics.map(({ key, value }) => [key, value])),
    );
  });

  test("null stands for a field that is not there, and a body that is not an object is refused", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const logged = await post(url, "runs/log-batch", { run_id: run, metrics: null, params: [{ key: "a", value: null }], tags: null });
    expect(logged.status).toBe(200);
    await post(url, "runs/update", { run_id: run, status: "FINISHED", end_time: null });
    const { body } = await get(url, "runs/get", { run_id: run });
    expect([body.run.info.end_time, body.run.data.params]).toEqual([undefined, [{ key: "a", value: "" }]]);
    for (const text of ["[]", '"{}"', "{", "1"]) {
      const response = await fetch(`${url}/api/2.0/mlflow/runs/get`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: text,
      });
      expect([text, response.status]).toEqual([text, expect.toSatisfy((status: number) => status === 400 || status === 404)]);
    }
  });

  test("a run id from another server is unknown here, and says so", async () => {
    const here = await startTracking();
    const there = await startTracking();
    const run = await createRun(there.url);
    const answers = await Promise.all([
      get(here.url, "runs/get", { run_id: run }),
      post(here.url, "runs/log-metric", { run_id: run, key: "m", value: 1, timestamp: 1 }),
      post(here.url, "runs/update", { run_id: run, status: "FINISHED" }),
      get(here.url, "artifacts/list", { run_id: run }),
    ]);
    for (const { status, body } of answers) {
      expect([status, body]).toEqual([404, { error_code: "RESOURCE_DOES_NOT_EXIST", message: `No run has the id ${run} on this server.` }]);
    }
  });
});
