import { afterAll, beforeAll, expect, test } from "vitest";
import { buildServiceImage, report, run, serviceImage } from "./engine.ts";
import { openStackLab, type StackLab } from "./stack-lab.ts";

let lab: StackLab;
beforeAll(async () => {
  expect((await run("tests/containers/make-proxy-base.sh", [])).code).toBe(0);
  await buildServiceImage();
  const started = performance.now();
  lab = await openStackLab({ stack: "serval-stack-test", port: 8038, replicas: 2, base: serviceImage });
  await lab.settled();
  report(`stack: two replicas serve after ${((performance.now() - started) / 1000).toFixed(1)} s`);
});
afterAll(async () => {
  await lab?.close();
});

/** Updates to a version under load; what the Swarm said, and what became of the requests. */
async function updateUnderLoad(version: string): Promise<{ state: string; failed: Readonly<Record<string, number>> }> {
  const load = await lab.load();
  const started = performance.now();
  const state = await lab.update(version);
  const seconds = (performance.now() - started) / 1000;
  const { sent, answered, failed, slowestMs } = await load.stop();
  report(`update to ${version}: ${state} after ${seconds.toFixed(1)} s; ${sent} requests, ${answered} answered, slowest ${slowestMs} ms`);
  expect(answered).toBeGreaterThan(0);
  return { state, failed };
}

test("Prometheus finds every replica by the DNS of the Swarm", async () => {
  await expect.poll(async () => await lab.query('sum(up{job="classifier"})').catch(() => 0), { timeout: 60_000 }).toBe(2);
});

test("a rolling update loses no request", async () => {
  expect(await updateUnderLoad(lab.versions.v2)).toEqual({ state: "completed", failed: {} });
  expect(await lab.images()).toEqual([lab.versions.v2, lab.versions.v2]);
});

test("a version that does not start is rolled back by the Swarm, and no request is lost", async () => {
  expect(await updateUnderLoad(lab.versions.empty)).toEqual({ state: "rollback_completed", failed: {} });
  expect(await lab.images()).toEqual([lab.versions.v2, lab.versions.v2]);
});
