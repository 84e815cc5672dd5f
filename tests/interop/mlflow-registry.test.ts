import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { loadBundle } from "../../src/model/bundle.ts";
import { startInference } from "../../src/runtime/inference.ts";
import { createTrackingClient } from "../../src/tracking/client/tracking-client.ts";
import { createRegistryClient, type RegistryClient } from "../../src/tracking/client/registry-client.ts";
import { makeColourRepository, type ColourRepository } from "../helpers/colour-repository.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { runServal, startServal } from "../helpers/serval-process.ts";
import { writeTinyBundle, type TinyOptions } from "../helpers/tiny-bundle.ts";
import { startProxy, type UnreliableProxy } from "../helpers/unreliable-proxy.ts";
import { startMlflowServer, type MlflowServer } from "./mlflow-server.ts";
import { python } from "./python.ts";

/** What each of the three models says: the second is as good as the first, and the third takes every picture for the other colour. */
const models = { first: { sharpness: 6 }, alike: { sharpness: 8 }, wrong: { sharpness: -6 } } satisfies Record<string, TinyOptions>;

let dir: string;
let server: MlflowServer;
let proxy: UnreliableProxy;
let repository: ColourRepository;
let registry: RegistryClient;
let count = 0;
/** Each test has its own registered model. */
let name: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-registry-"));
  [server, repository] = await Promise.all([
    startMlflowServer(dir),
    makeColourRepository({ counts: { blue: 20, red: 20 }, prepare: { shares: { train: 0.4, val: 0.2, test: 0.4 } } }),
  ]);
  proxy = await startProxy(server.url);
  registry = createRegistryClient(server.url);
  vi.stubEnv("MLFLOW_TRACKING_URI", proxy.uri);
}, 120_000);
afterAll(async () => {
  vi.unstubAllEnvs();
  await proxy.close();
  await server.stop();
  await repository.remove();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(() => void (name = `colours-${++count}`));
afterEach(() => void (proxy.drops = () => false));

async function serval(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(repository.cwd);
  const code = await runCli(args, context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

async function ask<Answer>(...args: string[]): Promise<Answer> {
  const { code, stdout, stderr } = await serval(...args, "--json");
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Answer;
}

interface Registration {
  readonly version: string;
  readonly digest: string;
  readonly created: boolean;
  readonly page: string;
}

async function register(which: keyof typeof models): Promise<Registration> {
  const bundle = join(repository.cwd, "bundles", which);
  await writeTinyBundle(bundle, { name: "colours", ...models[which] });
  return await ask("models", "register", bundle, "--name", name);
}

const aliases = async (): Promise<unknown> => (await registry.getRegisteredModel(name))?.aliases;

describe("the client", () => {
  test("writes and reads back experiments, runs, batches, tags, inputs and artifacts", async () => {
    const client = createTrackingClient(server.url);
    const experimentId = await client.ensureExperiment(name);
    expect(await client.ensureExperiment(name)).toBe(experimentId);
    const run = await client.createRun({
      experimentId,
      name: "a run",
      startTime: 1_700_000_000_000,
      tags: [{ key: "my.tag", value: "it's" }],
    });
    await client.logBatch(run.runId, {
      params: [{ key: "train.epochs", value: "3" }],
      tags: [{ key: "later", value: "yes" }],
      metrics: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.25].map((value, i) => ({
        key: "loss",
        value,
        timestamp: 1_700_000_000_000 + i,
        step: i,
      })),
    });
    const input = {
      name: "d",
      digest: "0".repeat(36),
      sourceType: "local",
      source: "{}",
      schema: "{}",
      profile: "{}",
      context: "training",
    };
    // Sending twice must change nothing: that is what a replay of the spool does.
    for (let i = 0; i < 2; i++) await client.logInput(run.runId, input);
    await client.uploadArtifact(run.artifactUri, "plots/ü & b.txt", new Blob(["pixels"]));
    await client.updateRun(run.runId, "FINISHED", 1_700_000_001_000);

    const record = await client.getRun(run.runId);
    expect(record).toMatchObject({ status: "FINISHED", params: { "train.epochs": "3" }, metrics: { loss: 0.25 } });
    expect(record.tags).toMatchObject({ "my.tag": "it's", later: "yes", "mlflow.runName": "a run" });
    const history = await client.metricHistory(run.runId, "loss");
    // MLflow keeps the largest doubles in place of infinities.
    expect(history.map(({ step, value }) => [step, value])).toEqual([
      [0, Number.NaN],
      [1, Number.MAX_VALUE],
      [2, -Number.MAX_VALUE],
      [3, 0.25],
    ]);
    expect(await client.listArtifacts(run.artifactUri)).toEqual([{ name: "plots", isFolder: true, sizeBytes: 0 }]);
    expect(await client.listArtifacts(run.artifactUri, "plots")).toEqual([{ name: "ü & b.txt", isFolder: false, sizeBytes: 6 }]);
    await client.downloadArtifact(run.artifactUri, "plots/ü & b.txt", join(dir, "down/loaded.txt"), 1000);
    expect(await readFile(join(dir, "down/loaded.txt"), "utf8")).toBe("pixels");
    await expect(client.downloadArtifact(run.artifactUri, "nothing", join(dir, "x"), 1000)).rejects.toMatchObject({
      code: "E_TRACKING_REFUSED",
    });
  });

  test("writes and reads back registered models, versions, aliases and tags", async () => {
    expect(await registry.getRegisteredModel(name)).toBeUndefined();
    for (let i = 0; i < 2; i++) await registry.ensureRegisteredModel(name);
    await registry.setRegisteredModelTag(name, { key: "team", value: "a" });
    for (let i = 0; i < 2; i++) await registry.createVersion({ name, source: "s3://bucket/somewhere", description: "d" });
    await registry.setVersionTag(name, "2", { key: "k", value: "v" });
    await registry.setAlias(name, "champion", "1");
    await registry.setAlias(name, "champion", "2");
    await registry.setAlias(name, "old", "1");
    await registry.deleteAlias(name, "old");
    expect(await registry.getRegisteredModel(name)).toMatchObject({ tags: { team: "a" }, aliases: { champion: "2" } });
    expect((await registry.listVersions(name)).map(({ version, tags }) => [version, tags])).toEqual([
      ["2", { k: "v" }],
      ["1", {}],
    ]);
    expect(await registry.getVersion(name, "7")).toBeUndefined();
    expect(await registry.artifactRootOf(name, "1")).toBe("s3://bucket/somewhere");
    expect((await registry.listRegisteredModels()).map((model) => model.name)).toContain(name);
  });
});

describe("serval models register", () => {
  test("makes a version that MLflow's own client loads and that answers as ours does; the same bundle is the same version", async () => {
    const first = await register("first");
    expect(first).toMatchObject({ version: "1", created: true });
    expect(await register("first")).toEqual({ ...first, created: false });
    expect(await register("alike")).toMatchObject({ version: "2", created: true });

    const bundle = await loadBundle(join(repository.cwd, "bundles/first"));
    const { width = 0, height = 0 } = bundle.manifest.preprocess.crop ?? {};
    const peer = [join(import.meta.dirname, "load_model_peer.py"), server.url, `models:/${name}/1`, String(height), String(width)];
    const { stdout } = await promisify(execFile)(python, peer);
    const answer = JSON.parse(stdout) as { onnx: number[][]; pyfunc: number[][]; inputs: unknown; outputs: unknown; model_id: string };
    expect(answer.inputs).toEqual([["uint8", [-1, height, width, 3]]]);
    expect(answer.outputs).toEqual(["logits", "probabilities", "features"]);
    expect(answer.model_id).toMatch(/^m-/);
    const inference = await startInference(bundle.model, { imageShape: [height, width] });
    const pixels = Uint8Array.from({ length: 2 * height * width * 3 }, (_, i) => i % 251);
    const ours = [...(await inference.run(pixels, 2)).probabilities];
    await inference.close();
    for (const theirs of [answer.onnx.flat(), answer.pyfunc.flat()]) {
      for (const [i, value] of theirs.entries()) expect(value).toBeCloseTo(ours[i] as number, 6);
    }
  });

  test("continues with an upload that broke off", async () => {
    let uploads = 0;
    proxy.drops = ({ method }) => method === "PUT" && ++uploads === 4;
    const bundle = join(repository.cwd, "bundles/cut");
    await writeTinyBundle(bundle, { name: "colours", sharpness: 7 });
    const cut = await serval("models", "register", bundle, "--name", name);
    expect([cut.code, cut.stderr]).toEqual([1, expect.stringContaining("E_TRACKING_UNREACHABLE") as string]);
    expect(await registry.listVersions(name)).toEqual([]);
    proxy.drops = () => false;
    expect(await ask("models", "register", bundle, "--name", name)).toMatchObject({ version: "1", created: true });
    expect((await ask<{ version: string }>("models", "show", `models:/${name}/1`)).version).toBe(
      (await loadBundle(bundle)).digest.slice(0, 12),
    );
  });
});

describe("serval models promote and rollback", () => {
  test("take the first champion as it is, an equal one for good, refuse a worse one, and record why it was forced", async () => {
    await register("first");
    expect((await serval("models", "promote", name)).stdout).toContain(`Version 1 of ${name} is the first champion`);
    expect(await aliases()).toEqual({ champion: "1" });

    await register("alike");
    const equal = await serval("models", "promote", name);
    expect(equal.stdout).toMatch(/champion +1 +100\.00 % +\d+ +0\nchallenger +2 +100\.00 % +\d+ +0\n/);
    expect(equal.stdout).toContain("difference  0.00 points, 95 % interval 0.00 to 0.00 (paired bootstrap); McNemar's exact p = 1.0");
    expect(await aliases()).toEqual({ champion: "2", previous: "1" });
    expect((await serval("models", "promote", name)).stdout).toBe(`Version 2 of ${name} is already the champion.\n`);

    await register("wrong");
    const worse = await serval("models", "promote", name);
    expect(worse.code).toBe(1);
    expect(worse.stdout).toContain("difference  -100.00 points");
    expect(worse.stderr).toContain(`E_PROMOTION_REFUSED: Version 3 of ${name} was not promoted: its accuracy is 100.00 points lower.`);
    expect(await aliases()).toEqual({ champion: "2", previous: "1" });
    expect((await serval("models", "promote", name, "--force")).code).toBe(2);

    const forced = await ask<{ promoted: boolean; comparison: { difference: number } }>(
      "models",
      "promote",
      name,
      "--force",
      "--reason",
      "a drill",
    );
    expect(forced).toMatchObject({ promoted: true, comparison: { difference: -1 } });
    expect(await aliases()).toEqual({ champion: "3", previous: "2" });
    const tags = (await registry.getVersion(name, "3"))?.tags ?? {};
    expect(tags["serval.forced_reason"]).toBe("a drill");
    expect(JSON.parse(tags["serval.promotion"] ?? "")).toMatchObject({ over: "2", difference: -1, interval: [-1, -1] });

    const before = performance.now();
    const back = await runServal(repository.cwd, ["models", "rollback", name, "--reason", "it was a drill"]);
    const seconds = (performance.now() - before) / 1000;
    expect(back.stdout).toBe(`Version 2 of ${name} is the champion again; version 3 is the previous one.\n`);
    // The command's promise is a second; a machine that runs other tests at the same time gets more.
    expect(seconds).toBeLessThan(5);
    expect(await aliases()).toEqual({ champion: "2", previous: "3" });
    expect((await serval("models", "show", `models:/${name}`)).stdout).toMatch(
      /\n +3 +previous .*forced: a drill; rolled back: it was a drill\n +2 +champion .*\n +1 /,
    );
  });

  test("compare on a folder of pictures where that is asked for", async () => {
    await register("wrong");
    await serval("models", "promote", name);
    await register("first");
    const report = await ask<{ comparison: { images: number; onlyChallengerRight: number; interval: number[] } }>(
      "models",
      "promote",
      name,
      "--data",
      repository.source,
    );
    expect(report.comparison).toMatchObject({ images: 40, onlyChallengerRight: 40, interval: [1, 1] });
  });

  test("cut off between the two aliases leave the old champion, and the same command finishes", async () => {
    for (const which of ["first", "alike"] as const) {
      await register(which);
      await serval("models", "promote", name);
    }
    await register("wrong");
    const promote = ["models", "promote", name, "--force", "--reason", "a drill"];
    let moves = 0;
    proxy.drops = ({ url }) => url?.endsWith("/registered-models/alias") === true && ++moves === 2;
    expect((await serval(...promote)).stderr).toContain("E_TRACKING_UNREACHABLE");
    expect(await aliases()).toEqual({ champion: "2", previous: "2" });
    // Half a promotion is nothing to roll back.
    expect((await serval("models", "rollback", name)).stderr).toContain("There is nothing to go back to");
    proxy.drops = () => false;
    await serval(...promote);
    expect(await aliases()).toEqual({ champion: "3", previous: "2" });

    moves = 0;
    proxy.drops = ({ url }) => url?.endsWith("/registered-models/alias") === true && ++moves === 2;
    expect((await serval("models", "rollback", name)).code).toBe(1);
    expect(await aliases()).toEqual({ champion: "2", previous: "2" });
    // The registry down before the first alias: nothing has moved.
    proxy.drops = () => true;
    for (const command of ["promote", "rollback"])
      expect((await serval("models", command, name)).stderr).toContain("E_TRACKING_UNREACHABLE");
    expect(await aliases()).toEqual({ champion: "2", previous: "2" });
  });

  test("say what is missing", async () => {
    expect((await serval("models", "promote", name)).stderr).toContain(
      `E_REGISTRY_MISSING: The registry at ${proxy.uri} has no model "${name}"`,
    );
    await register("first");
    expect((await serval("models", "rollback", name)).stderr).toContain(`"${name}" has no alias "previous"`);
    expect((await serval("models", "promote", `${name}/9`)).stderr).toContain(`models:/${name}/9 is not there; "${name}" has 1.`);
    expect((await serval("models", "show", `models:/${name}@gone`)).stderr).toContain(`"${name}" has no alias "gone"; it has none.`);
    expect((await serval("models", "show", `models:/${name}@`)).stderr).toContain("Expected models:/NAME@ALIAS or models:/NAME/VERSION");
  });
});

describe("a model by its address in the registry", () => {
  const version = async (uri: string): Promise<string> => (await ask<{ digest: string }>("models", "show", uri)).digest;

  test("is the one that the alias points to, even while the registry is down", async () => {
    const first = await register("first");
    await serval("models", "promote", name);
    const uri = `models:/${name}@champion`;
    expect(await version(uri)).toBe(first.digest);
    const downloads = (): number => proxy.requests.filter((request) => request.startsWith("GET /api/2.0/mlflow-artifacts/")).length;
    const before = downloads();
    expect(await version(uri)).toBe(first.digest);
    expect(downloads()).toBe(before);

    const alike = await register("alike");
    await serval("models", "promote", name);
    expect(await version(uri)).toBe(alike.digest);
    proxy.drops = () => true;
    const down = await serval("models", "show", uri, "--json");
    expect((JSON.parse(down.stdout) as { digest: string }).digest).toBe(alike.digest);
    expect(down.stderr).toContain(`Continuing with version 2, which ${uri} was when the registry last answered.`);
    expect((await serval("models", "show", `models:/${name}@never-asked`)).stderr).toContain("E_TRACKING_UNREACHABLE");
  });

  test("is served as the version that it points to, even by a service that starts while the registry is down", async () => {
    const { version: registered } = await register("first");
    await serval("models", "promote", name);
    for (const isDown of [false, true]) {
      proxy.drops = () => isDown;
      const service = startServal(repository.cwd, ["serve", "--port", "0", "--model", `models:/${name}@champion`]);
      const health = await fetch(`${await service.address()}/health`);
      expect(await health.json()).toMatchObject({ status: "ok", model: { name: "colours", version: registered } });
      const { stderr } = await service.stop();
      expect(stderr.includes("E_TRACKING_UNREACHABLE")).toBe(isDown);
    }
  });

  test("is not used when its bytes on the server are not those that were registered", async () => {
    const bundle = join(repository.cwd, "bundles/spoilt");
    await writeTinyBundle(bundle, { name: "colours", sharpness: 9 });
    const { digest } = await ask<Registration>("models", "register", bundle, "--name", name);
    const root = new URL(await registry.artifactRootOf(name, "1")).pathname;
    const onnx = join(dir, "artifacts", root, "model.onnx");
    const bytes = await readFile(onnx);
    await writeFile(onnx, Buffer.concat([bytes.subarray(0, -1), Buffer.of(7)]));
    const spoilt = await serval("models", "show", `models:/${name}/1`);
    expect(spoilt.code).toBe(1);
    expect(spoilt.stderr).toMatch(
      /E_REGISTRY_CORRUPT: Version 1 of "colours-\d+" should have a model\.onnx with the SHA-256 [0-9a-f]{64}, and/,
    );
    await writeFile(onnx, bytes);
    await writeFile(join(dir, "artifacts", root, "bundle.json"), "{}");
    expect((await serval("models", "show", `models:/${name}/1`)).stderr).toContain("should have a bundle.json with the SHA-256");
    await rm(join(dir, "artifacts", root, "bundle.json"));
    expect((await serval("models", "show", `models:/${name}/1`)).stderr).toContain(`Version 1 of "${name}" lacks bundle.json.`);
    expect(await readdir(join(repository.cwd, ".serval/registry"))).not.toContain(digest);
  });
});
