import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ServalError } from "../../../src/errors/serval-error.ts";
import { createTrackingClient } from "../../../src/tracking/client/tracking-client.ts";
import { sendKeptRuns } from "../../../src/tracking/logging/kept-runs.ts";
import { TrackedRun } from "../../../src/tracking/logging/run.ts";
import { MlflowStub } from "../../helpers/mlflow-stub.ts";

/** Generous: it passes only where something is wrong. */
const withinMs = 30_000;

let dir: string;
let server: MlflowStub;
let troubles: ServalError[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-tracking-"));
  server = new MlflowStub();
  await server.listen();
  troubles = [];
});
afterEach(async () => {
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

async function startRun(run = "first"): Promise<TrackedRun> {
  const runDir = join(dir, run);
  await mkdir(runDir, { recursive: true });
  return await TrackedRun.start({
    client: createTrackingClient(server.uri, { requestTimeoutMs: withinMs }),
    runDir,
    experiment: "flowers",
    run,
    tags: { origin: "a test" },
    onTrouble: (error) => void troubles.push(error),
    retryAfterMs: 5,
    flushEveryMs: 5,
  });
}

async function logEverything(tracked: TrackedRun, run = "first"): Promise<void> {
  tracked.logParams({ "train.epochs": "2", "train.channels": "[16,32]" });
  tracked.logMetrics({ loss: 0.5, accuracy: 0.75 }, 1);
  tracked.logMetrics({ loss: 0.25, accuracy: Number.NaN }, 2);
  await writeFile(join(dir, run, "plot.png"), "pixels");
  await tracked.logArtifact("plots/a plot.png", join(dir, run, "plot.png"));
  tracked.logInput({ name: "petals", digest: "d1", sourceType: "local", source: "{}", schema: "{}", profile: "{}", context: "training" });
  await writeFile(join(dir, run, "model.onnx"), "graph");
  await tracked.logModel({
    name: "best",
    digest: "0123456789abcdef",
    step: 2,
    folder: "models/best",
    files: { "model.onnx": { copyOf: join(dir, run, "model.onnx") }, MLmodel: { text: "flavors: {}\n" } },
    tags: { origin: "a test" },
    params: { epoch: "2" },
    dataset: { name: "petals", digest: "d1" },
    metrics: { best_accuracy: 0.75 },
  });
  // The run's copy counts, not what the file becomes.
  await writeFile(join(dir, run, "plot.png"), "other pixels");
}

function expectEverything(run = "first"): void {
  expect(server.runs).toHaveLength(1);
  const [logged] = server.runs;
  expect(logged).toMatchObject({ name: run, status: "FINISHED", params: { "train.epochs": "2", "train.channels": "[16,32]" } });
  expect(logged?.tags).toEqual({ "serval.run": run, origin: "a test" });
  expect(logged?.metrics.map(({ key, value, step }) => [key, value, step])).toEqual([
    ["loss", 0.5, 1],
    ["accuracy", 0.75, 1],
    ["loss", 0.25, 2],
    ["accuracy", "NaN", 2],
    ["best_accuracy", 0.75, 2],
  ]);
  expect(logged?.inputs).toEqual([
    {
      dataset: { name: "petals", digest: "d1", source_type: "local", source: "{}", schema: "{}", profile: "{}" },
      tags: [{ key: "mlflow.data.context", value: "training" }],
    },
  ]);
  expect(server.models).toHaveLength(1);
  const [model] = server.models;
  expect(model).toMatchObject({ name: "best", run: "run0", status: "LOGGED_MODEL_READY", tags: { "serval.digest": "0123456789abcdef" } });
  expect(model?.files["model.onnx"]?.toString()).toBe("graph");
  expect(model?.files["MLmodel"]?.toString()).toBe(
    "flavors: {}\nrun_id: run0\nmodel_id: m-0\nartifact_path: mlflow-artifacts:/models/m-0\n",
  );
  expect(logged?.files["plots/a plot.png"]?.toString()).toBe("pixels");
  expect(logged?.endTime).toBeGreaterThan(1.7e12);
}

async function sendKept(exceptRun = "now"): Promise<string[]> {
  const sent: string[] = [];
  await sendKeptRuns({
    client: createTrackingClient(server.uri),
    runsDir: dir,
    exceptRun,
    signal: new AbortController().signal,
    onSent: (run) => void sent.push(run),
    onRefused: (error) => void troubles.push(error),
  });
  return sent;
}

const spooled = async (run = "first"): Promise<string[]> => (await readdir(join(dir, run))).filter((name) => name.startsWith("tracking"));

describe("a run with a tracking server", () => {
  test("arrives whole, names its page, and leaves no spool behind", async () => {
    const tracked = await startRun();
    await logEverything(tracked);
    expect(await tracked.finish("FINISHED", withinMs)).toEqual({
      server: server.uri,
      delivered: true,
      page: `${server.uri}/#/experiments/0/runs/run0?workflowType=machine_learning`,
      loggingSeconds: tracked.loggingSeconds,
    });
    expect(tracked.loggingSeconds).toBeGreaterThan(0);
    expectEverything();
    expect(await spooled()).toEqual([]);
    expect(troubles).toEqual([]);
  });

  test("continues in the same run after a resume", async () => {
    await (await startRun()).finish("KILLED", withinMs);
    expect(server.runs[0]?.status).toBe("KILLED");
    const tracked = await startRun();
    await logEverything(tracked);
    await tracked.finish("FINISHED", withinMs);
    expectEverything();
  });

  test("keeps its models among its files where the server has no logged models", async () => {
    server.hasLoggedModels = false;
    const tracked = await startRun();
    await logEverything(tracked);
    expect((await tracked.finish("FINISHED", withinMs)).delivered).toBe(true);
    expect(server.models).toEqual([]);
    const files = server.runs[0]?.files ?? {};
    expect(files["models/best/model.onnx"]?.toString()).toBe("graph");
    expect(files["models/best/MLmodel"]?.toString()).toBe("flavors: {}\nrun_id: run0\n");
    expect(server.runs[0]?.metrics.at(-1)).toMatchObject({ key: "best_accuracy", value: 0.75, step: 2 });
  });

  test("sends the metrics of many steps in few requests, every point once and in order", async () => {
    const tracked = await startRun();
    for (let step = 1; step <= 2500; step++) tracked.logMetrics({ "step/train_loss": 1 / step }, step);
    await tracked.finish("FINISHED", withinMs);
    expect(server.runs[0]?.metrics.map(({ value, step }) => [value, step])).toEqual(
      Array.from({ length: 2500 }, (_, i) => [1 / (i + 1), i + 1]),
    );
    expect(server.requests.filter((request) => request.endsWith("log-batch")).length).toBeLessThanOrEqual(4);
  });

  test("splits what is more than one request may hold", async () => {
    const tracked = await startRun();
    tracked.logParams(Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`p${i}`, String(i)])));
    await tracked.finish("FINISHED", withinMs);
    expect(Object.keys(server.runs[0]?.params ?? {})).toHaveLength(250);
    expect(server.requests.filter((request) => request.endsWith("log-batch"))).toHaveLength(3);
  });
});

