import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { promote, readStanding } from "../../src/registry/promote.ts";
import { registerBundle } from "../../src/registry/register.ts";
import { createTrackingClient } from "../../src/tracking/client/tracking-client.ts";
import { createRegistryClient } from "../../src/tracking/client/registry-client.ts";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";
import { Reader } from "../docs/reader.ts";
import { buildServiceImage, docker, eventually, report, root, run, serviceImage, type Finished } from "./engine.ts";
import { openStackLab, type StackLab } from "./stack-lab.ts";

const [stack, port] = ["serval-stack-test", 8038];
let lab: StackLab;
beforeAll(async () => {
  for (const base of ["proxy", "postgres", "alertmanager"]) expect((await run(`tests/containers/make-${base}-base.sh`, [])).code).toBe(0);
  await buildServiceImage();
  const started = performance.now();
  lab = await openStackLab({ stack, port, replicas: 2, base: serviceImage });
  await lab.settled();
  report(`stack: two replicas serve after ${((performance.now() - started) / 1000).toFixed(1)} s`);
});
afterAll(async () => {
  await lab?.close();
});

/** Does something under load; what came of it, and of the requests. */
async function underLoad<T>(what: string, act: () => Promise<T>): Promise<{ result: T; failed: Readonly<Record<string, number>> }> {
  const load = await lab.load();
  const started = performance.now();
  const result = await act();
  const seconds = (performance.now() - started) / 1000;
  const { sent, answered, failed, slowestMs } = await load.stop();
  report(`${what}: ${String(result)} after ${seconds.toFixed(1)} s; ${sent} requests, ${answered} answered, slowest ${slowestMs} ms`);
  expect(answered).toBeGreaterThan(0);
  return { result, failed };
}

async function updateUnderLoad(version: string): ReturnType<typeof underLoad<string>> {
  return await underLoad(`update to ${version}`, async () => await lab.update("--image", version));
}

test("Prometheus finds every replica by the DNS of the Swarm", async () => {
  await expect.poll(async () => await lab.query('sum(up{job="classifier"})').catch(() => 0), { timeout: 60_000 }).toBe(2);
});

test("only the proxy listens on this host, and scripts/reach_stack.sh opens Prometheus on 127.0.0.1 for as long as it runs", async ({
  onTestFinished,
}) => {
  const published = async (name: string): Promise<string> =>
    await docker("service", "inspect", "--format", "{{range .Endpoint.Spec.Ports}}{{.TargetPort}} {{end}}", `${stack}_${name}`);
  const ports = await Promise.all(["cats-dogs-classifier", "grafana", "prometheus", "alertmanager", "proxy"].map(published));
  expect(ports).toEqual(["", "", "", "", "8000"]);

  const script = join(root, "scripts/reach_stack.sh");
  const reach = spawn(script, ["prometheus", "8039"], { env: { ...process.env, SERVAL_STACK: stack }, stdio: "ignore" });
  onTestFinished(() => void reach.kill());
  const ended = once(reach, "exit");
  const ask = async (): Promise<number> => (await fetch("http://127.0.0.1:8039/-/ready")).status;
  await eventually(ask, (status) => status === 200);
  reach.kill();
  await ended;
  await expect(ask()).rejects.toThrow("fetch failed");
});

test("docs/deployment.md: the Swarm says which version serves, and with which model", async () => {
  const output = await Reader.withEngine(root, {}).follow("docs/deployment.md", "docker service inspect", {
    put: { "serval_cats-dogs-classifier": `${stack}_cats-dogs-classifier` },
  });
  expect(output).toBe(`${lab.versions.v1}\nSERVAL_MODEL=\n`);
});

test("a rolling update loses no request", async () => {
  expect(await updateUnderLoad(lab.versions.v2)).toEqual({ result: "completed", failed: {} });
  expect(await lab.images()).toEqual([lab.versions.v2, lab.versions.v2]);
});

test("a version that does not start is rolled back by the Swarm, and no request is lost", async () => {
  expect(await updateUnderLoad(lab.versions.empty)).toEqual({ result: "rollback_completed", failed: {} });
  expect(await lab.images()).toEqual([lab.versions.v2, lab.versions.v2]);
});

