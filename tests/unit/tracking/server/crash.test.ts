import { join } from "node:path";
import { expect, test } from "vitest";
import { startServal } from "../../../helpers/serval-process.ts";
import { createRun, get, post, startTracking, temporaryFolder } from "../../../helpers/tracking-server.ts";

const writers = 8;
const pointsPerBatch = 10;

test("a server killed under concurrent writes has every acknowledged metric when it comes back", async () => {
  const dir = await temporaryFolder();
  const first = startServal(dir, ["track", "--port", "0", "--store", "store"]);
  const url = (await first.waitFor(/Tracking at (http:\/\/\S+),/))[1] as string;
  const runs = await Promise.all(Array.from({ length: writers }, async (_, i) => createRun(url, `writer-${i}`)));
  const acknowledged = runs.map(() => 0);
  let total = 0;
  const write = async (writer: number): Promise<void> => {
    for (let step = 0; ; step += pointsPerBatch) {
      const metrics = Array.from({ length: pointsPerBatch }, (_, i) => ({ key: "m", value: writer, timestamp: 1, step: step + i }));
      const answer = await post(url, "runs/log-batch", { run_id: runs[writer], metrics }).catch(() => undefined);
      // The connection broke: this one may have been kept or not, but no client was told that it was.
      if (answer?.status !== 200) return;
      acknowledged[writer] = step + pointsPerBatch;
      total += pointsPerBatch;
      if (total > 4000) first.child.kill("SIGKILL");
    }
  };
  await Promise.all(runs.map(async (_, writer) => write(writer)));
  expect((await first.ended).code).toBe(null);

  const second = await startTracking({ dir: join(dir, "store") });
  let found = 0;
  for (const [writer, run] of runs.entries()) {
    const { body } = await get(second.url, "metrics/get-history", { run_id: run, metric_key: "m" });
    const steps = (body.metrics as { step: number }[]).map(({ step }) => step);
    expect(steps).toEqual(Array.from({ length: steps.length }, (_, i) => i));
    // Whole batches or nothing; one more than was acknowledged at most.
    expect([acknowledged[writer], (acknowledged[writer] ?? 0) + pointsPerBatch]).toContain(steps.length);
    found += steps.length;
  }
  expect(found).toBeGreaterThanOrEqual(total);
  console.log(`acknowledged ${total} metrics, found ${found}`);
});

test("`serval track` answers what was begun when it is told to stop, and ends with 0", async () => {
  const dir = await temporaryFolder();
  const server = startServal(dir, ["track", "--port", "0"]);
  const url = (await server.waitFor(/Tracking at (http:\/\/\S+), kept in (\S+)/))[1] as string;
  const run = await createRun(url);
  const begun = Promise.all(
    Array.from({ length: 20 }, async (_, step) => post(url, "runs/log-metric", { run_id: run, key: "m", value: step, timestamp: 1, step })),
  );
  const answers = await begun;
  const { code } = await server.stop();
  expect(code).toBe(0);
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  // Where trainings of this folder log to as well.
  const again = await startTracking({ dir: join(dir, ".serval/tracking") });
  const { body } = await get(again.url, "metrics/get-history", { run_id: run, metric_key: "m" });
  expect(body.metrics).toHaveLength(20);
});

test("a port that is taken, a wrong port and a folder that is a file are reported in one line", async () => {
  const { url, dir } = await startTracking();
  const { port } = new URL(url);
  const taken = await startServal(dir, ["track", "--port", port, "--store", "other"]).ended;
  expect([taken.code, taken.stderr]).toEqual([1, expect.stringContaining(`E_PORT_IN_USE: Port ${port} of 127.0.0.1 is taken.`)]);
  const wrong = await startServal(dir, ["track", "--port", "many"]).ended;
  expect([wrong.code, wrong.stderr]).toEqual([
    2,
    expect.stringContaining('E_USAGE: --port: expected a number from 0 to 65535, got "many".'),
  ]);
});