describe("on a bad day", () => {
  test("a server that is down stops nothing, and a later training sends everything", async () => {
    await server.close();
    const tracked = await startRun();
    await logEverything(tracked);
    expect(await tracked.finish("FINISHED", withinMs)).toMatchObject({ server: server.uri, delivered: false, page: null });
    expect(troubles[0]).toMatchObject({
      code: "E_TRACKING_UNREACHABLE",
      message: `${server.uri} does not answer: connect ECONNREFUSED ${server.uri.slice("http://".length)}.`,
    });
    expect(await spooled()).toEqual(["tracking-files", "tracking-spool.jsonl"]);

    await expect(sendKept()).rejects.toMatchObject({ code: "E_TRACKING_UNREACHABLE" });
    await server.listen();
    expect(await sendKept()).toEqual(["first"]);
    expectEverything();
    expect(await spooled()).toEqual([]);
    expect(await sendKept()).toEqual([]);
  });

  test("a server that comes up during the training gets what was logged before", async () => {
    await server.close();
    const tracked = await startRun();
    await logEverything(tracked);
    await server.listen();
    expect((await tracked.finish("FINISHED", withinMs)).delivered).toBe(true);
    expectEverything();
  });

  test("an answer that is lost makes no second run", async () => {
    let lost = 0;
    server.misbehave = (request) => (request.url?.endsWith("runs/search") && server.runs.length > 0 && lost++ === 0 ? 503 : undefined);
    const tracked = await startRun();
    await logEverything(tracked);
    // The spool as a process leaves it that died after the server had taken part of it.
    const spool = await readFile(join(dir, "first/tracking-spool.jsonl"));
    await tracked.finish("FINISHED", withinMs);
    await writeFile(
      join(dir, "first/tracking-spool.jsonl"),
      Buffer.concat([spool, Buffer.from('{"type":"end","at":1800000000000,"status":"FINISHED"}\n{"torn')]),
    );
    await expect(sendKept()).rejects.toMatchObject({ message: expect.stringContaining("503: told to answer 503") as string });
    expect(await sendKept()).toEqual(["first"]);
    expectEverything();
  });

  test("a server that takes requests and never answers is given up at the deadline", async () => {
    server.misbehave = () => "hang";
    const tracked = await startRun();
    await logEverything(tracked);
    const startedAt = performance.now();
    expect((await tracked.finish("FINISHED", 150)).delivered).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(withinMs / 2);
  });

  test("a server that refuses us is not asked again and again", async () => {
    server.misbehave = () => 401;
    const tracked = await startRun();
    await logEverything(tracked);
    expect((await tracked.finish("FINISHED", withinMs)).delivered).toBe(false);
    expect(troubles.map(({ code, message }) => [code, message])).toEqual([
      ["E_TRACKING_REFUSED", `${server.uri} answered GET /api/2.0/mlflow/experiments/get-by-name with 401: told to answer 401`],
    ]);
    expect(server.requests).toHaveLength(1);
  });

  test("a model whose file is refused is not made ready, and gets the rest of what it has", async () => {
    server.misbehave = (request) => (request.method === "PUT" && request.url?.endsWith("/model.onnx") ? 413 : undefined);
    const tracked = await startRun();
    await logEverything(tracked);
    expect((await tracked.finish("FINISHED", withinMs)).delivered).toBe(true);
    expect(troubles.map(({ code }) => code)).toEqual(["E_TRACKING_REFUSED"]);
    expect(server.models.map(({ status, files }) => [status, Object.keys(files)])).toEqual([["LOGGED_MODEL_PENDING", ["MLmodel"]]]);
    expect(server.runs[0]?.status).toBe("FINISHED");
    expect(await spooled()).toEqual([]);
  });

  test("a server without a place for files gets the rest of the run", async () => {
    server.artifactRoot = "/var/mlruns/";
    const tracked = await startRun();
    await logEverything(tracked);
    expect((await tracked.finish("FINISHED", withinMs)).delivered).toBe(true);
    expect(troubles.map(({ message }) => message)).toEqual([
      `${server.uri} does not hand out files itself: it keeps these in "/var/mlruns/0/run0/artifacts".`,
    ]);
    expect(server.runs[0]).toMatchObject({ status: "FINISHED", files: {} });
    expect(server.runs[0]?.metrics).toHaveLength(5);
  });
});