test("a backup holds the predictions and feedback of all replicas, about which any of them takes feedback, and brings it back after their volumes are gone", async ({
  onTestFinished,
}) => {
  const folder = await mkdtemp(join(tmpdir(), "serval-stack-backup-"));
  onTestFinished(async () => await rm(folder, { recursive: true }));
  const picture = await readFile(join(root, "test_image.jpg"));
  const post = async (path: string, type: string, body: Buffer | string): Promise<Response> =>
    await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers: { "content-type": type }, body });
  const feedback = async (id: string): Promise<number> =>
    (await post("/feedback", "application/json", JSON.stringify({ request_id: id, label: "cat" }))).status;
  const ids: string[] = [];
  for (let i = 0; i < 6; i++) {
    const { request_id: id } = (await (await post("/predict", "image/jpeg", picture)).json()) as { request_id: string };
    // A prediction is in the database a moment after its answer. Whichever replica is asked, it knows it.
    await eventually(
      async () => await feedback(id),
      (status) => status === 202,
    );
    for (let again = 0; again < 4; again++) expect(await feedback(id)).toBe(200);
    ids.push(id);
  }
  const script = async (name: string, ...args: string[]): Promise<Finished> =>
    await run(`scripts/${name}`, args, { env: { COMPOSE_PROJECT_NAME: stack } });
  const { code, stdout, output } = await script("backup.sh", folder);
  expect(code, output).toBe(0);
  const archive = stdout.split("\n").at(-1) ?? "";
  expect((await script("restore.sh", "--replace", archive)).output).toContain("stop it first. Nothing was changed.");

  await lab.stopped();
  const states = [1, 2].map((slot) => `cats-dogs-classifier-state-${slot}`);
  await docker("volume", "rm", ...[...states, "predictions-data", "predictions-dumps"].map((name) => `${stack}_${name}`));
  const restored = await script("restore.sh", archive);
  expect(restored.code, restored.output).toBe(0);
  await lab.started();
  // 200: that label was there already; a prediction that was lost would be 404.
  for (const id of ids) {
    await eventually(
      async () => await feedback(id),
      (status) => status !== 503,
    );
    expect(await feedback(id)).toBe(200);
  }
});

test("replicas serve the registry's champion, follow it, and start with the one they had while it is down, without a lost request", async ({
  onTestFinished,
}) => {
  const dir = await mkdtemp(join(tmpdir(), "serval-stack-registry-"));
  onTestFinished(async () => await rm(dir, { recursive: true }));
  const server = await lab.trackingServer();
  const [tracking, registry] = [createTrackingClient(server.url), createRegistryClient(server.url)];
  const makeChampion = async (version: string, sharpness: number): Promise<void> => {
    const bundle = await writeTinyBundle(join(dir, version), { sharpness });
    await registerBundle({ tracking, registry, bundle, name: "colours" });
    const { champion } = await readStanding(registry, "colours");
    await promote({ registry, name: "colours", version, over: champion, comparison: null });
  };
  const settings = ["SERVAL_MODEL=models:/colours@champion", `MLFLOW_TRACKING_URI=${server.address}`, "SERVAL_MODEL_POLL_MS=1000"];
  await makeChampion("1", 4);
  const moved = await underLoad("to the registry", async () => await lab.update(...settings.flatMap((setting) => ["--env-add", setting])));
  expect(moved).toEqual({ result: "completed", failed: {} });
  expect(await lab.models()).toEqual(["1", "1"]);

  const promoted = await underLoad("a promotion", async () => {
    await makeChampion("2", 3);
    return await eventually(
      async () => await lab.models(),
      (models) => models.join() === "2,2",
    );
  });
  expect(promoted.failed).toEqual({});

  const replaced = await underLoad("a replica killed while the registry is down", async () => {
    await server.stop();
    const [id = ""] = await lab.replicas();
    await docker("kill", id);
    await eventually(
      async () => await lab.replicas(),
      (ids) => !ids.includes(id) && ids.length === 2,
      170,
    );
    await lab.settled();
    return await lab.models();
  });
  expect(replaced).toEqual({ result: ["2", "2"], failed: {} });
});