describe("kept runs", () => {
  const writeSpool = async (run: string, entries: readonly object[]): Promise<void> => {
    await mkdir(join(dir, run), { recursive: true });
    await writeFile(join(dir, run, "tracking-spool.jsonl"), entries.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  };
  const begin = (run: string, more: object = {}): object => {
    const entry = { type: "run", server: server.uri, experiment: "flowers", run, tags: {}, host: hostname(), at: 1_800_000_000_000 };
    return { ...entry, pid: process.pid, ...more };
  };

  test("of a process that was killed end as KILLED; those of a living process or another server are left alone", async () => {
    await writeSpool("killed", [begin("killed"), { type: "metrics", at: 1, step: 1, metrics: { loss: 1 } }]);
    await writeSpool("alive", [begin("alive", { pid: process.ppid })]);
    await writeSpool("elsewhere", [begin("elsewhere", { host: "another-host" })]);
    await writeSpool("other-server", [begin("other-server", { server: "http://127.0.0.1:1" }), { type: "end", at: 1, status: "FINISHED" }]);
    await writeSpool("now", [begin("now")]);
    expect(await sendKept()).toEqual(["killed"]);
    expect(server.runs.map(({ name, status }) => [name, status])).toEqual([["killed", "KILLED"]]);
    expect(server.runs[0]?.metrics).toEqual([{ key: "loss", value: 1, timestamp: 1, step: 1 }]);
  });

  test("of another machine or container end as KILLED once nothing has been written to them for more than twelve hours", async () => {
    const hoursAgo = (hours: number): Date => new Date(Math.round(Date.now() - hours * 3_600_000));
    const lastWrite = hoursAgo(12.1);
    for (const [run, at] of [
      ["silent", lastWrite],
      ["quiet", hoursAgo(11.9)],
    ] as const) {
      await writeSpool(run, [begin(run, { host: "a-container" })]);
      await utimes(join(dir, run, "tracking-spool.jsonl"), at, at);
    }
    expect(await sendKept()).toEqual(["silent"]);
    expect(server.runs.map(({ name, status, endTime }) => [name, status, endTime])).toEqual([["silent", "KILLED", lastWrite.getTime()]]);
    expect(await readdir(join(dir, "quiet"))).toEqual(["tracking-spool.jsonl"]);
  });

  test("send no file that they did not keep, whatever path or link names it", async () => {
    await writeFile(join(dir, "secret"), "mine");
    await writeSpool("strange", [
      begin("strange"),
      { type: "artifact", path: "../../secret" },
      { type: "artifact", path: "link" },
      { type: "end", at: 1, status: "FINISHED" },
    ]);
    await mkdir(join(dir, "strange/tracking-files"));
    await symlink(join(dir, "secret"), join(dir, "strange/tracking-files/link"));
    expect(await sendKept()).toEqual(["strange"]);
    expect(server.runs.map(({ status, files }) => [status, files])).toEqual([["FINISHED", {}]]);
    expect(await readFile(join(dir, "secret"), "utf8")).toBe("mine");
  });

  test("that the server refuses wait, and those after them are sent", async () => {
    await writeSpool("a", [begin("a", { experiment: "deleted" })]);
    await writeSpool("b", [begin("b")]);
    server.misbehave = (request) => (request.url?.includes("experiment_name=deleted") ? 400 : undefined);
    expect(await sendKept()).toEqual(["b"]);
    expect(await readdir(join(dir, "a"))).toEqual(["tracking-spool.jsonl"]);
    server.misbehave = () => undefined;
    expect(await sendKept()).toEqual(["a"]);
  });
});

test.each(["..", "a/..", "", "a\\..\\b", ".git", "a/.dvc"])("a server that lists an artifact called %j is not believed", async (path) => {
  const stranger = createServer((_, response) => void response.end(JSON.stringify({ files: [{ path, is_dir: false }] })));
  await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  try {
    const client = createTrackingClient(`http://127.0.0.1:${(stranger.address() as AddressInfo).port}`);
    await expect(client.listArtifacts("mlflow-artifacts:/0/run")).rejects.toMatchObject({
      code: "E_TRACKING_REFUSED",
      message: expect.stringContaining(`lists the artifact ${JSON.stringify(path)}`) as string,
    });
  } finally {
    await new Promise((resolve) => stranger.close(resolve));
  }
});

describe("the server's address", () => {
  test("may hold user and password, which are sent and shown nowhere", async () => {
    let authorization: string | undefined;
    server.misbehave = (request) => {
      authorization = request.headers.authorization;
      return undefined;
    };
    const client = createTrackingClient(`${server.uri.replace("//", "//ann:s%20cret@")}/`);
    expect(await client.ensureExperiment("flowers")).toBe("0");
    expect(client.server).toBe(server.uri);
    expect(Buffer.from(authorization?.replace("Basic ", "") ?? "", "base64").toString()).toBe("ann:s cret");
  });

  test.each(["sqlite:///mlflow.db", "./mlruns", "databricks"])("%s is refused, because only http(s) is spoken", (uri) => {
    expect(() => createTrackingClient(uri)).toThrow(`MLFLOW_TRACKING_URI: expected the http(s) address of an MLflow server, got "${uri}".`);
  });
});
